//! Descriptors under the runtime.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::unix::{AsyncFd, AsyncFdRegisterError};

/// Registers `owner` with the runtime, which then says when its descriptor is ready.
pub(crate) fn watched<T: AsFd + AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    watch(owner).map_err(|(_, error)| error)
}

/// The same for what must not be lost: it is given back where the kernel has no room to watch it.
pub(crate) fn watch<T: AsFd + AsRawFd>(owner: T) -> Result<AsyncFd<T>, (T, io::Error)> {
    #[expect(
        deprecated,
        reason = "deprecated because a type could give its descriptor away while it is registered \
                  (tokio#8587); what is registered here owns its descriptor until it is dropped, \
                  and the replacement needs `unsafe`, which has its room in `entry`"
    )]
    AsyncFd::try_new(owner).map_err(AsyncFdRegisterError::into_parts)
}
