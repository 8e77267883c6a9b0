//! What a guest has on its file system: programs of this machine with the libraries they need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive::Archive;
use crate::requirement::find_program;
use crate::running::run;

/// The node's own tools over there, and those of the toolbox.
pub const TOOLS: [&str; 2] = ["ps", "strace"];
/// Where profiles lie that `AppArmor` can load as they are.
pub const PROFILES: &str = "/profiles";
/// What the kernel of Debian 12 can be told; the one that runs here may have no `AppArmor` to ask.
const FEATURES: &str = "/usr/share/apparmor-features/features";
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernel/container.apparmor");

/// Everything: `guest` as init, our agent, tools, folders to mount on.
pub(super) fn pack(guest: &Path, agent: &Path) -> Vec<u8> {
    let mut archive = Archive::default();
    let mut programs = vec![("guest", guest.to_owned()), ("nsdebug-agent", agent.to_owned())];
    for tool in TOOLS {
        programs.push((tool, find_program(tool).expect("a tool of the prerequisites")));
    }
    let mut libraries = BTreeSet::new();
    for (name, program) in &programs {
        archive.program(&format!("/bin/{name}"), program);
        libraries.extend(needed(program));
    }
    for library in libraries {
        archive.program(&library.to_string_lossy(), &library);
    }
    for folder in ["/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/etc"] {
        archive.folder(folder);
    }
    archive.file(PROFILES, &profiles());
    archive.finish()
}

/// The libraries and the loader that `program` is started with; none for a static one.
fn needed(program: &Path) -> Vec<PathBuf> {
    let said = run(Command::new("ldd").arg(program)).out();
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).filter(|path| path != program).collect()
}

/// [`SOURCE`] as the kernel takes it.
fn profiles() -> Vec<u8> {
    let mut parser = Command::new(find_program("apparmor_parser").expect("a prerequisite"));
    parser.args(["--stdout", "--skip-kernel-load", "--skip-cache", "--quiet"]);
    parser.args(["--features-file", FEATURES, SOURCE]);
    let compiled = run(&mut parser).expect_success().stdout;
    assert!(!compiled.is_empty(), "apparmor_parser made nothing of {SOURCE}");
    compiled
}
