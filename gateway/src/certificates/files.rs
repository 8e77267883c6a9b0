//! A certificate that another program renews: an existing Secret, or cert-manager's, as files.
//!
//! Polled, not watched: projected volumes swap a symlink, which file events report in many ways.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::shutdown::Shutdown;
use tracing::{error, info};
use wire::chain;

use super::{PairError, Shown};

/// Two `stat` calls each time, and what is new is shown within seconds.
const EVERY: Duration = Duration::from_secs(2);

/// The two PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} and {} cannot be used", chain.display(), key.display())]
    Pair {
        chain: PathBuf,
        key: PathBuf,
        #[source]
        source: PairError,
    },
}

/// What changes when a file does: device, inode, size, and time in seconds and nanoseconds.
type Stamp = [Option<(u64, u64, u64, i64, i64)>; 2];

impl Files {
    pub(crate) fn load(&self, shown: &Shown) -> Result<(), FilesError> {
        let Self { chain, key } = self;
        shown.show(&read(chain)?, &read(key)?).map_err(|source| FilesError::Pair {
            chain: chain.clone(),
            key: key.clone(),
            source,
        })
    }

    /// Looks at the files again and again until the gateway drains.
    pub(crate) async fn keep_fresh(self, shown: Shown, shutdown: Shutdown) {
        // Not the stamp of what was loaded: a change since then must not be missed.
        let mut seen = Stamp::default();
        loop {
            self.refresh(&shown, &mut seen);
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.draining() => return,
            }
        }
    }

    fn refresh(&self, shown: &Shown, seen: &mut Stamp) {
        let now = self.stamp();
        if now == *seen {
            return;
        }
        *seen = now; // also when it fails: once a change in the log is enough
        match self.load(shown) {
            Ok(()) => info!(chain = %self.chain.display(), "certificate in use"),
            Err(problem) => error!(error = chain(&problem), "new certificate ignored"),
        }
    }

    fn stamp(&self) -> Stamp {
        [&self.chain, &self.key].map(|path| {
            let file = fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    fs::read(path).map_err(|source| FilesError::Read { path: path.to_owned(), source })
}
