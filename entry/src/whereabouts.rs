//! Where on the node is what this process is told to use, which may be in a container with mounts of its own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{mounts, procfs};

/// The mounts of this process and of the node's first.
#[derive(Debug)]
pub struct Whereabouts {
    own: String,
    nodes: String,
}

impl Whereabouts {
    /// As they are now. If the node's are closed to this process, none is known: then it gives no session in a
    /// toolbox ([`crate::PlanError::NodeUnseen`]).
    pub fn now() -> io::Result<Self> {
        let nodes = match procfs::mounts_of("1") {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => String::new(),
            other => other?,
        };
        Ok(Self { own: procfs::mounts_of("self")?, nodes })
    }

    /// The paths on the node of all `given`, of which some need not be there yet. A path that is not to be found
    /// among the node's mounts is taken for one of the node's.
    #[must_use]
    pub fn on_node<'p>(&self, given: impl IntoIterator<Item = &'p Path>) -> Vec<String> {
        let found = given.into_iter().flat_map(|path| {
            let path = resolved(path);
            let found = mounts::on_node(&path, &self.own, &self.nodes);
            if found.is_empty() { vec![path.to_string_lossy().into_owned()] } else { found }
        });
        found.collect()
    }
}

/// The path without links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let mut missing: Vec<&OsStr> = Vec::new();
    for there in path.ancestors() {
        if let Ok(there) = fs::canonicalize(there) {
            return there.join(missing.into_iter().rev().collect::<PathBuf>());
        }
        missing.extend(there.file_name());
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_resolved_as_far_as_it_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = fs::canonicalize(folder.path()).expect("a path");
        std::os::unix::fs::symlink(&real, real.join("link")).expect("a link");
        assert_eq!(resolved(&real.join("link/not/yet")), real.join("not/yet"));
        fs::write(real.join("file"), "").expect("a file");
        assert_eq!(resolved(&real.join("link/file")), real.join("file"));
    }
}
