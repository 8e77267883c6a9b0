//! What a session leaves behind, however it ends: nothing, neither on the node nor in the container.

use std::collections::BTreeSet;
use std::path::Path;

use harness::session_process::SUPERVISOR;
use harness::{Container, NodeSnapshot, RunSpec, Running, run};
use rustix::process::Signal;

use crate::stage::{
    PATIENCE, Stage, init_goes_at_once, marked, namespace_of, namespace_of_node, session_of_pid,
    settles,
};

/// Two daemons, by two ways to become one; then the words of the caller.
const DAEMONS: &str = "setsid sh -c 'sleep 86411 & sleep 86412' & (sh -c 'sleep 86413 &' &); \
                       until pgrep -f 86412 && pgrep -f 86413; do :; done >/dev/null; ";

/// A session in `container` whose tool is a shell, once that says `ready`.
fn ready(stage: &Stage, container: &Container<'_>, flags: &[&str], script: &str) -> Running {
    let running = Running::start(&mut stage.session(container.id(), flags, &["sh", "-c", script]));
    running.wait_for_stdout("ready");
    running
}

#[test]
fn the_nodes_mounts_are_the_same_before_during_and_after() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-mounts"));
        let before = NodeSnapshot::take();
        let of_container = || {
            let path = format!("/proc/{}/mountinfo", container.pid());
            std::fs::read_to_string(path).expect("the container runs")
        };
        let mounts_of_container = of_container();
        let script = "mount -t tmpfs hidden /mnt && touch /mnt/file && cat /proc/self/mountinfo; \
                      echo ready; read answer; umount /mnt";
        let session = ready(stage, &container, &["-i"], script);
        let during = NodeSnapshot::take();
        assert_eq!(during.mounts(), before.mounts(), "the node's mounts, byte for byte");
        assert_eq!(of_container(), mounts_of_container, "the container's mounts");
        assert!(!Path::new("/mnt/file").exists(), "the tool's mount is seen on the node");
        let touched = |line: &&String| line.starts_with("/proc/1") || line.starts_with("mount");
        let differences = before.differences(&during);
        assert_eq!(differences.iter().find(touched), None, "{differences:?}");
        let inside = session.finish().expect_success();
        assert!(inside.out().contains(" - tmpfs hidden "), "it has no mount: {inside}");
        let shared = inside
            .out()
            .lines()
            .find(|l| l.contains(" shared:") || l.contains(" master:"))
            .map(str::to_owned);
        assert_eq!(shared, None, "a mount that is not private: {inside}");
        assert_eq!(NodeSnapshot::take().mounts(), before.mounts());
        before.assert_untouched();
    });
}

#[test]
fn daemons_that_a_tool_leaves_behind_end_with_it() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-daemons"));
        let before = NodeSnapshot::take();
        for flags in [&[][..], &["--namespaces", "net"], &["--namespaces", "pid"]] {
            let script = format!("{DAEMONS} exit 7");
            run(&mut stage.session(container.id(), flags, &["sh", "-c", &script])).expect_code(7);
            // Nothing is waited for: they are gone when the command is.
            assert_eq!(container.processes().len(), 1, "with {flags:?}");
            assert_eq!(marked("sleep 8641"), [""; 0], "with {flags:?}");
        }
        before.assert_untouched();
        init_goes_at_once(&container);
    });
}

#[test]
fn a_killed_command_takes_its_session_along() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-killed"));
        let before = NodeSnapshot::take();
        let scripts = ["echo ready; sleep 86414", &format!("{DAEMONS} echo ready; sleep 86415")];
        for (flags, script) in [&[][..], &["--namespaces", "net"]].into_iter().zip(scripts) {
            let session = ready(stage, &container, flags, script);
            session.signal(Signal::KILL);
            session.finish().expect_code(137);
            settles(&container, 1);
            harness::until("the tool to be gone", PATIENCE, || marked("sleep 8641").is_empty());
        }
        before.assert_untouched();
        init_goes_at_once(&container);
    });
}

#[test]
fn a_tool_that_ignores_every_request_to_end_is_killed() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-stubborn"));
        let before = NodeSnapshot::take();
        let script =
            format!("trap '' TERM HUP INT; {DAEMONS} echo ready; while :; do sleep 1; done");
        let session = ready(stage, &container, &[], &script);
        session.signal(Signal::TERM);
        assert!(!session.has_ended(), "the signal is the tool's, and it does not care");
        session.signal(Signal::KILL);
        session.finish().expect_code(137);
        settles(&container, 1);
        before.assert_untouched();
        init_goes_at_once(&container);
    });
}

#[test]
fn a_container_that_is_killed_during_a_session_goes_at_once_and_says_so() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-target"));
        let script = format!("trap '' TERM HUP; {DAEMONS} echo ready; sleep 86416");
        let session = ready(stage, &container, &[], &script);
        init_goes_at_once(&container);
        let ended = session.finish().expect_code(137);
        assert!(ended.err().contains("the target exited"), "{ended}");
        assert_eq!(marked("sleep 8641"), [""; 0]);
    });
}

#[test]
fn a_session_in_the_network_alone_ends_with_the_target_too() {
    Stage::alone(|stage| {
        for script in [
            "echo ready; sleep 86417",
            "trap 'exit 0' TERM HUP; echo ready; while :; do sleep 0.01; done",
        ] {
            let container = stage.containerd.run(&RunSpec::new(&format!("net-{}", script.len())));
            let session = ready(stage, &container, &["--namespaces", "net"], script);
            init_goes_at_once(&container);
            let ended = session.finish().expect_code(137);
            assert!(ended.err().contains("the target exited"), "{ended}");
        }
        assert_eq!(marked("sleep 8641"), [""; 0]);
    });
}

#[test]
fn a_supervisor_that_is_killed_from_inside_ends_its_session_with_the_reason() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-inside"));
        let session = ready(stage, &container, &[], "echo ready; exec sleep 86418");
        // As root of the container would: by the number that the supervisor has in there.
        let kill = format!("kill -9 $(pgrep -x {SUPERVISOR} | grep -vx $PPID)");
        let flags = ["--namespaces", "pid"];
        run(&mut stage.session(container.id(), &flags, &["sh", "-c", &kill])).expect_success();
        let ended = session.finish().expect_code(137);
        assert!(ended.err().contains("the session was killed from inside the target"), "{ended}");
        // A tool that kills the one process that reaps in there leaves a zombie, until its own init reaps or goes.
        harness::until("the tool to be gone", PATIENCE, || marked("sleep 8641").is_empty());
        init_goes_at_once(&container);
    });
}

#[test]
fn two_hundred_sessions_one_after_the_other_leave_nothing() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-many"));
        let before = NodeSnapshot::take();
        for round in 0..200 {
            let tool = ["sh", "-c", "echo $$; sleep 86419 &"];
            let done = run(&mut session_of_pid(container.pid(), &[], &tool)).expect_success();
            assert!(!done.out().is_empty(), "round {round}: {done}");
        }
        assert_eq!(container.processes(), BTreeSet::from([container.pid()]));
        assert_eq!(marked("sleep 8641"), [""; 0]);
        before.assert_untouched();
        init_goes_at_once(&container);
    });
}

#[test]
fn a_session_that_was_refused_half_way_leaves_nothing() {
    Stage::alone(|stage| {
        let container = stage.containerd.run(&RunSpec::new("tidy-refused"));
        let before = NodeSnapshot::take();
        for tool in ["no-such-tool", "/etc", "/etc/passwd"] {
            let refused = run(&mut stage.session(container.id(), &[], &[tool]));
            assert_ne!(refused.code(), 0, "{refused}");
            assert_eq!(container.processes().len(), 1, "{refused}");
        }
        assert_ne!(namespace_of(container.pid(), "mnt"), namespace_of_node("mnt"));
        before.assert_untouched();
    });
}
