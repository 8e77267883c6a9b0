//! A tool that would hold what others need, or leave what stays when it is gone.
//!
//! A line for each attempt, with what the kernel answered.

mod kernel;

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::process::Command;

use kernel::{call, name, outcome, text};

const USAGE: &str = "usage: hoard leases | make | left | found | packets | groups | entries | node";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["leases"] => leases(),
        ["make"] => make(),
        ["left"] => left(),
        ["found"] => found(),
        ["packets"] => packets(),
        ["groups"] => groups(),
        ["entries"] => entries(),
        ["node"] => node(),
        _ => eprintln!("{USAGE}"),
    }
}

fn say(what: &str, result: Result<usize, i32>) {
    println!("{what} {}", outcome(result));
}

/// A process that opens a file waits for the holder of a lease on it. This program is one that all sessions have in common.
fn leases() {
    const SET: usize = 1024;
    const GET: usize = 1025;
    const NOTIFY: usize = 1026;
    const DELEGATE: usize = 1040;
    const READ: usize = 0;
    const WRITE: usize = 1;
    const NONE: usize = 2;
    let file = File::open("/usr/bin/hoard").expect("a file of the tree");
    let (file, folder) = (file.as_raw_fd() as usize, File::open("/usr/bin").expect("a folder"));
    let control = |command, argument| call(kernel::FCNTL, &[file, command, argument]);
    say("read-lease", control(SET, READ));
    say("write-lease", control(SET, WRITE));
    println!("lease-held {}", control(GET, 0) != Ok(NONE));
    say("high-bits", control(1 << 32 | SET, WRITE));
    let delegation = [0_u64; 1];
    let at = delegation.as_ptr() as usize;
    say("delegation", call(kernel::FCNTL, &[folder.as_raw_fd() as usize, DELEGATE, at]));
    let modified = 2;
    say("notify", call(kernel::FCNTL, &[folder.as_raw_fd() as usize, NOTIFY, modified]));
}

const KEY: usize = 7;
const CREATE: usize = 0o1666;

/// As a process of the target, what a tool is to find.
fn make() {
    say("shared", call(kernel::SHMGET, &[KEY, 4096, CREATE]));
    say("semaphores", call(kernel::SEMGET, &[KEY, 1, CREATE]));
    say("queue", call(kernel::MSGGET, &[KEY, CREATE]));
    say("posix", posix("there"));
}

fn left() {
    let other = KEY + 1;
    for (kind, key) in [("private", 0), ("keyed", other)] {
        let create = if key == 0 { 0o666 } else { CREATE };
        say(&format!("{kind}-shared"), call(kernel::SHMGET, &[key, 4096, create]));
        say(&format!("{kind}-semaphores"), call(kernel::SEMGET, &[key, 1, create]));
        say(&format!("{kind}-queue"), call(kernel::MSGGET, &[key, create]));
    }
    say("posix-queue", posix("left"));
}

/// Makes a queue of one short message: each user may have some hundred kilobytes of them.
fn posix(name: &str) -> Result<usize, i32> {
    let (queue, attributes) = (text(name), [0_usize, 1, 8, 0, 0, 0, 0, 0]);
    let create = 0o102;
    call(kernel::MQ_OPEN, &[queue.as_ptr() as usize, create, 0o666, attributes.as_ptr() as usize])
}

fn found() {
    let shared = call(kernel::SHMGET, &[KEY, 0, 0]);
    say("shared", shared);
    say("attached", call(kernel::SHMAT, &[shared.unwrap_or(usize::MAX), 0, 0o10000]));
    say("semaphores", call(kernel::SEMGET, &[KEY, 0, 0]));
    say("queue", call(kernel::MSGGET, &[KEY, 0]));
    let queue = text("there");
    say("posix", call(kernel::MQ_OPEN, &[queue.as_ptr() as usize, 0, 0, 0]));
}

fn socket(family: usize, kind: usize) -> usize {
    call(kernel::SOCKET, &[family, kind, 0]).expect("a socket")
}

fn option(socket: usize, level: usize, option: usize, value: &[u8]) -> Result<usize, i32> {
    let at = value.as_ptr() as usize;
    call(kernel::SETSOCKOPT, &[socket, level, option, at, value.len()])
}

const LOOPBACK: u32 = 1;

/// What a packet socket is to receive besides.
fn packets() {
    const SOL_PACKET: usize = 263;
    const ADD: usize = 1;
    let member = |kind: u16, length: u16, address: u64| {
        let (kind, length) = (kind.to_ne_bytes(), length.to_ne_bytes());
        [&LOOPBACK.to_ne_bytes()[..], &kind, &length, &address.to_be_bytes()].concat()
    };
    let packet = socket(17, 3);
    say("multicast", option(packet, SOL_PACKET, ADD, &member(0, 6, 0x0100_5e00_0001_0000)));
    say("unicast", option(packet, SOL_PACKET, ADD, &member(3, 6, 0x0200_0000_0001_0000)));
    say("all-of-groups", option(packet, SOL_PACKET, ADD, &member(2, 0, 0)));
    say("short", option(packet, SOL_PACKET, ADD, &member(1, 0, 0)[..12]));
    promiscuity("before");
    // With distinct addresses, which the kernel would keep each, it is one thing.
    let each = (0..100).map(|address| option(packet, SOL_PACKET, ADD, &member(1, 6, address << 16)));
    println!("everything {}", each.filter(Result::is_ok).count());
    promiscuity("meanwhile");
    call(kernel::CLOSE, &[packet]).expect("it was open");
    promiscuity("afterwards");
    let other = socket(2, 1);
    say("other-socket", option(other, SOL_PACKET, ADD, &member(1, 0, 0)));
}

/// How many ask for everything on the loopback interface.
fn promiscuity(when: &str) {
    let shown = Command::new("ip").args(["-d", "link", "show", "lo"]).output().expect("ip runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let mut words = shown.split_whitespace().skip_while(|word| *word != "promiscuity");
    println!("{when} {}", words.nth(1).expect("a number"));
}

fn groups() {
    const OF_IPV6: usize = 41;
    let six = socket(10, 2);
    let mut group = [0_u8; 20];
    (group[0], group[1], group[15]) = (0xff, 1, 9);
    group[16..].copy_from_slice(&LOOPBACK.to_ne_bytes());
    say("ipv6-join", option(six, OF_IPV6, 20, &group));
    say("ipv6-anycast", option(six, OF_IPV6, 27, &group));
    // struct group_source_req, whose beginning is struct group_req.
    let mut any = [0_u8; 8 + 2 * 128];
    any[..4].copy_from_slice(&LOOPBACK.to_ne_bytes());
    any[8..10].copy_from_slice(&10_u16.to_ne_bytes());
    any[16..32].copy_from_slice(&group[..16]);
    any[136..138].copy_from_slice(&10_u16.to_ne_bytes());
    any[136 + 23] = 1;
    say("any-join", option(six, OF_IPV6, 42, &any[..136]));
    say("any-join-source", option(six, OF_IPV6, 46, &any));
    let four = socket(2, 2);
    say("ipv4-join", option(four, 0, 35, &[239, 1, 1, 1, 127, 0, 0, 1]));
    say("ipv4-join-source", option(four, 0, 39, &[232, 1, 1, 1, 127, 0, 0, 1, 127, 0, 0, 2]));
    let mut any = [0_u8; 8 + 128];
    any[..4].copy_from_slice(&LOOPBACK.to_ne_bytes());
    any[8..10].copy_from_slice(&2_u16.to_ne_bytes());
    any[12..16].copy_from_slice(&[239, 1, 1, 2]);
    say("ipv4-any-join", option(four, 0, 42, &any));
}

/// Of what the kernel keeps an entry, of any number, for which no control group is charged.
fn entries() {
    const BIND: usize = 2;
    let memory = call(kernel::MMAP, &[0, 4096, 1, 0x22, usize::MAX, 0]).expect("a page");
    let (node, at) = (1_u64, |value: &u64| std::ptr::from_ref(value) as usize);
    say("policy-of-memory", call(kernel::MBIND, &[memory, 4096, BIND, at(&node), 8, 0]));
    say("policy-of-all", call(kernel::SET_MEMPOLICY, &[BIND, at(&node), 8]));
    let file = File::create("/tmp/locked").expect("a file of one's own");
    let file = file.as_raw_fd() as usize;
    // struct flock: a write lock of the first byte.
    let lock = [1_u64, 0, 1, 0];
    for (what, command) in [("lock", 6), ("waiting-lock", 7), ("open-lock", 37), ("open-waiting-lock", 38)] {
        say(what, call(kernel::FCNTL, &[file, command, lock.as_ptr() as usize]));
    }
    say("whole-file", call(kernel::FLOCK, &[file, 2]));
    let (four, six) = (socket(2, 1), socket(10, 2));
    let mut key = [0_u8; 216];
    (key[0], key[4], key[130]) = (2, 10, 8);
    say("key", option(four, 6, 14, &key));
    let header = [0_u64, 0, 16, 0].map(u64::to_ne_bytes).concat();
    say("old-headers", option(six, 41, 6, &header[16..]));
    say("routing-header", option(six, 41, 57, &[0, 0, 4, 0, 0, 0, 0, 0]));
    for (what, family) in [("vsock", 40), ("tipc", 30)] {
        say(what, call(kernel::SOCKET, &[family, 2, 0]).map(|_| 0));
    }
}

/// What the node has a number of for all, or for each user.
fn node() {
    let mut terminals = Vec::new();
    let errno = loop {
        match OpenOptions::new().read(true).write(true).open("/dev/ptmx") {
            Ok(terminal) => terminals.push(terminal),
            Err(error) => break kernel::errno(&error),
        }
    };
    println!("terminals {} {}", terminals.len(), name(errno));
    drop(terminals);
    let context = 0_u64;
    say("asynchronous", call(kernel::IO_SETUP, &[64, &raw const context as usize]));
    say("fanotify", call(kernel::FANOTIFY_INIT, &[0x200, 0]));
    for line in std::fs::read_to_string("/proc/self/limits").expect("own limits").lines() {
        for (what, name) in
            [("signals", "Max pending signals"), ("queues", "Max msgqueue size"), ("locked", "Max locked memory")]
        {
            if let Some(rest) = line.strip_prefix(name) {
                let limits: Vec<_> = rest.split_whitespace().take(2).collect();
                println!("{what} {}", limits.join(" "));
            }
        }
    }
}
