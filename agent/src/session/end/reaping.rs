//! The end of a child of this process, heard where the runtime can watch it and asked for where it cannot.

use std::time::Duration;

use entry::Child;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::session::stream::readiness::watch;

/// How often a child that cannot be watched is asked whether it has ended.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(crate) enum Reaping {
    Heard(AsyncFd<Child>),
    /// The kernel had no room to watch it. It has to be reaped all the same.
    Asked(Child),
}

impl Reaping {
    pub(crate) fn of(child: Child) -> Self {
        watch(child).map_or_else(|(child, _)| Self::Asked(child), Self::Heard)
    }

    pub(crate) fn child(&self) -> &Child {
        match self {
            Self::Heard(child) => child.get_ref(),
            Self::Asked(child) => child,
        }
    }

    /// Completes when it has ended and is reaped. Nothing is lost when this is dropped half-way.
    pub(crate) async fn done(&self) {
        match self {
            Self::Heard(child) => heard(child).await,
            Self::Asked(child) => {
                while !child.try_wait().unwrap_or(true) {
                    sleep(ASK_AGAIN).await;
                }
            }
        }
    }
}

async fn heard(child: &AsyncFd<Child>) {
    while let Ok(mut ready) = child.readable().await {
        if child.get_ref().try_wait().unwrap_or(true) {
            return;
        }
        ready.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, AsRawFd};
    use std::path::Path;

    use entry::{HelperImage, Resources};
    use rustix::io::Errno;
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    #[tokio::test]
    async fn a_child_that_cannot_be_watched_is_reaped_all_the_same() {
        let image = HelperImage::sealed_copy(Path::new("/proc/self/exe")).expect("an image");
        let (waiting, child) = entry::start(&image, Resources::MEMORY).expect("a child");
        // What is watched already the kernel refuses to watch again.
        #[expect(deprecated, reason = "the descriptor stays open for as long as this test")]
        let first = AsyncFd::new(child.as_raw_fd()).expect("room");
        let reaping = Reaping::of(child);
        assert!(matches!(reaping, Reaping::Asked(_)), "{reaping:?}");
        drop(waiting);
        reaping.done().await;
        let again = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let again = waitid(WaitId::PidFd(reaping.child().as_fd()), again);
        assert_eq!(again.err(), Some(Errno::CHILD));
        drop(first);
    }
}
