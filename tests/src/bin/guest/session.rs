//! Sessions as a user starts them: `nsdebug-agent exec` over there.

use std::process::Command;
use std::time::Duration;

use harness::{Finished, Running, agent, run, until};

use crate::container::GuestContainer;
use crate::toolbox::TREE;

/// This very program.
pub(crate) const GUEST: &str = "/bin/guest";

/// What strace says once it traces the first process.
const ATTACHED: &str = "Process 1 attached";
const LIMIT: Duration = Duration::from_secs(30);

/// With the node's own tools.
pub(crate) fn host(container: &GuestContainer, command: &[&str]) -> Command {
    exec(container, &["--tools", "host"], command)
}

/// With the toolbox, under a profile.
pub(crate) fn boxed(container: &GuestContainer, profile: &str, command: &[&str]) -> Command {
    boxed_with(container, profile, &[], command)
}

/// As [`boxed`], with more options of the agent's.
pub(crate) fn boxed_with(
    container: &GuestContainer,
    profile: &str,
    more: &[&str],
    command: &[&str],
) -> Command {
    let options = ["--tools", "toolbox", "--toolbox", TREE, "--profile", profile];
    exec(container, &[&options, more].concat(), command)
}

fn exec(container: &GuestContainer, options: &[&str], command: &[&str]) -> Command {
    let mut agent = agent();
    agent.args(["exec", "--pid"]).arg(container.pid().to_string()).args(options);
    agent.arg("--").args(command);
    agent
}

/// What a session of the toolbox says, which has to succeed.
pub(crate) fn said(container: &GuestContainer, profile: &str, command: &[&str]) -> String {
    run(&mut boxed(container, profile, command)).expect_success().out()
}

/// Traces the container's first process from inside a session: until it is attached, or says that it cannot.
pub(crate) fn trace_first(container: &GuestContainer, profile: &str, more: &[&str]) -> Finished {
    let strace = &["strace", "-p", "1"];
    let strace = Running::start(&mut boxed_with(container, profile, more, strace));
    until("strace to be attached or to end", LIMIT, || {
        strace.has_ended() || strace.stderr().contains(ATTACHED)
    });
    if strace.stderr().contains(ATTACHED) {
        strace.signal(rustix::process::Signal::INT);
    }
    strace.finish()
}

/// Whether strace was attached; how it ended is a matter of the signal that ended it.
pub(crate) fn attached(done: &Finished) -> bool {
    done.err().contains(ATTACHED)
}
