//! A hostile tool: sleeps in the kernel with a lock that its agent might want, or says what is not so.
//!
//! What it waits for never comes. A mode ends only by being killed.

mod kernel;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use kernel::{
    FCNTL, GETPPID, IOCTL, KILL, PIDFD_GETFD, PIDFD_OPEN, SENDFILE, SENDMSG, SENDTO, SPLICE, call,
};

const USAGE: &str = "usage: hanger splice | sendfile | reopen | stdin | drain | typed | message | forge | exit
       hanger early | early-failed | greedy
       hanger accomplice
       hanger hand";

const STDIN: usize = 0;
const STDOUT: usize = 1;
const STOP: usize = 19;
const KILLED: usize = 9;
const NONBLOCK: usize = 0o4000;
const GETFL: usize = 3;
const SETFL: usize = 4;
const SETPIPE_SZ: usize = 1031;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
/// Postcard of `Failed(Failure { step: ReadOrder, errno: 5, path: None })`.
const FAILED: [u8; 4] = [2, 0, 10, 0];
/// The supervisor's connection.
const CONNECTION: usize = 3;
/// Where the accomplice waits, in the target's network namespace.
const NAME: &[u8] = b"nsdebug-test-hanger";

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    match mode.as_str() {
        "splice" => {
            fill(STDOUT);
            hold(STDOUT, SPLICE);
        }
        "sendfile" => {
            fill(STDOUT);
            hold(STDOUT, SENDFILE);
        }
        "reopen" => reopen(),
        "stdin" => stdin(),
        "drain" => drain(),
        "typed" => typed(),
        "message" => message(),
        "forge" => forge(STOP),
        "exit" => forge(KILLED),
        "early" => early(None),
        "early-failed" => early(Some(FAILED)),
        "greedy" => greedy(),
        "accomplice" => accomplice(),
        "hand" => hand(),
        _ => eprintln!("{USAGE}"),
    }
}

fn rest() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1000));
    }
}

/// Writes until nobody has read for a second, and makes room again.
fn fill(pipe: usize) {
    let flags = call(FCNTL, &[pipe, GETFL]).expect("its flags");
    call(FCNTL, &[pipe, SETFL, flags | NONBLOCK]).expect("an own pipe");
    let bytes = [b'x'; 65536];
    let mut idle = 0;
    while idle < 10 {
        match call(kernel::WRITE, &[pipe, bytes.as_ptr() as usize, bytes.len()]) {
            Ok(_) => idle = 0,
            Err(_) => {
                idle += 1;
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    call(FCNTL, &[pipe, SETFL, flags]).expect("an own pipe");
    call(FCNTL, &[pipe, SETPIPE_SZ, 1 << 20]).expect("room");
}

/// Sleeps with the lock of `pipe`, in `call_number` from a silent socket.
fn hold(pipe: usize, call_number: i64) -> ! {
    let (silent, _other) = UnixStream::pair().expect("sockets");
    let from = silent.as_raw_fd() as usize;
    let _ = match call_number {
        SPLICE => call(SPLICE, &[from, 0, pipe, 0, 10, 0]),
        _ => call(SENDFILE, &[pipe, from, 0, 10]),
    };
    rest()
}

/// Leaves others with the last descriptors that it was started with, and holds the pipe by its own.
fn reopen() -> ! {
    let own = File::options().write(true).open("/proc/self/fd/1").expect("an own pipe");
    fill(STDOUT);
    for number in [1, 2] {
        // SAFETY: nothing here writes to the two any more.
        drop(unsafe { File::from_raw_fd(number) });
    }
    hold(own.as_raw_fd() as usize, SPLICE)
}

/// Sleeps with the lock of its stdin, which it splices into a socket that is full.
fn stdin() -> ! {
    let (mut full, _other) = UnixStream::pair().expect("sockets");
    full.set_nonblocking(true).expect("an own socket");
    while full.write(&[0; 65536]).is_ok() {}
    full.set_nonblocking(false).expect("an own socket");
    println!("waits");
    let _ = call(SPLICE, &[STDIN, 0, full.as_raw_fd() as usize, 0, 1 << 20, 0]);
    rest()
}

/// Has many threads wait for a terminal's output to be taken, and changes its settings meanwhile.
fn drain() -> ! {
    const TCSBRK: usize = 0x5409;
    const TCGETS: usize = 0x5401;
    const TCSETSW: usize = 0x5403;
    let mut settings = [0u8; 64];
    let at = settings.as_mut_ptr() as usize;
    call(IOCTL, &[STDOUT, TCGETS, at]).expect("a terminal");
    for _ in 0..4 {
        thread::spawn(move || loop {
            let _ = call(IOCTL, &[STDOUT, TCSBRK, 1]);
            let _ = call(IOCTL, &[STDOUT, TCSETSW, at]);
        });
    }
    loop {
        let _ = std::io::stdout().write_all(&[b'x'; 65536]);
    }
}

/// Reads nothing that is typed, in a mode in which the terminal keeps it, and changes its size all the time.
fn typed() -> ! {
    const TIOCSWINSZ: usize = 0x5414;
    println!("waits");
    let size = [24u16, 80, 0, 0];
    loop {
        let _ = call(IOCTL, &[STDOUT, TIOCSWINSZ, size.as_ptr() as usize]);
    }
}

fn connection() -> RawFd {
    let parent = call(GETPPID, &[]).expect("a parent");
    let pidfd = call(PIDFD_OPEN, &[parent, 0]).expect("the supervisor");
    let fd = call(PIDFD_GETFD, &[pidfd, CONNECTION, 0]).expect("its connection");
    RawFd::try_from(fd).expect("a descriptor")
}

/// Sends a descriptor of a pipe, and is not the last to let go of it: another one has its lock.
fn message() -> ! {
    let connection = connection();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let own = File::options().write(true).open(format!("/proc/self/fd/{}", writer.as_raw_fd()));
    let own = own.expect("an own pipe").as_raw_fd();
    let locker = own.try_into().expect("a descriptor");
    let holder = thread::spawn(move || hold(locker, SPLICE));
    thread::sleep(Duration::from_millis(300));
    for end in [reader.as_raw_fd(), writer.as_raw_fd()] {
        send(connection, b"\x07", end);
    }
    drop((reader, writer));
    println!("sent");
    let _ = holder.join();
    rest()
}

/// One message with one descriptor.
fn send(socket: RawFd, text: &[u8], descriptor: RawFd) {
    #[repr(C)]
    struct Control {
        length: usize,
        level: i32,
        kind: i32,
        descriptor: i32,
        padding: i32,
    }
    let control = Control {
        length: 20,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        descriptor,
        padding: 0,
    };
    let part = [text.as_ptr() as usize, text.len()];
    let header = [0, 0, part.as_ptr() as usize, 1, &raw const control as usize, 24, 0usize];
    call(SENDMSG, &[socket as usize, header.as_ptr() as usize, 0]).expect("sent");
}

/// Has the agent told that the tool has ended with 0 (postcard of `Ended(Code(0))`, whose place in the list is the first byte), then sends the
/// supervisor `signal`, and goes on.
fn forge(signal: usize) -> ! {
    const PR_SET_PDEATHSIG: usize = 1;
    call(kernel::PRCTL, &[PR_SET_PDEATHSIG, 0]).expect("an own setting");
    let parent = call(GETPPID, &[]).expect("a parent");
    let connection = connection();
    // What is said before the session is known to have started is out of turn.
    std::io::stdin().read_exact(&mut [0]).expect("a word");
    let message = [3u8, 0, 0];
    let sent = [connection as usize, message.as_ptr() as usize, 3, 0x4000, 0, 0];
    call(SENDTO, &sent).expect("sent");
    call(KILL, &[parent, signal]).expect("an own supervisor");
    for number in 0..3 {
        // SAFETY: nothing here uses the three any more.
        drop(unsafe { File::from_raw_fd(number) });
    }
    rest()
}

/// Stops the supervisor before it has said that this runs, holds stdout, and has the agent told `word`.
fn early(word: Option<[u8; 4]>) -> ! {
    let parent = call(GETPPID, &[]).expect("a parent");
    call(KILL, &[parent, STOP]).expect("an own supervisor");
    let Some(word) = word else {
        fill(STDOUT);
        hold(STDOUT, SPLICE)
    };
    let connection = connection();
    fill(STDOUT);
    thread::spawn(|| hold(STDOUT, SPLICE));
    thread::sleep(Duration::from_millis(300));
    let sent = [connection as usize, word.as_ptr() as usize, word.len(), 0x4000, 0, 0];
    call(SENDTO, &sent).expect("sent");
    rest()
}

fn address() -> SocketAddr {
    SocketAddr::from_abstract_name(NAME).expect("a name")
}

/// A process of the target that takes a pipe and sleeps with its lock.
fn accomplice() -> ! {
    let listener = UnixListener::bind_addr(&address()).expect("nobody else has it");
    println!("listening");
    loop {
        let (mut stream, _) = listener.accept().expect("a connection");
        thread::spawn(move || {
            let pipe = receive(&stream);
            stream.write_all(b"!").expect("the tool waits");
            hold(pipe, SPLICE)
        });
    }
}

fn receive(socket: &UnixStream) -> usize {
    let mut text = [0u8; 1];
    let mut control = [0u64; 4];
    let part = [text.as_mut_ptr() as usize, 1];
    let header = [0, 0, part.as_ptr() as usize, 1, control.as_mut_ptr() as usize, 32, 0usize];
    call(kernel::RECVMSG, &[socket.as_raw_fd() as usize, header.as_ptr() as usize, 0])
        .expect("a message");
    usize::try_from(control[2] & 0xffff_ffff).expect("a descriptor")
}

/// Gives its stdout to the accomplice, and waits.
fn hand() -> ! {
    give_away();
    rest()
}

/// Gives its stdout to the accomplice, and takes more memory than there is for it.
fn greedy() -> ! {
    give_away();
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1u8; 1 << 20]);
    }
}

fn give_away() {
    fill(STDOUT);
    let mut stream = UnixStream::connect_addr(&address()).expect("an accomplice");
    send(stream.as_raw_fd(), b"!", 1);
    stream.read_exact(&mut [0]).expect("it has it");
}
