//! Descriptors under the runtime.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::unix::AsyncFd;

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
