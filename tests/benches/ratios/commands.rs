//! Whole commands, from the start of the process to its end, with nothing on their streams.

use std::process::{Command, Stdio};

use harness::{Agent, Container, Containerd, Listener};

use crate::table::{Reach, Row, pairs};

/// They take milliseconds each.
const PAIRS: usize = 60;
/// `ctr` takes a good deal longer.
const SLOW_PAIRS: usize = 25;

pub(crate) fn rows(containerd: &Containerd, web: &Container<'_>, agent: &Agent) -> Vec<Row> {
    let pid = web.pid();
    vec![
        against_pipeline("exec --pid, against unshare | nsenter | mount", 0.5, pid, || by_pid(pid)),
        against_nsenter(pid),
        against_pipeline("exec --container, against the same", 0.65, pid, || {
            let mut exec = harness::agent();
            exec.args(["exec", "--container", web.id(), "--containerd"]).arg(containerd.socket());
            exec.args(["--tools", "host", "--", "true"]);
            exec
        }),
        against_ctr(containerd, agent),
    ]
}

/// How it is done without nsdebug, `/proc` of the container and all.
fn pipeline(pid: u32) -> Command {
    let script =
        format!("nsenter -t {pid} -p -n -i -u sh -c \"mount -t proc proc /proc; exec true\"");
    let mut unshare = Command::new("unshare");
    unshare.args(["-fm", "sh", "-c", &script]);
    unshare
}

pub(crate) fn by_pid(pid: u32) -> Command {
    let mut exec = harness::agent();
    exec.args(["exec", "--pid", &pid.to_string(), "--tools", "host", "--", "true"]);
    exec
}

pub(crate) fn against_pipeline(
    measure: &str,
    reach: f64,
    pid: u32,
    ours: impl Fn() -> Command,
) -> Row {
    let pairs = pairs(PAIRS, || succeed(ours()), || succeed(pipeline(pid)));
    Row::of_times(measure, &pairs, Reach::AtMost(reach))
}

/// Which sees the node's `/proc`.
fn against_nsenter(pid: u32) -> Row {
    let nsenter = || {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &pid.to_string(), "-p", "-n", "-i", "-u", "true"]);
        nsenter
    };
    let pairs = pairs(PAIRS, || succeed(by_pid(pid)), || succeed(nsenter()));
    Row::of_times("the same, against nsenter, which does less", &pairs, Reach::AtMost(1.5))
}

/// The container's own program for both, as it has no other: it exits at once.
fn against_ctr(containerd: &Containerd, agent: &Agent) -> Row {
    let ours = || {
        let mut plugin = agent.plugin(Listener::Unix);
        plugin.args(["container/web-1", "--", "/proc/1/root/target-app", "exit", "0"]);
        succeed(plugin);
    };
    let mut round = 0;
    let theirs = || {
        round += 1;
        let mut ctr = containerd.ctr_command("default");
        let id = format!("round-{round}");
        ctr.args(["task", "exec", "--exec-id", &id, "web-1", "/target-app", "exit", "0"]);
        succeed(ctr);
    };
    let pairs = pairs(SLOW_PAIRS, ours, theirs);
    let measure = "plugin to tool by unix socket, against ctr task exec";
    Row::of_times(measure, &pairs, Reach::AtMost(0.15))
}

pub(crate) fn succeed(mut command: Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("the program starts");
    assert!(status.success(), "{status}: {command:?}");
}
