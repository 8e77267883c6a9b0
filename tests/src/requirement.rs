//! What a test cannot do without: missing in CI it is a failure, elsewhere the test says that it was skipped.

use std::path::{Path, PathBuf};

use crate::containerd::Version;

/// Where Debian puts programs that not every user's `PATH` names.
const SYSTEM_PROGRAMS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A prerequisite that is there, or why it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    Met,
    Missing(String),
}

impl Requirement {
    /// Namespaces of others can be joined by root only.
    pub fn root() -> Self {
        Self::when(rustix::process::geteuid().is_root(), || "root is needed".to_owned())
    }

    /// A program in `PATH`, or at a path of its own.
    pub fn program(name: &str) -> Self {
        Self::when(find_program(name).is_some(), || {
            format!("`{name}` is not installed: run tests/prerequisites")
        })
    }

    /// What tests/prerequisites has made.
    pub(crate) fn file(path: &Path) -> Self {
        Self::when(path.is_file(), || {
            format!("{} does not exist: run tests/prerequisites", path.display())
        })
    }

    /// Everything it takes to start this containerd and a container.
    pub fn containerd(version: Version) -> Self {
        let containerd = version.program("containerd");
        Self::all([
            Self::root(),
            Self::file(&containerd),
            Self::program("runc"),
            Self::program("ip"),
        ])
    }

    /// A node that limits memory by version 1 of control groups, where the kernel can be told to run a program.
    pub fn controllers_of_version_1() -> Self {
        Self::when(Path::new("/sys/fs/cgroup/memory/release_agent").is_file(), || {
            "this node has no control groups of version 1".to_owned()
        })
    }

    /// Everything it takes to start a dockerd.
    pub fn docker() -> Self {
        let programs = ["/usr/sbin/dockerd", "/usr/bin/docker", "unshare", "iptables"];
        Self::all([Self::root()].into_iter().chain(programs.map(Self::program)))
    }

    /// Met when all are; otherwise the first that is missing.
    pub fn all(requirements: impl IntoIterator<Item = Self>) -> Self {
        requirements.into_iter().find(|one| *one != Self::Met).unwrap_or(Self::Met)
    }

    fn when(met: bool, why_not: impl FnOnce() -> String) -> Self {
        if met { Self::Met } else { Self::Missing(why_not()) }
    }
}

/// Whether the test that needs `requirement` has to be left out. Panics where leaving out is not allowed.
#[must_use]
pub fn may_skip(requirement: Requirement) -> bool {
    decide(requirement, std::env::var_os("CI").is_some())
}

/// [`may_skip`] for several requirements.
#[must_use]
pub fn skip(requirements: impl IntoIterator<Item = Requirement>) -> bool {
    may_skip(Requirement::all(requirements))
}

#[expect(clippy::print_stderr, reason = "a test that did not run has to say so")]
fn decide(requirement: Requirement, in_ci: bool) -> bool {
    match requirement {
        Requirement::Met => false,
        Requirement::Missing(why) if in_ci => panic!("CI must run this test, but: {why}"),
        Requirement::Missing(why) => {
            eprintln!("SKIPPED: {why}");
            true
        }
    }
}

/// Where `name` is, in `PATH` or in the system's own folders.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).is_file().then(|| PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_PROGRAMS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_met_is_never_skipped() {
        assert!(!decide(Requirement::Met, true));
        assert!(!decide(Requirement::Met, false));
    }

    #[test]
    fn what_is_missing_is_skipped_on_a_desk() {
        assert!(decide(Requirement::program("no-such-program"), false));
    }

    #[test]
    #[should_panic(expected = "CI must run this test, but: `no-such-program` is not installed")]
    fn what_is_missing_fails_in_ci() {
        let _ = decide(Requirement::program("no-such-program"), true);
    }

    #[test]
    fn the_first_missing_one_is_named() {
        let missing = |why: &str| Requirement::Missing(why.to_owned());
        let all = Requirement::all([Requirement::Met, missing("one"), missing("two")]);
        assert_eq!(all, missing("one"));
    }
}
