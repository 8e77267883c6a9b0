//! Whom a session can enter: pods, processes, and targets that share one namespace or another with the node.

use std::collections::BTreeSet;
use std::process::Command;

use harness::session_process::SUPERVISOR;
use harness::{IdMap, NamespaceMode, PodSpec, RunSpec, run};

use crate::stage::{Stage, namespace_of, namespace_of_node, session_of_pid};

/// Where everything is mounted, by the fifth word of a line of mountinfo.
fn mount_points(mountinfo: &str) -> Vec<&str> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).collect()
}

#[test]
fn a_container_of_a_pod_is_found_by_name_and_the_first_one_without() {
    let Some(stage) = Stage::shared() else { return };
    let pods = stage.containerd.pods();
    let pod = pods.run(&PodSpec::new("shop", "api"));
    let first = pod.start("web", &["serve"]);
    let second = pod.start("side", &["sleep", "600"]);
    let entered = |words: &[&str]| {
        let mut session = stage.exec(&["--pod", "shop/api"]);
        session.args(words).args(["--", "readlink", "/proc/self/ns/pid"]);
        run(&mut session).expect_success().out().trim().to_owned()
    };
    assert_eq!(entered(&[]), namespace_of(pod.pid(&first), "pid"));
    assert_eq!(entered(&["-c", "side"]), namespace_of(pod.pid(&second), "pid"));
    assert_eq!(entered(&["-c", "web"]), namespace_of(pod.pid(&first), "pid"));
    let by_id = run(&mut stage.session(&second[..12], &[], &["readlink", "/proc/self/ns/pid"]));
    assert_eq!(by_id.expect_success().out().trim(), namespace_of(pod.pid(&second), "pid"));
    let hostname = run(&mut stage.session(&first[..12], &[], &["hostname"])).expect_success();
    assert_eq!(hostname.out(), "api\n", "{hostname}");
}

#[test]
fn containers_that_share_the_processes_of_their_pod_are_seen_together() {
    let Some(stage) = Stage::shared() else { return };
    let pods = stage.containerd.pods();
    let pod = pods.run(&PodSpec::new("shop", "shared").processes(NamespaceMode::Pod));
    let _one = pod.start("one", &["sleep", "601"]);
    let two = pod.start("two", &["sleep", "602"]);
    let words = ["--pod", "shop/shared", "-c", "two", "--", "ps", "-e", "-o", "pid=,args="];
    let ps = run(&mut stage.exec(&words)).expect_success();
    for process in ["1 /target-app pause", "/target-app sleep 601", "/target-app sleep 602"] {
        assert!(ps.out().contains(process), "no {process}: {ps}");
    }
    assert_eq!(ps.out().lines().count(), 5, "those three and our own two: {ps}");
    // The target is not the namespace's first process: its end is not everybody's.
    pod.stop(&two);
    let words = ["--pod", "shop/shared", "-c", "one", "--", "ps", "-e"];
    assert_eq!(run(&mut stage.exec(&words)).expect_success().out().lines().count(), 5);
}

#[test]
fn a_target_on_the_nodes_network_sees_the_nodes_links() {
    let Some(stage) = Stage::shared() else { return };
    let spec = RunSpec::new("target-network").arguments(&["sleep", "600"]).host_network();
    let container = stage.containerd.run(&spec);
    let tool = |flags: &[&str], words: &[&str]| {
        run(&mut stage.session(container.id(), flags, words)).expect_success()
    };
    let net = tool(&[], &["readlink", "/proc/self/ns/net"]);
    assert_eq!(net.out().trim(), namespace_of_node("net"));
    let routes = run(Command::new("ip").args(["route", "show", "default"])).expect_success();
    assert_eq!(tool(&[], &["ip", "route", "show", "default"]).out(), routes.out());
    let processes = tool(&[], &["ps", "-e"]);
    assert_eq!(processes.out().lines().count(), 4, "its processes are its own: {processes}");
    let plan = tool(&["--explain", "--namespaces", "net,pid"], &["ps"]);
    assert!(plan.out().contains("not joined  net: the target shares"), "{plan}");
    assert!(plan.out().contains("join by one setns: pid"), "{plan}");
}

#[test]
fn a_target_with_the_nodes_processes_sees_the_node_and_nothing_is_mounted() {
    Stage::alone(|stage| {
        let spec = RunSpec::new("target-processes").arguments(&["sleep", "600"]).host_pid();
        let container = stage.containerd.run(&spec);
        let tool = |flags: &[&str], words: &[&str]| {
            run(&mut stage.session(container.id(), flags, words)).expect_success()
        };
        let first = std::fs::read_to_string("/proc/1/comm").expect("the node's first process");
        for flags in [&[][..], &["--namespaces", "pid"]] {
            let ps = tool(flags, &["ps", "-e", "-o", "pid=,comm="]);
            assert!(ps.out().contains("kthreadd"), "{ps}");
            assert!(ps.out().lines().any(|line| line.trim() == format!("1 {}", first.trim())));
            let mounts = tool(flags, &["cat", "/proc/self/mountinfo"]);
            let of_node = std::fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
            let (inside, outside) = (mounts.out(), mount_points(&of_node));
            let sorted = |points: Vec<&str>| {
                let mut points: Vec<_> = points.into_iter().map(str::to_owned).collect();
                points.sort();
                points
            };
            assert_eq!(sorted(mount_points(&inside)), sorted(outside), "with {flags:?}");
        }
        let plan = tool(&["--explain"], &["ps"]);
        assert!(plan.out().contains("keep the node's /proc"), "{plan}");
    });
}

#[test]
fn a_user_namespace_is_joined_only_when_asked_and_its_root_is_root() {
    let Some(stage) = Stage::shared() else { return };
    let map = IdMap { first_on_node: 200_000, count: 65_536 };
    let container = stage.containerd.run(&RunSpec::new("target-user").user_namespace(map));
    let tool = |flags: &[&str], words: &[&str]| {
        run(&mut stage.session(container.id(), flags, words)).expect_success()
    };
    let user = ["readlink", "/proc/self/ns/user"];
    assert_ne!(namespace_of(container.pid(), "user"), namespace_of_node("user"));
    assert_eq!(tool(&[], &user).out().trim(), namespace_of_node("user"));
    assert_eq!(tool(&["--join-user"], &user).out().trim(), namespace_of(container.pid(), "user"));
    let ids = "id -u; id -g; cat /proc/self/uid_map";
    let inside = tool(&["--join-user"], &["sh", "-c", ids]);
    let words: Vec<_> = inside.out().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", "0", "200000", "65536"], "{inside}");
    for flags in [&[][..], &["--join-user"]] {
        let ps = tool(flags, &["ps", "-e", "-o", "comm="]);
        let names: BTreeSet<_> = ps.out().lines().map(str::to_owned).collect();
        let expected = [SUPERVISOR, "ps", "target-app"].map(str::to_owned);
        assert_eq!(names, expected.into(), "with {flags:?}: {ps}");
        let ip = tool(flags, &["ip", "-oneline", "link"]);
        assert_eq!(ip.out().lines().count(), 1, "with {flags:?}: {ip}");
    }
}

#[test]
fn a_target_without_a_user_namespace_of_its_own_has_none_to_join() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("target-no-user"));
    let refused = run(&mut stage.session(container.id(), &["--join-user"], &["id"]));
    let refused = refused.expect_code(125);
    let reason = "(target-app) has no user namespace of its own to join";
    assert!(refused.err().contains(reason), "{refused}");
}

#[test]
fn a_process_is_entered_whatever_started_it() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("target-process"));
    let ps = run(&mut session_of_pid(container.pid(), &[], &["ps", "-e"])).expect_success();
    assert!(ps.out().contains("target-app") && !ps.out().contains("kthreadd"), "{ps}");
}
