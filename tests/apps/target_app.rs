//! The whole contents of a test container: one static program that is server, client, pause and sleeper, and what
//! goes wrong with such programs at night.
//!
//! Only the standard library, so that `rustc` alone builds it. It never reaps a child unless it is `pause`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, exit};
use std::time::Duration;

const USAGE: &str = "usage: target-app serve [port=N] [children=N] [zombies=N] [term=ignore]
       target-app get HOST:PORT [PATH]
       target-app call HOST:PORT
       target-app reset
       target-app leak
       target-app spin
       target-app depend HOST:PORT
       target-app sleep SECONDS
       target-app exit CODE
       target-app pour MEBIBYTES
       target-app pause
       target-app below FOLDER COMMAND…
       target-app apart COMMAND…
       target-app elsewhere COMMAND…
       target-app unnamed COMMAND…";

const SIGCHLD: i32 = 17;
const SIGTERM: i32 = 15;

/// The disposition that has the kernel drop a signal, and reap children by itself for `SIGCHLD`.
const SIG_IGN: usize = 1;

// SAFETY: libc's `sighandler_t signal(int, sighandler_t)` with the result left unread, and `_exit`. A handler is
// an address, of a function that takes the signal's number or one of two small numbers; every caller
// below passes one of these. The only handler calls nothing but `_exit`, which is allowed in one.
unsafe extern "C" {
    #[link_name = "signal"]
    safe fn on_signal(signal: i32, handler: usize) -> usize;
    #[link_name = "_exit"]
    safe fn end_now(code: i32) -> !;
    #[link_name = "setgroups"]
    fn set_groups(count: usize, groups: *const u32) -> i32;
    #[link_name = "setgid"]
    safe fn set_group(id: u32) -> i32;
    #[link_name = "setuid"]
    safe fn set_user(id: u32) -> i32;
    #[link_name = "unshare"]
    safe fn leave_shared(kinds: i32) -> i32;
}

extern "C" fn leave(_signal: i32) {
    end_now(0);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Pid 1 of a namespace ignores every signal it has no handler for.
    on_signal(SIGTERM, leave as extern "C" fn(i32) as usize);
    obey(&words)
}

fn obey(words: &[&str]) -> ExitCode {
    match words {
        ["serve", options @ ..] => serve(options),
        ["get", address] => get(address, "/"),
        ["get", address, path] => get(address, path),
        ["call", address] => call(address),
        ["reset"] => reset(),
        ["leak"] => leak(),
        ["spin"] => spin(),
        ["depend", address] => depend(address),
        ["sleep", seconds] => sleep(seconds),
        ["exit", code] => code.parse::<u8>().map_or(ExitCode::FAILURE, ExitCode::from),
        ["pour", mebibytes] => pour(mebibytes),
        ["pause"] => pause(),
        ["as", ids, rest @ ..] => become_user(ids, rest),
        ["below", root, rest @ ..] => change_root(root, rest),
        ["apart", rest @ ..] => leave_users(rest),
        ["elsewhere", rest @ ..] => root_elsewhere(rest),
        ["unnamed", rest @ ..] => lose_name(rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// As servers do it that want nothing but one folder.
fn change_root(root: &str, rest: &[&str]) -> ExitCode {
    std::os::unix::fs::chroot(root).expect("root can change its root");
    std::env::set_current_dir("/").expect("a root");
    obey(rest)
}

/// In a user namespace of its own, where it has no user of the node; the container's other processes have one.
fn leave_users(rest: &[&str]) -> ExitCode {
    const NEW_USERS_AND_MOUNTS: i32 = 0x1000_0000 | 0x2_0000;
    assert_eq!(leave_shared(NEW_USERS_AND_MOUNTS), 0, "everybody may make a user namespace");
    println!("apart");
    obey(rest)
}

/// With the root of another mount namespace: of its own not one mount is below that.
fn root_elsewhere(rest: &[&str]) -> ExitCode {
    let mut child = Command::new("/proc/self/exe");
    child.args(["apart", "sleep", "86400"]).stdout(std::process::Stdio::piped());
    let mut child = child.spawn().expect("this program can start itself");
    let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
    said.read_line(&mut String::new()).expect("it is apart");
    change_root(&format!("/proc/{}/root", child.id()), rest)
}

/// Called what is no text in any encoding, with all its threads.
fn lose_name(rest: &[&str]) -> ExitCode {
    std::fs::write("/proc/thread-self/comm", [0xff, 0xfe]).expect("an own name");
    obey(rest)
}

/// As an image's user does it: this program again, from its beginning, as `UID:GID:GROUP,…`.
fn become_user(ids: &str, rest: &[&str]) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let ids: Vec<Vec<u32>> =
        ids.split(':').map(|list| list.split(',').flat_map(str::parse).collect()).collect();
    let [uid, gid, groups] = &ids[..] else { return ExitCode::from(2) };
    // SAFETY: setgroups(2) reads as many numbers as it is told, which are there.
    let set = unsafe { set_groups(groups.len(), groups.as_ptr()) };
    if set != 0 || set_group(gid[0]) != 0 || set_user(uid[0]) != 0 {
        return ExitCode::FAILURE;
    }
    let program = std::env::current_exe().expect("an own program");
    eprintln!("{}", std::process::Command::new(program).args(rest).exec());
    ExitCode::FAILURE
}

/// The value of `name=value` among `options`.
fn option<'a>(options: &[&'a str], name: &str) -> Option<&'a str> {
    options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
}

fn number(options: &[&str], name: &str, otherwise: u16) -> u16 {
    option(options, name).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// Start this program again; the child is neither waited for nor reaped.
fn start(arguments: &[&str]) -> Child {
    Command::new("/proc/self/exe").args(arguments).spawn().expect("this program can start itself")
}

fn serve(options: &[&str]) -> ExitCode {
    if option(options, "term") == Some("ignore") {
        on_signal(SIGTERM, SIG_IGN);
    }
    for _ in 0..number(options, "children", 0) {
        start(&["sleep", "86400"]);
    }
    for _ in 0..number(options, "zombies", 0) {
        start(&["exit", "0"]);
    }
    let listener = TcpListener::bind(("0.0.0.0", number(options, "port", 8080))).expect("the port is free");
    println!("ready");
    for connection in listener.incoming().flatten() {
        // A client that went away is no reason to end the server.
        let _ = answer(connection);
    }
    ExitCode::SUCCESS
}

/// `/` greets, `/exit/N` ends the server with that code.
fn answer(connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(&connection).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    // The rest of the head is read, so that closing does not reset the connection.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or("/");
    let body = "hello from the container\n";
    // In one piece, so that a capture shows one packet.
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    (&connection).write_all(answer.as_bytes())?;
    if let Some(code) = path.strip_prefix("/exit/") {
        drop(connection);
        exit(code.parse().unwrap_or(1));
    }
    Ok(())
}

fn get(address: &str, path: &str) -> ExitCode {
    match fetch(address, path) {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("target-app: cannot get {path} from {address}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn fetch(address: &str, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()))
}

/// A client that goes on whatever it gets.
fn call(address: &str) -> ExitCode {
    loop {
        get(address, "/");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// A server that hangs up on whatever it is asked: what was not read when a connection is closed resets it.
fn reset() -> ExitCode {
    let listener = TcpListener::bind(("0.0.0.0", 8080)).expect("the port is free");
    for connection in listener.incoming().flatten() {
        // Fails when the client has gone away.
        let _ = connection.peek(&mut [0]);
    }
    ExitCode::SUCCESS
}

/// A server that never closes a connection whose client has gone. It is its own client, until it may open no more.
fn leak() -> ExitCode {
    let listener = TcpListener::bind(("0.0.0.0", 8080)).expect("the port is free");
    let mut kept = Vec::new();
    loop {
        if let Ok(client) = TcpStream::connect("127.0.0.1:8080") {
            drop(client);
            kept.extend(listener.accept());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One thread that never ends its turn, beside one that waits for it.
fn spin() -> ExitCode {
    let spinning = || loop {
        std::hint::spin_loop();
    };
    let thread = std::thread::Builder::new().name("retry-loop".to_owned()).spawn(spinning);
    thread.expect("a thread can be started").join().expect("it never ends")
}

/// A program that ends when what it depends on is not there, a moment after its start.
fn depend(address: &str) -> ExitCode {
    std::thread::sleep(Duration::from_secs(5));
    match TcpStream::connect(address) {
        Ok(_) => pause(),
        Err(why) => {
            eprintln!("target-app: cannot reach {address}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn sleep(seconds: &str) -> ExitCode {
    std::thread::sleep(Duration::from_secs(seconds.parse().expect("a number of seconds")));
    ExitCode::SUCCESS
}

/// Zeros, in writes as large as a pipe.
fn pour(mebibytes: &str) -> ExitCode {
    use std::io::Write;
    let (chunk, count) = ([0; 64 << 10], mebibytes.parse::<usize>().expect("a number") * 16);
    let mut out = std::io::stdout().lock();
    let poured = (0..count).try_for_each(|_| out.write_all(&chunk));
    if poured.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first process of a pod: does nothing, and lets the kernel reap whatever is left to it.
fn pause() -> ExitCode {
    on_signal(SIGCHLD, SIG_IGN);
    loop {
        std::thread::park();
    }
}
