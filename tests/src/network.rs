//! Being in a container's network: a thread joins it for one piece of work and ends; a neighbour is a second
//! network with a wire to it, so that packets come from somewhere.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

use crate::container::PORT;
use crate::running::{Finished, run};

const CONTAINER_ADDRESS: &str = "10.86.0.2";
const NEIGHBOUR_ADDRESS: &str = "10.86.0.1";

/// Do `work` in the network namespace of `pid`.
pub fn inside<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))
        .unwrap_or_else(|error| panic!("process {pid} has no network namespace: {error}"));
    within(&namespace, work)
}

/// Put the calling thread into the network namespace of `pid`, for the rest of its life.
pub(crate) fn join(pid: u32) {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).expect("the process lives");
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("root can join a network namespace");
}

fn within<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    on_own_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root can join a network namespace");
        work()
    })
}

/// A namespace is a thread's own; this one is gone when the work is done.
fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

pub(crate) fn raise_loopback(pid: u32) {
    inside(pid, || ip("link set lo up"));
}

pub(crate) fn connects(pid: u32, port: u16) -> bool {
    inside(pid, || TcpStream::connect(("127.0.0.1", port)).is_ok())
}

fn ip(command: &str) {
    run(Command::new("ip").args(command.split(' '))).expect_success();
}

/// Ask the container of `pid` for `path` over its own loopback: the body of the answer.
pub fn request(pid: u32, path: &str) -> String {
    inside(pid, || fetch("127.0.0.1", path))
}

fn fetch(host: &str, path: &str) -> String {
    let mut connection = TcpStream::connect((host, PORT)).expect("the application serves");
    // In one piece, so that a capture shows one packet.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("the application reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("the application answers with text");
    answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned())
}

/// A second network with one wire to the container's `eth0`; both go when this is dropped.
#[derive(Debug)]
#[must_use = "the wire is gone when this is dropped"]
pub struct Neighbour {
    /// The only thing that keeps the network alive.
    namespace: File,
}

impl Neighbour {
    /// Give the container of `pid` an `eth0`, and be at its other end.
    pub fn of(pid: u32) -> Self {
        let namespace = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root can make a network namespace");
            ip(&format!("link add eth0 type veth peer name eth0 netns {pid}"));
            ip(&format!("address add {NEIGHBOUR_ADDRESS}/24 dev eth0"));
            ip("link set eth0 up");
            File::open("/proc/thread-self/ns/net").expect("a thread has a network namespace")
        });
        inside(pid, || {
            ip(&format!("address add {CONTAINER_ADDRESS}/24 dev eth0"));
            ip("link set eth0 up");
        });
        Self { namespace }
    }

    /// The address of the container on this wire.
    pub fn container_address(&self) -> &'static str {
        CONTAINER_ADDRESS
    }

    /// The address that requests come from.
    pub fn address(&self) -> &'static str {
        NEIGHBOUR_ADDRESS
    }

    /// `ip` with these words, in it.
    pub fn ip(&self, words: &str) -> Finished {
        within(&self.namespace, || run(Command::new("ip").args(words.split(' '))))
    }

    /// Ask the container for `path` over the wire: the body of the answer.
    pub fn request(&self, path: &str) -> String {
        within(&self.namespace, || fetch(CONTAINER_ADDRESS, path))
    }
}
