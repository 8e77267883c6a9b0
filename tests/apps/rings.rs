//! A tool that wants more of the node's memory than its session may have: packet rings in every way there is.
//!
//! A line for each attempt that says how many rings there are and what the kernel answered to one more.

mod kernel;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel::{call, outcome};

const USAGE: &str = "usage: rings many | blocks | back | flip | crowd | given | kept | answers | hold";

const PACKET: usize = 17;
const RAW: usize = 3;
const SOL_PACKET: usize = 263;
const RX: usize = 5;
const TX: usize = 13;
const VERSION: usize = 10;
const MIB: u32 = 1 << 20;
/// One ring of most tests, in blocks of a MiB.
const RING: u32 = 16;
/// Where nothing is refused, the node is to live on.
const MOST: usize = 40;
const MAPPED: usize = 3; // PROT_READ | PROT_WRITE
const SHARED: usize = 1;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["many"] => many(),
        ["blocks"] => blocks(),
        ["back"] => back(),
        ["flip"] => flip(),
        ["crowd"] => crowd(),
        ["given"] => given(),
        ["kept"] => kept(),
        ["answers"] => answers(),
        ["hold"] => hold(),
        _ => eprintln!("{USAGE}"),
    }
}

/// `struct tpacket_req3`, whose beginning is `struct tpacket_req`.
type Request = [u32; 7];

fn request(block: u32, blocks: u32) -> Request {
    [block, blocks, 2048, block / 2048 * blocks, 0, 0, 0]
}

fn packet() -> usize {
    call(kernel::SOCKET, &[PACKET, RAW, 0]).expect("NET_RAW")
}

/// A packet socket whose rings are of version 1, 2 or 3.
fn versioned(version: u32) -> usize {
    let (socket, version) = (packet(), version - 1);
    let at = &raw const version as usize;
    call(kernel::SETSOCKOPT, &[socket, SOL_PACKET, VERSION, at, 4]).expect("a version");
    socket
}

fn set(socket: usize, option: usize, request: &Request) -> Result<usize, i32> {
    call(kernel::SETSOCKOPT, &[socket, SOL_PACKET, option, request.as_ptr() as usize, 28])
}

fn close(descriptor: usize) {
    call(kernel::CLOSE, &[descriptor]).expect("it was open");
}

fn map(socket: usize, bytes: usize) -> Result<usize, i32> {
    call(kernel::MMAP, &[0, bytes, MAPPED, SHARED, socket, 0])
}

fn unmap(at: usize, bytes: usize) {
    call(kernel::MUNMAP, &[at, bytes]).expect("it was mapped");
}

/// As many as there can be, of sockets that `next` makes with what to ask of them.
fn fill(what: &str, request: &Request, mut next: impl FnMut(usize) -> (usize, usize)) -> Vec<usize> {
    let mut sockets = Vec::new();
    for made in 0..MOST {
        let (socket, option) = next(made);
        sockets.push(socket);
        if let Err(refused) = set(socket, option, request) {
            println!("{what} {made} {}", kernel::name(refused));
            return sockets;
        }
    }
    println!("{what} {MOST} done");
    sockets
}

/// Every version, both directions, and both on one socket.
fn many() {
    let ring = request(MIB, RING);
    for version in 1..=3 {
        for (name, option) in [("receive", RX), ("send", TX)] {
            let sockets = fill(&format!("v{version}-{name}"), &ring, |_| (versioned(version), option));
            sockets.into_iter().for_each(close);
        }
    }
    let mut last = 0;
    let mut sockets = fill("both", &ring, |made| {
        if made % 2 == 0 {
            last = versioned(2);
        }
        (last, if made % 2 == 0 { RX } else { TX })
    });
    sockets.dedup();
    sockets.into_iter().for_each(close);
    // The memory is the node's from the beginning, used or not: the same again when all of it is back.
    fill("again", &ring, |_| (packet(), RX));
}

/// A block of five pages takes eight of the node's.
fn blocks() {
    let page = 4096;
    fill("five-pages", &[5 * page, 512, 2048, 5 * 2 * 512, 0, 0, 0], |_| (packet(), RX));
}

/// What gives memory back and what does not.
fn back() {
    let (large, small) = (request(MIB, 240), request(MIB, 32));
    let first = packet();
    println!("first {}", outcome(set(first, RX, &large)));
    let second = packet();
    let try_second = |when: &str| {
        let result = set(second, RX, &small);
        println!("{when} {}", outcome(result));
        if result.is_ok() {
            set(second, RX, &[0; 7]).expect("it is freed");
        }
    };
    try_second("beside-it");
    let twin = call(kernel::DUP, &[first]).expect("a descriptor");
    close(first);
    try_second("beside-its-twin");
    let bytes = 240 * MIB as usize;
    let at = map(twin, bytes).expect("its ring is this large");
    println!("freed-while-mapped {}", outcome(set(twin, RX, &[0; 7])));
    close(twin);
    try_second("beside-its-map");
    unmap(at, bytes);
    try_second("after-all");
    let third = packet();
    println!("third {}", outcome(set(third, RX, &large)));
    println!("third-again {}", outcome(set(third, RX, &small)));
    println!("third-freed {}", outcome(set(third, RX, &[0; 7])));
    try_second("after-freed");
}

/// What is asked for is changed while it is being asked: whichever is taken is what was judged.
fn flip() {
    static STOP: AtomicBool = AtomicBool::new(false);
    // In memory that another thread writes to: two words of a request that is 16 bytes.
    let shared: &'static [AtomicU32; 4] = Box::leak(Box::new([4096, 1, 2048, 2].map(AtomicU32::new)));
    let flipping = std::thread::spawn(move || {
        while !STOP.load(Ordering::Relaxed) {
            // 1 GiB, or a page.
            for (blocks, frames) in [(1024, 512 * 1024), (1, 2)] {
                shared[0].store(if blocks == 1 { 4096 } else { MIB }, Ordering::Relaxed);
                shared[1].store(blocks, Ordering::Relaxed);
                shared[3].store(frames, Ordering::Relaxed);
            }
        }
    });
    let (mut small, mut large, mut refused) = (0, 0, 0);
    while small < 200 {
        let socket = packet();
        let at = shared.as_ptr() as usize;
        match call(kernel::SETSOCKOPT, &[socket, SOL_PACKET, RX, at, 16]) {
            Ok(_) => {
                // A ring can be mapped whole or not at all.
                small += u32::from(map(socket, 4096).is_ok_and(|at| call(kernel::MUNMAP, &[at, 4096]).is_ok()));
                let bytes = 1 << 30;
                large += u32::from(map(socket, bytes).is_ok_and(|at| call(kernel::MUNMAP, &[at, bytes]).is_ok()));
            }
            Err(_) => refused += 1,
        }
        close(socket);
    }
    STOP.store(true, Ordering::Relaxed);
    flipping.join().expect("the other thread");
    println!("flipped small={} large={large} refused={}", small >= 200, refused > 0);
}

/// Processes and threads that ask at the same time, all of one session.
fn crowd() {
    if std::env::var_os("ONE").is_none() {
        let mut children: Vec<_> = (0..6)
            .map(|_| {
                let mut command = std::process::Command::new("/proc/self/exe");
                command.arg("crowd").env("ONE", "1").stdin(std::process::Stdio::piped());
                command.spawn().expect("this program can start itself")
            })
            .collect();
        // Each holds what it has until its input ends, which is when all have had their turn.
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("a word from the test");
        children.iter_mut().for_each(|child| drop(child.stdin.take()));
        children.iter_mut().for_each(|child| assert!(child.wait().expect("a child").success()));
        return;
    }
    let ring = request(MIB, RING);
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || (0..8).filter(|_| set(packet(), RX, &ring).is_ok()).count()))
        .collect();
    let made: usize = threads.into_iter().map(|thread| thread.join().expect("a thread")).sum();
    println!("made {made}");
    std::io::stdin().read_line(&mut String::new()).expect("the end of the input");
}

/// A socket that is on its way to a process is neither open nor gone.
fn given() {
    let mut pair = [0_i32; 2];
    call(kernel::SOCKETPAIR, &[1, 1, 0, pair.as_mut_ptr() as usize]).expect("a pair");
    let socket = packet();
    println!("first {}", outcome(set(socket, RX, &request(MIB, 240))));
    send(pair[0] as usize, socket);
    close(socket);
    let other = packet();
    println!("on-its-way {}", outcome(set(other, RX, &request(MIB, 32))));
    close(pair[0] as usize);
    close(pair[1] as usize);
    println!("lost {}", outcome(set(other, RX, &request(MIB, 32))));
}

/// `sendmsg(2)` of one byte and a descriptor.
fn send(to: usize, descriptor: usize) {
    let byte = b'x';
    let vector = [&raw const byte as usize, 1];
    // struct cmsghdr: length, SOL_SOCKET, SCM_RIGHTS, the descriptor.
    let control = [20_usize, 1 | 1 << 32, descriptor];
    let message = [0, 0, vector.as_ptr() as usize, 1, control.as_ptr() as usize, size_of_val(&control), 0];
    call(kernel::SENDMSG, &[to, message.as_ptr() as usize, 0]).expect("it is sent");
}

/// What would keep pages of a ring when the ring is gone, and memory that has no ring.
fn kept() {
    const NETLINK: usize = 16;
    let mut pipe = [0_i32; 2];
    call(kernel::PIPE2, &[pipe.as_mut_ptr() as usize, 0]).expect("a pipe");
    let byte = b'x';
    let vector = [&raw const byte as usize, 1];
    let spliced = call(kernel::VMSPLICE, &[pipe[1] as usize, vector.as_ptr() as usize, 1, 0]);
    println!("vmsplice {}", outcome(spliced));
    let one = 1_u64;
    let option = |socket: usize, level, option| {
        outcome(call(kernel::SETSOCKOPT, &[socket, level, option, &raw const one as usize, 8]))
    };
    let tcp = call(kernel::SOCKET, &[2, 1, 0]).expect("a socket");
    println!("zerocopy {}", option(tcp, 1, 60));
    println!("receive-past-all {}", option(tcp, 1, 33));
    println!("send-past-all {}", option(tcp, 1, 32));
    println!("fanout {}", option(packet(), SOL_PACKET, 18));
    for (name, family, protocol) in
        [("vsock", 40, 0), ("alg", 38, 0), ("xdp", 44, 0), ("usersock", NETLINK, 2), ("route", NETLINK, 0)]
    {
        println!("{name} {}", outcome(call(kernel::SOCKET, &[family, RAW, protocol])));
    }
}

/// Requests that make no sense are answered as the kernel answers them.
fn answers() {
    let ring = request(MIB, 1);
    let at = ring.as_ptr() as usize;
    let ask = |socket: usize, at: usize, length: usize| {
        outcome(call(kernel::SETSOCKOPT, &[socket, SOL_PACKET, RX, at, length]))
    };
    let pipe = std::fs::File::open("/proc/self/status").expect("a file");
    println!("no-descriptor {}", ask(999, at, 16));
    println!("no-socket {}", ask(std::os::fd::AsRawFd::as_raw_fd(&pipe) as usize, at, 16));
    println!("other-socket {}", ask(call(kernel::SOCKET, &[2, 1, 0]).expect("a socket"), at, 16));
    println!("no-memory {}", ask(packet(), 8, 16));
    println!("too-short {}", ask(packet(), at, 12));
    println!("negative {}", ask(packet(), at, usize::MAX));
    println!("no-blocks {}", outcome(set(packet(), RX, &request(100, 1))));
    // What the kernel does not look at changes nothing: neither here nor in the filter.
    let high = 1 << 32;
    let asked = [packet() | high, SOL_PACKET | high, RX | high, at, 16 | high];
    println!("high-bits {}", outcome(call(kernel::SETSOCKOPT, &asked)));
    let whole = request(MIB, 300);
    let asked = [packet() | high, SOL_PACKET | high, RX | high, whole.as_ptr() as usize, 16 | high];
    println!("high-bits-too-much {}", outcome(call(kernel::SETSOCKOPT, &asked)));
    let other = std::thread::spawn(move || outcome(set(packet(), RX, &ring)));
    println!("other-thread {}", other.join().expect("a thread"));
}

/// Keeps a ring until the input ends.
fn hold() {
    let socket = packet();
    println!("holding {}", outcome(set(socket, RX, &request(MIB, 200))));
    std::io::stdin().read_line(&mut String::new()).expect("the end of the input");
}
