//! Descriptors under the runtime.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// How long a descriptor is left alone that was twice said to be ready and was not.
const REST: Duration = Duration::from_millis(50);

/// Registers `owner` with the runtime, which then says when its descriptor is ready.
pub(super) fn watched<T: AsFd + AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "deprecated because a type could give its descriptor away while it is registered \
                  (tokio#8587); what is registered here owns its descriptor until it is dropped, \
                  and the replacement needs `unsafe`, which has its room in `entry`"
    )]
    AsyncFd::new(owner)
}

/// What was tried in vain with a descriptor that the runtime said was ready.
///
/// Once the other side of a pipe or a terminal has hung up, the runtime says so for ever. But a tool can open
/// its own anew (`/proc/self/fd`), and then there is something to wait for: who went on trying would give
/// no other session its turn.
#[derive(Debug, Default)]
pub(super) struct Doubt(bool);

impl Doubt {
    /// To be awaited each time. The first one is how readiness ends as a rule.
    pub(super) async fn tried_in_vain(&mut self) {
        if std::mem::replace(&mut self.0, true) {
            sleep(REST).await;
        }
    }
}

/// Runs `test` on a thread of its own: what never lets go of its thread can be seen from another one only.
#[cfg(test)]
pub(super) fn lets_go(test: impl Future<Output = ()> + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime").block_on(test);
        let _ = done.send(());
    });
    is_done.recv_timeout(Duration::from_secs(20)).expect("others get their turn");
}
