//! What a session in a toolbox costs more than one with the node's own tools, and what it costs after a quiet
//! moment, which is when people come.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use harness::{Container, Containerd, Running, agent, plugin, toolbox_tree};

use crate::commands::{against_pipeline, by_pid, succeed};
use crate::table::{Reach, Row, pairs, timed};

const PAIRS: usize = 60;
/// Longer than the kernel remembers the last move of a process into a control group.
const QUIET: Duration = Duration::from_millis(300);
const QUIET_PAIRS: usize = 25;

pub(crate) fn rows(containerd: &Containerd, web: &Container<'_>) -> Vec<Row> {
    let pid = web.pid();
    let sessions = pairs(PAIRS, || succeed(in_toolbox(pid)), || succeed(by_pid(pid)));
    vec![
        Row::of_times("in a toolbox, against the node's tools", &sessions, Reach::AtMost(1.6)),
        against_pipeline("in a toolbox, against the pipeline", 0.75, pid, || in_toolbox(pid)),
        after_quiet(containerd),
    ]
}

fn in_toolbox(pid: u32) -> Command {
    let mut exec = agent();
    exec.args(["exec", "--pid", &pid.to_string(), "--tools", "toolbox", "--toolbox"]);
    exec.arg(toolbox_tree()).args(["--", "true"]);
    exec
}

/// Through an agent, which is what people come to.
fn after_quiet(containerd: &Containerd) -> Row {
    let socket = containerd.path().join("confined.sock");
    let mut serve = agent();
    serve.args(["serve", "--toolbox"]).arg(toolbox_tree());
    serve.arg("--listen").arg(format!("unix:{}", socket.display()));
    let serving = Running::start(serve.arg("--containerd").arg(containerd.socket()));
    serving.wait_for_stderr("started");
    let mut session = || {
        let mut session = plugin();
        session.arg("--agent").arg(format!("unix:{}", socket.display()));
        session.args(["container/web-1", "--", "true"]);
        succeed(session);
    };
    session();
    let pairs: Vec<_> = (0..QUIET_PAIRS)
        .map(|_| {
            sleep(QUIET);
            let after_quiet = timed(&mut session);
            session();
            (after_quiet, timed(&mut session))
        })
        .collect();
    serving.signal(rustix::process::Signal::TERM);
    serving.finish_within(Duration::from_secs(10)).expect_success();
    Row::of_times("through serve after 300 ms, against in a row", &pairs, Reach::AtMost(1.5))
}
