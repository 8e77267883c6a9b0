//! Much data: a gibibyte each way with its digest compared and the memory bounded, and short bursts that come whole.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::{
    Agent, Containerd, Listener, Process, Requirement, RunSpec, Serve, Version, memory, run, skip,
    until_some,
};

const GIBIBYTE: u64 = 1 << 30;
/// What agent and plugin may hold of a stream, however slow its reader is.
const MEMORY: u64 = 64 << 20;
/// A gibibyte through an unoptimised build on two busy cores, and the stall.
const LIMIT: Duration = Duration::from_secs(300);
/// The reader that stops in the middle, and takes the rest after that.
const STALLING_READER: &str = "{ head -c 67108864; sleep 30; cat; } | sha256sum";
const READER: &str = "sha256sum";

/// A shell's words for a gibibyte of bytes that look random and are the same every time.
fn source() -> String {
    let key = "00112233445566778899aabbccddeeff";
    format!(
        "head -c {GIBIBYTE} /dev/zero | openssl enc -aes-128-ctr -nosalt -K {key} -iv {key} 2>&1"
    )
}

fn digest_of_source() -> String {
    let script = format!("{} | sha256sum", source());
    run(Command::new("sh").args(["-c", &script])).expect_success().out()
}

fn lacks() -> bool {
    skip([Requirement::containerd(Version::chosen()), Requirement::program("openssl")])
}

/// An agent with the container `web-1` to enter.
fn with_agent(check: impl FnOnce(&Agent)) {
    let containerd = Containerd::start(Version::chosen());
    let _web = containerd.run(&RunSpec::new("web-1"));
    let agent = Serve::new().with_tls().start(&containerd);
    check(&agent);
}

/// Wait for the plugin's end: its exit code, and the most memory it had.
fn watch(plugin: &mut Child) -> (Option<i32>, u64) {
    let mut peak = 0;
    let pid = plugin.id();
    let status = until_some("the plugin to end", LIMIT, || {
        peak = memory(pid, "VmHWM").unwrap_or_default().max(peak);
        plugin.try_wait().expect("an own child can be waited for")
    });
    (status.code(), peak)
}

fn assert_bounded(agent: &Agent, before: u64, plugin: u64) {
    let agent = agent.peak().saturating_sub(before);
    assert!(agent < MEMORY, "the agent grew by {agent} bytes");
    assert!(plugin < MEMORY, "the plugin took {plugin} bytes");
}

/// A gibibyte from the tool; `while_it_runs` has the time that a slow reader takes.
fn download(agent: &Agent, listener: Listener, reader: &str, while_it_runs: impl FnOnce(&Child)) {
    let before = agent.resident();
    let mut plugin = agent.exec_over(listener, "web-1", &["sh", "-c", &source()]);
    let mut plugin = plugin.stdout(Stdio::piped()).spawn().expect("the plugin starts");
    let output = plugin.stdout.take().expect("stdout is a pipe");
    let mut sum = Command::new("sh");
    let sum = sum.args(["-c", reader]).stdin(output).stdout(Stdio::piped()).spawn();
    while_it_runs(&plugin);
    let (code, peak) = watch(&mut plugin);
    let sum = sum.and_then(Child::wait_with_output).expect("a shell runs");
    assert_eq!(code, Some(0), "exit code of the plugin");
    assert_eq!(String::from_utf8_lossy(&sum.stdout), digest_of_source());
    assert_bounded(agent, before, peak);
}

/// A gibibyte to the tool.
fn upload(agent: &Agent, listener: Listener) {
    let before = agent.resident();
    let mut data = Command::new("sh");
    let data = data.args(["-c", &source()]).stdout(Stdio::piped());
    let mut data = data.spawn().expect("a shell starts");
    let mut plugin = agent.plugin(listener);
    plugin.args(["-i", "container/web-1", "--", "sha256sum"]);
    plugin.stdin(data.stdout.take().expect("stdout is a pipe")).stdout(Stdio::piped());
    let mut plugin = plugin.spawn().expect("the plugin starts");
    let (code, peak) = watch(&mut plugin);
    data.wait().expect("an own child can be waited for");
    let sum = plugin.wait_with_output().expect("its output can be read");
    assert_eq!(code, Some(0), "exit code of the plugin");
    assert_eq!(String::from_utf8_lossy(&sum.stdout), digest_of_source());
    assert_bounded(agent, before, peak);
}

#[test]
fn a_gibibyte_comes_whole_over_the_unix_socket_to_a_reader_that_stalls() {
    if lacks() {
        return;
    }
    with_agent(|agent| {
        download(agent, Listener::Unix, STALLING_READER, |plugin| {
            // The reader has stalled when the agent's last byte is long sent: nobody uses the processor.
            Process::open(plugin.id()).expect("it runs").wait_until_idle(LIMIT);
            run(&mut agent.exec("web-1", &["true"])).expect_success();
        });
    });
}

#[test]
fn a_gibibyte_comes_whole_over_tls() {
    if lacks() {
        return;
    }
    with_agent(|agent| download(agent, Listener::Tls, READER, |_| {}));
}

#[test]
fn a_gibibyte_arrives_whole_over_the_unix_socket() {
    if lacks() {
        return;
    }
    with_agent(|agent| upload(agent, Listener::Unix));
}

#[test]
fn a_gibibyte_arrives_whole_over_tls() {
    if lacks() {
        return;
    }
    with_agent(|agent| upload(agent, Listener::Tls));
}

#[test]
fn none_of_200_bursts_is_short() {
    if lacks() {
        return;
    }
    let wanted: String = (1..=200_000).fold(String::new(), |text, n| text + &format!("{n}\n"));
    with_agent(|agent| {
        for round in 0..200 {
            let listener = Listener::ALL[round % 2];
            let mut seq = agent.exec_over(listener, "web-1", &["seq", "1", "200000"]);
            let done = run(&mut seq).expect_success();
            let (got, end) = (done.stdout.len(), done.err());
            assert!(done.stdout == wanted.as_bytes(), "round {round}: {got} bytes, {end}");
        }
    });
}
