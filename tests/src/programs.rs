//! Our own programs, as they were built beside the test that runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::containerd::VERSION_VARIABLE;

/// Names a folder to take the programs from instead: the tests can run against a released build.
const PROGRAMS_VARIABLE: &str = "NSDEBUG_PROGRAMS";

/// `nsdebug-agent`, to be given arguments.
pub fn agent() -> Command {
    program("nsdebug-agent")
}

/// `kubectl-nsdebug`, to be given arguments.
pub fn plugin() -> Command {
    program("kubectl-nsdebug")
}

/// `nsdebug-gateway`, to be given arguments.
pub fn gateway() -> Command {
    program("nsdebug-gateway")
}

/// `cluster`, which keeps a Kubernetes for the tests.
pub(crate) fn cluster() -> Command {
    let mut command = program("cluster");
    // It chooses as this process would.
    command.envs(std::env::vars_os().filter(|(name, _)| name == VERSION_VARIABLE));
    command
}

fn program(name: &str) -> Command {
    let path = folder().join(name);
    assert!(
        path.is_file(),
        "{} does not exist: build it with `cargo build --workspace`",
        path.display()
    );
    let mut command = Command::new(path);
    // The user who runs the tests may have set some of ours for their own use.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("NSDEBUG_") {
            command.env_remove(variable);
        }
    }
    command
}

/// Where our programs are.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os(PROGRAMS_VARIABLE).map_or_else(profile_folder, PathBuf::from)
}

/// `target/debug` or `target/release`: where this very program was built.
fn profile_folder() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let folder = this.parent().expect("a program lies in a folder");
    // Tests lie one level below the programs.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.to_owned()
}

/// The build folder, for what tests build themselves.
pub fn cargo_target() -> PathBuf {
    profile_folder().parent().map_or_else(profile_folder, Path::to_owned)
}
