//! Supervisors, agents and commands that are killed as nothing can be prepared for: what they started
//! is gone within five seconds, and so are its control groups.

use std::process::Command;

use harness::{QuietNode, Running, run, toolbox_tree, until};
use rustix::process::Signal;

use crate::stage::{GONE_LIMIT, Stage, groups_of, marked, with_stage};

/// Leaves a grandchild behind that hears no request to end, and stays.
const STUBBORN: &str = "\
trap '' TERM HUP; (setsid bash -c 'exec -a stubborn-7 sleep 1000' &) ; echo ready; sleep 1000";

#[test]
fn a_supervisor_that_is_killed_from_inside_takes_everything_along() {
    with_stage(|stage| {
        let victim = Running::start(&mut stage.session(STUBBORN));
        victim.wait_for_stdout("ready");
        until("the grandchild", GONE_LIMIT, || !marked(&stage.container, "stubborn-7").is_empty());
        // Root of the container could do the same: it is the same system call.
        let script = "kill -9 $(ps -o ppid= -p $(pgrep -f '[s]tubborn-7 1000'))";
        stage.run(script).expect_success();
        until("nothing to be left", GONE_LIMIT, || {
            marked(&stage.container, "stubborn-7").is_empty()
        });
        let finished = victim.finish_within(GONE_LIMIT).expect_code(137);
        assert!(finished.err().contains("killed from inside the target"), "{finished}");
        // The container reaps nobody: what counts the session's processes stays until it ends.
        until("the spare and a count to be there", GONE_LIMIT, || {
            groups_of(stage.agent.pid()).len() <= spare_groups() + 1
        });
        stage.assert_unharmed();
    });
}

/// How many hierarchies a session may be in: memory, pids, cpu, devices, and one to kill by.
fn spare_groups() -> usize {
    5
}

#[test]
fn a_new_agent_ends_what_the_last_one_left() {
    with_stage(|stage| {
        let victim = Running::start(&mut stage.session(STUBBORN));
        victim.wait_for_stdout("ready");
        until("the grandchild", GONE_LIMIT, || !marked(&stage.container, "stubborn-7").is_empty());
        // A supervisor that runs ends its tool when the agent dies. One that is stopped cannot.
        let script = "kill -STOP $(ps -o ppid= -p $(pgrep -f '[s]tubborn-7 1000'))";
        stage.run(script).expect_success();
        let last = stage.agent.pid();
        stage.replace_agent();
        until("nothing to be left", GONE_LIMIT, || {
            marked(&stage.container, "stubborn-7").is_empty() && groups_of(last).is_empty()
        });
        stage.assert_unharmed();
    });
}

/// There, numbers in the names of control groups are other processes'.
fn in_another_pid_namespace(command: &Command) -> Command {
    let mut there = Command::new("unshare");
    there.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    there.arg(command.get_program()).args(command.get_args());
    there
}

#[test]
fn what_runs_in_another_pid_namespace_ends_no_session_of_this_one() {
    with_stage(|stage| {
        let session = Running::start(&mut stage.session("echo ready; sleep 1000"));
        session.wait_for_stdout("ready");
        let refused = run(&mut in_another_pid_namespace(&stage.serving()));
        assert!(refused.err().contains("not in the node's pid namespace"), "{refused}");
        assert_ne!(refused.code(), 0, "{refused}");
        let mut command = harness::agent();
        command.args(["exec", "--tools", "toolbox", "--toolbox"]).arg(toolbox_tree());
        command.args(["--pid", "1", "--allow-host-targets", "--", "true"]);
        run(&mut in_another_pid_namespace(&command)).expect_success();
        assert!(!session.has_ended(), "{}", session.stderr());
        stage.assert_unharmed();
    });
}

#[test]
fn a_command_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove() {
    with_stage(|stage| {
        let victim = Running::start(&mut stage.local(STUBBORN));
        victim.wait_for_stdout("ready");
        let pid = victim.pid();
        assert!(!groups_of(pid).is_empty());
        victim.signal(Signal::KILL);
        until("the grandchild to be gone", GONE_LIMIT, || {
            marked(&stage.container, "stubborn-7").is_empty()
        });
        drop(victim);
        run(&mut stage.local("true")).expect_success();
        assert!(groups_of(pid).is_empty(), "{:?}", groups_of(pid));
    });
}

#[test]
fn nothing_is_left_when_all_is_over() {
    if harness::may_skip(harness::Requirement::root()) {
        return;
    }
    let node = QuietNode::wait();
    for version in harness::Version::ALL {
        if harness::may_skip(harness::Requirement::containerd(version)) {
            continue;
        }
        let scratch = harness::Scratch::on(&node);
        let containerd = harness::Containerd::start_in(scratch, version);
        let stage = Stage::set(&containerd);
        stage.run("echo one").expect_success();
        run(&mut stage.local("echo two")).expect_success();
        stage.end();
    }
    node.assert_untouched();
}
