//! What a tool or an attacker tries, and what the kernel says to it: a line for each attempt.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal::{SIGHUP, SIGTERM};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::setsid;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::session::GUEST;

type Attempt = (&'static str, io::Result<String>);

/// Their names on the command line.
const PROBES: [&str; 12] = [
    "cat", "hold", "exit", "kill", "attack", "escape", "write", "eat", "multiply", "stubborn",
    "between", "stays",
];

/// What is opened of a process that is to be taken over. That it has the descriptors 0, 1 and 2 anybody of its user
/// may list; to go through one is another matter.
const OF_A_PROCESS: [&str; 9] =
    ["root", "cwd", "exe", "fd/0", "fd/1", "fd/2", "environ", "maps", "mem"];

pub(crate) fn exists(name: &str) -> bool {
    PROBES.contains(&name)
}

pub(crate) fn run(probe: &str, operands: &[&str]) -> ExitCode {
    let first = operands.first().copied().unwrap_or_default();
    let succeeded = match probe {
        "exit" => return first.parse::<u8>().map_or(ExitCode::FAILURE, ExitCode::from),
        "hold" => hold("held"),
        "stays" => stay(),
        "between" => start_and_go(),
        "eat" => eat(),
        "multiply" => multiply(),
        "stubborn" => leave_behind(),
        "cat" => say("", std::fs::read_to_string(first)),
        "kill" => say("", kill(first)),
        "write" => say("", opened(File::options().write(true).open(first))),
        "attack" => report(OF_A_PROCESS.map(|part| (part, attack(first, part)))),
        _ => report(escapes()),
    };
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until it is ended.
fn hold(word: &str) -> bool {
    say("", Ok(word.to_owned()));
    loop {
        std::thread::park();
    }
}

/// Takes all memory that it can get, and uses it.
fn eat() -> bool {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&all);
    }
}

/// Starts itself until it may not.
fn multiply() -> bool {
    let started = std::iter::from_fn(|| Command::new(GUEST).arg("hold").spawn().ok());
    let count = started.count();
    hold(&format!("no more after {count}"))
}

/// Leaves a grandchild behind, whose parent is gone at once.
fn leave_behind() -> bool {
    let mut between = Command::new(GUEST).arg("between").spawn().expect("a child");
    between.wait().expect("an own child");
    loop {
        std::thread::park();
    }
}

fn start_and_go() -> bool {
    Command::new(GUEST).arg("stays").spawn().is_ok()
}

/// Of a session of its own, and no request to end reaches it.
fn stay() -> bool {
    let requests: SigSet = [SIGTERM, SIGHUP].into_iter().collect();
    requests.thread_block().expect("signals can be kept waiting");
    setsid().expect("a child is no group's first");
    hold("stays")
}

/// Whether any attempt succeeded.
fn report(attempts: impl IntoIterator<Item = Attempt>) -> bool {
    let succeeded = attempts.into_iter().map(|(what, result)| say(what, result));
    succeeded.fold(false, |any, one| any | one)
}

fn say(what: &str, result: io::Result<String>) -> bool {
    let succeeded = result.is_ok();
    let line = match result {
        Ok(text) => text,
        Err(error) => match error.raw_os_error() {
            Some(number) => format!("{:?}", Errno::from_raw(number)),
            None => error.to_string(),
        },
    };
    let _ = writeln!(io::stdout(), "{}", format!("{what} {line}").trim());
    succeeded
}

fn opened<T>(result: io::Result<T>) -> io::Result<String> {
    result.map(|_| "opened".to_owned())
}

fn kill(pid: &str) -> io::Result<String> {
    let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    kill_process(pid, Signal::KILL)?;
    Ok("killed".to_owned())
}

fn attack(pid: &str, part: &str) -> io::Result<String> {
    let path = format!("/proc/{pid}/{part}");
    match part {
        "root" | "cwd" => opened(std::fs::read_dir(path)),
        "exe" => opened(File::open(path)),
        // A pipe without another end would be waited for.
        "fd/0" | "fd/1" | "fd/2" => opened(std::fs::read_link(path)),
        "mem" => opened(File::options().read(true).write(true).open(path)),
        // Opening is free: reading is where the kernel looks.
        _ => opened(File::open(path).and_then(|mut file| file.read_exact(&mut [0]))),
    }
}

/// Ways from a session's root to the node's.
fn escapes() -> Vec<Attempt> {
    let nothing: Option<&CStr> = None;
    let done = |result: Result<(), rustix::io::Errno>| {
        result.map(|()| "done".to_owned()).map_err(io::Error::from)
    };
    let write = |path: &str| opened(File::options().write(true).open(path));
    let device = mknod("/tmp/disk", SFlag::S_IFBLK, Mode::S_IRUSR, makedev(8, 0));
    let namespace = || {
        let ours = File::open("/proc/self/ns/net")?;
        move_into_thread_name_spaces(
            std::os::fd::AsFd::as_fd(&ours),
            ThreadNameSpaceType::NETWORK,
        )?;
        Ok("done".to_owned())
    };
    vec![
        ("core_pattern", write("/proc/sys/kernel/core_pattern")),
        ("modprobe", write("/proc/sys/kernel/modprobe")),
        ("sysrq", write("/proc/sysrq-trigger").and_then(|_| null("/proc/sysrq-trigger"))),
        ("sys", write("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("tools", opened(File::create("/bin/new"))),
        ("target", opened(File::create("/target/etc/new"))),
        ("mount", done(mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), nothing))),
        ("remount", done(mount_remount("/proc", MountFlags::BIND, ""))),
        ("unmount", done(unmount("/proc", UnmountFlags::DETACH))),
        ("mknod", device.map(|()| "done".to_owned()).map_err(io::Error::from)),
        ("unshare", user_namespace()),
        ("setns", namespace()),
    ]
}

/// What is covered by an empty file can be opened, to no effect.
fn null(path: &str) -> io::Result<String> {
    use std::os::unix::fs::FileTypeExt;
    let covered = std::fs::metadata(path)?.file_type().is_char_device();
    if covered { Err(Errno::EACCES.into()) } else { Ok("opened".to_owned()) }
}

fn user_namespace() -> io::Result<String> {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    Ok("done".to_owned())
}
