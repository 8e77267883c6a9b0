//! Client libraries of other projects, as their users install them: tests/prerequisites puts them into the cache.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::containerd::cache;
use crate::requirement::{Requirement, find_program};

/// One that speaks the exec protocol by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientLibrary {
    /// `kubernetes` of Python.
    Python,
    /// `@kubernetes/client-node`.
    JavaScript,
}

impl ClientLibrary {
    fn folder(self) -> PathBuf {
        cache().join(match self {
            Self::Python => "nsdebug/python-kubernetes-37.0.2",
            Self::JavaScript => "nsdebug/node-kubernetes-1.4.0",
        })
    }

    /// That it is installed. Node.js is no prerequisite: where it is not, its client is not tried.
    pub fn requirement(self) -> Requirement {
        Requirement::file(&self.folder().join(".complete"))
    }

    /// Whether this machine has what installs and runs it.
    pub fn has_runtime(self) -> bool {
        self == Self::Python || ["node", "npm"].map(find_program).iter().all(Option::is_some)
    }

    /// A program of one's own that uses it, kept in `folder`.
    pub fn command(self, folder: &Path, program: &str) -> Command {
        let (name, interpreter) = match self {
            Self::Python => ("client.py", self.folder().join("bin/python")),
            Self::JavaScript => ("client.mjs", PathBuf::from("node")),
        };
        let folder = tempfile::tempdir_in(folder).expect("a folder in an own folder").keep();
        std::fs::write(folder.join(name), program).expect("a file in an own folder");
        if self == Self::JavaScript {
            let modules = self.folder().join("node_modules");
            symlink(modules, folder.join("node_modules")).expect("a link in an own folder");
        }
        let mut command = Command::new(interpreter);
        command.arg(folder.join(name));
        command
    }
}

/// The `python` block of the README.
pub fn python_example() -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```python\n").expect("an example");
    rest.split_once("```").expect("its end").0.to_owned()
}
