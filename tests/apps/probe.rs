//! The tool of a hostile user: asks the kernel for everything a session must not have, and says what it answered.
//!
//! One line for each attempt. Files of the node are opened and never written to.

mod kernel;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use kernel::{call, errno, name, outcome, text};

const USAGE: &str = "usage: probe calls | self | wait | show FILE... | read FILE... | write FILE...
       probe writable FOLDER | exec FILE | reach PID | signal PID | old-call
       probe release-agent CONTROLLER | named NAME FOLDER...";

const NEW_USER: usize = 0x1000_0000;
const NEW_MOUNTS: usize = 0x2_0000;
const NEW_CGROUP: usize = 0x200_0000;
const PTRACE_SEIZE: usize = 0x4206;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["calls"] => calls(),
        ["self"] => myself(),
        ["wait"] => wait(),
        ["show", files @ ..] => files.iter().for_each(|file| show(file)),
        ["read", files @ ..] => files.iter().for_each(|file| open(file, false)),
        ["write", files @ ..] => files.iter().for_each(|file| open(file, true)),
        ["writable", folder] => writable(Path::new(folder)),
        ["exec", file] => {
            let error = std::process::Command::new(file).arg("exit").arg("3").exec();
            println!("exec {file} {}", name(errno(&error)));
        }
        ["reach", pid] => reach(pid),
        ["signal", pid] => {
            let pid = pid.parse().expect("a number");
            println!("signal {pid} {}", outcome(call(kernel::KILL, &[pid, 0])));
        }
        ["old-call"] => old_call(),
        ["release-agent", controller] => release_agent(controller),
        ["named", name, folders @ ..] => named(name, folders),
        _ => eprintln!("{USAGE}"),
    }
}

fn say(what: &str, result: Result<usize, i32>) {
    println!("{what} {}", outcome(result));
}

fn calls() {
    mounts();
    namespaces();
    kernel_itself();
    keys_and_rings();
    typing();
}

fn mounts() {
    let (tmp, tmpfs, root, proc, target) =
        (text("/tmp"), text("tmpfs"), text("/"), text("/proc"), text("/target"));
    let at = |text: &std::ffi::CString| text.as_ptr() as usize;
    say("mount-tmpfs", call(kernel::MOUNT, &[at(&tmpfs), at(&tmp), at(&tmpfs), 0, 0]));
    const REMOUNT_BIND: usize = 0x1020;
    for (name, place) in [("root", &root), ("proc", &proc), ("target", &target)] {
        let result = call(kernel::MOUNT, &[0, at(place), 0, REMOUNT_BIND, 0]);
        say(&format!("remount-{name}"), result);
        say(&format!("umount-{name}"), call(kernel::UMOUNT, &[at(place), 2]));
    }
    say("pivot_root", call(kernel::PIVOT_ROOT, &[at(&tmp), at(&tmp)]));
    say("chroot", call(kernel::CHROOT, &[at(&tmp)]));
    say("open_tree", call(kernel::OPEN_TREE, &[usize::MAX, at(&tmp), 1]));
    say("fsopen", call(kernel::FSOPEN, &[at(&tmpfs), 0]));
    let disk = text("/tmp/disk");
    let block = 0o060_600;
    let null = 0x103;
    let here = -100_i64 as usize;
    say("mknod-block", call(kernel::MKNODAT, &[here, at(&disk), block, 0x800]));
    say("mknod-null", call(kernel::MKNODAT, &[here, at(&disk), 0o020_666, null]));
    let handle = [8_u32, 1, 0, 0];
    say("open_by_handle_at", call(kernel::OPEN_BY_HANDLE_AT, &[here, handle.as_ptr() as usize, 0]));
}

fn namespaces() {
    let own = File::open("/proc/self/ns/uts").expect("an own namespace");
    say("setns", call(kernel::SETNS, &[own.as_raw_fd() as usize, 0]));
    say("unshare-user", call(kernel::UNSHARE, &[NEW_USER]));
    say("unshare-mounts", call(kernel::UNSHARE, &[NEW_MOUNTS]));
    // A child of this would go on here as well: it is refused, or it ends at once.
    let child = call(kernel::CLONE, &[NEW_USER | 17, 0, 0, 0, 0]);
    if child == Ok(0) {
        std::process::exit(0);
    }
    say("clone-user", child);
    let arguments = [0_u64; 11];
    let size = size_of_val(&arguments);
    let child = call(kernel::CLONE3, &[arguments.as_ptr() as usize, size]);
    if child == Ok(0) {
        std::process::exit(0);
    }
    say("clone3", child);
}

fn kernel_itself() {
    let nothing = [0_u64; 16];
    let at = nothing.as_ptr() as usize;
    say("bpf", call(kernel::BPF, &[0, at, 128]));
    say("perf_event_open", call(kernel::PERF_EVENT_OPEN, &[at, 0, 0, usize::MAX, 0]));
    let empty = text("");
    say("init_module", call(kernel::INIT_MODULE, &[at, 0, empty.as_ptr() as usize]));
    let none = usize::MAX;
    say("finit_module", call(kernel::FINIT_MODULE, &[none, empty.as_ptr() as usize, 0]));
    say("kexec_load", call(kernel::KEXEC_LOAD, &[0, 0, at, 0]));
    // Wrong magic: a kernel that would restart says EINVAL.
    say("reboot", call(kernel::REBOOT, &[1, 2, 3, 0]));
    let no_file = text("/no/such/file");
    say("swapon", call(kernel::SWAPON, &[no_file.as_ptr() as usize, 0]));
    // Neither time nor zone: a kernel that would set one has nothing to set.
    say("settimeofday", call(kernel::SETTIMEOFDAY, &[0, 0]));
    say("syslog", call(kernel::SYSLOG, &[10, 0, 0]));
    say("call-9999", call(9999, &[]));
}

fn keys_and_rings() {
    let nothing = [0_u8; 120];
    say("io_uring_setup", call(kernel::IO_URING_SETUP, &[1, nothing.as_ptr() as usize]));
    let own_session = -3_i64 as usize;
    say("keyctl", call(kernel::KEYCTL, &[0, own_session, 1]));
    let (kind, description) = (text("user"), text("probe"));
    let (kind, description) = (kind.as_ptr() as usize, description.as_ptr() as usize);
    let own_process = -2_i64 as usize;
    say("add_key", call(kernel::ADD_KEY, &[kind, description, kind, 4, own_process]));
    const HYPERVISOR: usize = 40;
    say("socket-vsock", call(kernel::SOCKET, &[HYPERVISOR, 1, 0]));
    say("userfaultfd", call(kernel::USERFAULTFD, &[1]));
}

/// On a terminal that this process controls itself, where the kernel alone would allow it.
fn typing() {
    const UNLOCK: usize = 0x4004_5431;
    const OTHER_END: usize = 0x5441;
    const CONTROL: usize = 0x540e;
    const READ_WRITE_NO_CONTROL: usize = 0o402;
    const TIOCSTI: usize = 0x5412;
    const TIOCLINUX: usize = 0x541c;
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/ptmx").expect("a terminal");
    let (ours, zero) = (terminal.as_raw_fd() as usize, 0_i32);
    call(kernel::IOCTL, &[ours, UNLOCK, &raw const zero as usize]).expect("unlocked");
    let theirs = call(kernel::IOCTL, &[ours, OTHER_END, READ_WRITE_NO_CONTROL]).expect("its end");
    call(kernel::IOCTL, &[theirs, CONTROL, 0]).expect("controlled by this session leader");
    // Its end would hang this process up.
    std::mem::forget(terminal);
    let letter = b'x';
    say("tiocsti", call(kernel::IOCTL, &[theirs, TIOCSTI, &raw const letter as usize]));
    let high = 1 << 32 | TIOCSTI;
    say("tiocsti-high", call(kernel::IOCTL, &[theirs, high, &raw const letter as usize]));
    say("tioclinux", call(kernel::IOCTL, &[theirs, TIOCLINUX, &raw const letter as usize]));
}

/// What the kernel says of this process: what it holds, sees and was given.
fn myself() {
    let mut given: Vec<_> = fs::read_dir("/proc/self/fd")
        .expect("own descriptors")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    // The one of the listing itself is closed by now.
    given.retain(|fd| Path::new(&format!("/proc/self/fd/{fd}")).exists());
    given.sort();
    println!("fds {}", given.join(" "));
    let mut environment: Vec<_> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    environment.sort();
    println!("environment {}", environment.join(" "));
    println!("directory {}", std::env::current_dir().expect("a directory").display());
    for line in fs::read_to_string("/proc/self/status").expect("an own status").lines() {
        println!("status {line}");
    }
    for line in fs::read_to_string("/proc/self/limits").expect("own limits").lines() {
        println!("limit {line}");
    }
    for line in fs::read_to_string("/proc/self/mountinfo").expect("own mounts").lines() {
        println!("mount {line}");
    }
    let parent = call(kernel::GETPPID, &[]).expect("a parent");
    for line in fs::read_to_string(format!("/proc/{parent}/status")).expect("a status").lines() {
        println!("parent {line}");
    }
    reach(&parent.to_string());
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            println!("process {name} {}", comm.trim());
        }
    }
}

fn reach(pid: &str) {
    for file in ["root", "exe", "cwd", "mem", "environ"] {
        let opened = File::open(format!("/proc/{pid}/{file}"));
        println!("reach {file} {}", opened.map_or_else(|e| name(errno(&e)), |_| "done".into()));
    }
    let number = pid.parse().expect("a number");
    say("reach seize", call(kernel::PTRACE, &[PTRACE_SEIZE, number, 0, 0]));
}

/// Until there is no more input.
fn wait() {
    println!("waiting");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn show(file: &str) {
    match fs::read(file) {
        Ok(bytes) => println!("{file} {} {}", bytes.len(), String::from_utf8_lossy(&bytes)),
        Err(error) => println!("{file} {}", name(errno(&error))),
    }
}

fn open(file: &str, write: bool) {
    use std::os::unix::fs::OpenOptionsExt;
    const NONBLOCK: i32 = 0o4000;
    let mut options = OpenOptions::new();
    options.read(!write).write(write).custom_flags(NONBLOCK);
    let opened = options.open(file);
    println!("{file} {}", opened.map_or_else(|error| name(errno(&error)), |_| "done".to_owned()));
}

/// Every file below `folder` that opens for writing, and how many there are.
fn writable(folder: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    let (mut folders, mut count) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                count += 1;
                let opened = OpenOptions::new().write(true).custom_flags(0o4000).open(entry.path());
                if opened.is_ok() {
                    println!("writable {}", entry.path().display());
                }
            }
        }
    }
    println!("tried {count}");
}

/// CVE-2022-0492, a step a line: root of a user namespace of its own has the kernel run a program of its choice when a
/// control group gets empty. Each step is tried, whatever became of the one before; the file is not written to.
fn release_agent(controller: &str) {
    say("unshare-cgroup", call(kernel::UNSHARE, &[NEW_CGROUP]));
    say("unshare-user-cgroup", call(kernel::UNSHARE, &[NEW_USER | NEW_CGROUP | NEW_MOUNTS]));
    let (kind, place, options) = (text("cgroup"), text("/tmp"), text(controller));
    let [kind, place, options] = [&kind, &place, &options].map(|text| text.as_ptr() as usize);
    say("mount-cgroup", call(kernel::MOUNT, &[kind, place, kind, 0, options]));
    say("fsopen-cgroup", call(kernel::FSOPEN, &[kind, 0]));
    open("/tmp/release_agent", true);
}

/// Every file of that name below the folders, opened for writing.
fn named(name: &str, folders: &[&str]) {
    let mut folders: Vec<_> = folders.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) if entry.file_name() == name => open(&entry.path().to_string_lossy(), true),
                _ => {}
            }
        }
    }
}

/// A call of 32-bit programs, whose numbers mean other things.
fn old_call() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: getpid (20 there) touches nothing but the register it answers in.
    unsafe {
        std::arch::asm!("int 0x80", inout("eax") 20 => _);
    }
    println!("old-call done");
}
