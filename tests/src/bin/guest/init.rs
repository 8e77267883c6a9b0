//! The first process: a root that can be left behind, the mounts of a node, and the end of the machine.

use std::ffi::CStr;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_move,
};
use rustix::process::{WaitOptions, chdir, chroot, wait};
use rustix::system::{RebootCommand, reboot};

use crate::container::ROOT;
use crate::{session, toolbox};

/// What a node has mounted: type and place.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("securityfs", "/sys/kernel/security"),
];

pub(crate) fn main() -> ExitCode {
    // Whatever happens, the machine goes off: an init that ends would be a panic of the kernel.
    let _ = std::panic::catch_unwind(|| {
        make_node();
        let mut tests = Command::new(session::GUEST);
        let tests = tests.arg("tests").spawn().expect("the tests start").id();
        // A node's init reaps whatever is left to it.
        while let Ok(Some((pid, _))) = wait(WaitOptions::empty()) {
            if pid.as_raw_nonzero().get().unsigned_abs() == tests {
                break;
            }
        }
    });
    // The emulator takes this as its end.
    let _ = reboot(RebootCommand::Restart);
    ExitCode::FAILURE
}

fn make_node() {
    leave_first_root();
    for (kind, place) in MOUNTS {
        std::fs::create_dir_all(place).expect("a place to mount on");
        let nothing: Option<&CStr> = None;
        mount(kind, place, kind, MountFlags::empty(), nothing)
            .unwrap_or_else(|errno| panic!("mount {kind} on {place}: {errno}"));
    }
    for tree in [toolbox::TREE, ROOT] {
        for folder in ["bin", "lib", "lib64"] {
            let from = Path::new("/").join(folder);
            if from.is_dir() {
                link_all(&from, &Path::new(tree).join(folder));
            }
        }
        for folder in ["proc", "sys", "dev", "tmp", "run", "root", "etc", "target"] {
            std::fs::create_dir_all(Path::new(tree).join(folder)).expect("a folder of a tree");
        }
        for file in ["hosts", "resolv.conf", "hostname"] {
            std::fs::write(Path::new(tree).join("etc").join(file), "").expect("a file of a tree");
        }
    }
    std::fs::write(Path::new(ROOT).join("etc/hosts"), "127.0.0.1 of-the-container\n")
        .expect("a file of the container");
}

/// The kernel's first root can be neither moved nor pivoted away from: stand on a bind of it.
fn leave_first_root() {
    std::fs::create_dir_all("/node").expect("a folder of the first root");
    mount_bind("/", "/node").expect("the first root can be bound");
    chdir("/node").expect("the bind is a folder");
    mount_move(".", "/").expect("the bind covers the first root");
    chroot(".").expect("root can change its root");
    // As systemd has it on every node.
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).expect("mounts can be shared");
}

/// The same files under another name: no memory is spent on them.
fn link_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder of a tree");
    for entry in std::fs::read_dir(from).expect("a folder of the archive").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            link_all(&entry.path(), &target);
        } else {
            std::fs::hard_link(entry.path(), target).expect("one file system holds both");
        }
    }
}
