//! The end of a connection that wanted to leave HTTP and may not.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

/// Ends a connection that wanted to leave HTTP and may not, once its answer is written: hyper would
/// only drop it, which to the other end looks like a cut.
pub(super) fn part(wish: OnUpgrade) {
    /// For what is on its way; nothing is waited for.
    const LIMIT: Duration = Duration::from_secs(5);
    tokio::spawn(async move {
        // An error says that there was no such wish.
        if let Ok(stream) = wish.await {
            let _ = tokio::time::timeout(LIMIT, TokioIo::new(stream).shutdown()).await;
        }
    });
}
