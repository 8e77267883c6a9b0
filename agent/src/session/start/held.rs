//! What a session holds for as long as it has something to do: its slot, its entry, and the place of its successor.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::registry::Registered;
use crate::slots::Slot;

/// Held by all that a session still has to do. Its successor is prepared when nobody has it any more: the move
/// into a control group keeps every process of the node from ending meanwhile, the client's too.
#[derive(Clone, Debug)]
pub(crate) struct Over(
    #[expect(dead_code, reason = "its end is heard")] Arc<oneshot::Sender<Infallible>>,
);

/// What stands for a session, whatever becomes of the request for it.
#[derive(Clone, Debug)]
pub struct Held {
    /// Until its processes are gone and reaped, its relay too.
    pub slot: Arc<Slot>,
    /// Until it is over.
    pub registered: Arc<Registered>,
}

impl Over {
    pub(crate) fn new(over: oneshot::Sender<Infallible>) -> Self {
        Self(Arc::new(over))
    }
}
