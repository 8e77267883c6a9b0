//! `--output-dir`: the bytes of each pod's streams in files of their own.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::member::Member;
use crate::stdio::{Piece, Sink};

#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The files of one pod.
#[derive(Debug)]
pub(crate) struct Files {
    stdout: (PathBuf, File),
    stderr: (PathBuf, File),
}

/// Makes the folder, if it is not there.
pub(crate) fn folder(path: &Path) -> Result<(), FileError> {
    let made = DirBuilder::new().recursive(true).create(path);
    made.map_err(|source| FileError { path: path.to_owned(), source })
}

impl Files {
    /// New files of `member` in `folder`. One that is there already is left as it is, and an error.
    pub(crate) fn create(folder: &Path, member: &Member) -> Result<Self, FileError> {
        let parts = [member.namespace(), member.pod(), member.container.as_deref()];
        let parts: Vec<_> = match member.pod() {
            Some(_) => parts.into_iter().flatten().collect(),
            None => vec!["node", member.node.as_deref().unwrap_or_default()],
        };
        // No name of Kubernetes has a `_`, so that two pods never have one file.
        let name = parts.join("_");
        let create = |ending: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => Ok((path, file)),
                Err(source) => Err(FileError { path, source }),
            }
        };
        Ok(Self { stdout: create("out")?, stderr: create("err")? })
    }

    /// Blocks while the disk does.
    pub(crate) fn write(&mut self, piece: &Piece) -> Result<(), FileError> {
        let (path, file) = match piece.to {
            Sink::Stdout => &mut self.stdout,
            Sink::Stderr => &mut self.stderr,
        };
        file.write_all(&piece.bytes).map_err(|source| FileError { path: path.clone(), source })
    }
}
