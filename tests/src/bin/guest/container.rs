//! A container without a runtime: namespaces, a root of its own, the usual capabilities, and a first process that
//! does what it is told over its stdin.

use std::ffi::CStr;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use harness::Running;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::session::GUEST;
use crate::{apparmor, groups};

/// Where its file system lies on the node.
pub(crate) const ROOT: &str = "/container";
/// The profile of a container that has none.
pub(crate) const UNCONFINED: &str = "unconfined";

/// What containerd and Docker leave to a container.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// One that runs.
#[derive(Debug)]
pub(crate) struct GuestContainer {
    stage: Running,
    pid: u32,
    asked: usize,
}

/// How something that ran in a container ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) said: String,
}

impl GuestContainer {
    pub(crate) fn start() -> Self {
        Self::under(UNCONFINED)
    }

    /// Under an `AppArmor` profile.
    pub(crate) fn under(profile: &str) -> Self {
        let stage = Running::start(Command::new(GUEST).args(["contain", profile]));
        stage.wait_for_stdout("ready\n");
        let said = stage.stdout();
        let pid = said.lines().find_map(|line| line.strip_prefix("pid ")?.parse().ok());
        Self { stage, pid: pid.expect("a container says its pid"), asked: 0 }
    }

    /// The first process, as the node numbers it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Runs a program as one more process of the container.
    pub(crate) fn exec(&mut self, command: &[&str]) -> Done {
        let before = self.stage.stdout().len();
        let end = self.ask("run", command);
        let all = self.stage.stdout();
        let said = all[before..].split(&end).next().unwrap_or_default();
        let (said, code) = said.trim_end().rsplit_once("code ").expect("an exit code");
        Done { code: code.trim().parse().expect("a number"), said: said.to_owned() }
    }

    /// Starts a program and leaves it running; its number in the container.
    pub(crate) fn leave_running(&mut self, command: &[&str]) -> String {
        let before = self.stage.stdout().len();
        self.ask("start", command);
        let all = self.stage.stdout();
        let pid = all[before..].lines().find_map(|line| line.strip_prefix("started "));
        pid.expect("the number of the process").to_owned()
    }

    /// The number of the process whose arguments contain `text`.
    pub(crate) fn number_of(&mut self, text: &str) -> String {
        let listed = self.exec(&["/bin/ps", "-ww", "-eo", "pid,args"]);
        let line = listed.said.lines().find(|line| line.contains(text) && !line.contains("ps -ww"));
        let line = line.unwrap_or_else(|| panic!("no {text} in {listed:?}"));
        line.split_whitespace().next().unwrap_or_default().to_owned()
    }

    fn ask(&mut self, what: &str, command: &[&str]) -> String {
        self.asked += 1;
        let number = self.asked;
        assert!(self.stage.write(format!("{what} {number} {}\n", command.join(" ")).as_bytes()));
        let end = format!("end of {number}\n");
        self.stage.wait_for_stdout(&end);
        end
    }

    /// Ends it, all of it.
    pub(crate) fn stop(self) {
        self.stage.finish().expect_success();
    }
}

/// In a process of its own: new namespaces, of which only children are in the new pid namespace.
pub(crate) fn contain(profile: &str) -> ExitCode {
    let group = groups::enter_own();
    let kinds = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(kinds).expect("root can have namespaces of its own");
    let mut first = Command::new(GUEST).args(["contained", profile]).spawn().expect("a child");
    println(&format!("pid {}", first.id()));
    first.wait().expect("an own child");
    groups::leave(&group);
    ExitCode::SUCCESS
}

/// The first process of the container before it is what the container runs.
pub(crate) fn contained(profile: &str) -> ExitCode {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("mounts can be private");
    mount_bind(ROOT, ROOT).expect("a root is a mount");
    chdir(ROOT).expect("the root is a folder");
    let nothing: Option<&CStr> = None;
    mount("proc", "proc", "proc", MountFlags::empty(), nothing).expect("a /proc");
    // As runtimes cover what gives orders to the kernel.
    mount_bind("proc/sys", "proc/sys").expect("a folder of every /proc");
    let covered = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount("proc/sys", covered, c"").expect("a mount can be made read-only");
    device("dev/null");
    mount("sysfs", "sys", "sysfs", MountFlags::RDONLY, nothing).expect("a /sys");
    pivot_root(".", ".").expect("the root can be left");
    unmount(".", UnmountFlags::DETACH).expect("the node's root goes");
    chdir("/").expect("a root");
    rustix::system::sethostname(b"boxed").expect("a name of its own");
    if profile != UNCONFINED {
        apparmor::at_exec(profile);
    }
    for bit in 0..41 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !CAPABILITIES.contains(capability) {
            remove_capability_from_bounding_set(capability).expect("root can give up power");
        }
    }
    let error = Command::new(GUEST).arg("serve").exec();
    panic!("cannot start the container: {error}");
}

/// The node's own, as a container without device rights of its own gets it.
fn device(path: &str) {
    std::fs::write(path, "").expect("a file to mount on");
    mount_bind(format!("/{path}"), path).expect("the node has the device");
}

/// The first process of the container: a line each is what to run, until there are no more.
pub(crate) fn serve() -> ExitCode {
    println("ready");
    for line in io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<_> = line.split(' ').collect();
        let [what, number, program, arguments @ ..] = words.as_slice() else { continue };
        let mut command = Command::new(program);
        command.args(arguments).stdin(std::process::Stdio::null());
        if *what == "start" {
            let child = command.spawn().map(|child| child.id());
            println(&format!("started {}", child.unwrap_or_default()));
        } else {
            match command.output() {
                Ok(done) => {
                    println(&String::from_utf8_lossy(&done.stdout));
                    println(&String::from_utf8_lossy(&done.stderr));
                    println(&format!("code {}", done.status.code().unwrap_or(-1)));
                }
                Err(error) => println(&format!("{error}\ncode 127")),
            }
        }
        println(&format!("end of {number}"));
    }
    ExitCode::SUCCESS
}

fn println(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
