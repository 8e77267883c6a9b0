//! Which namespaces a tool is in: those that it was sent to, and for each other kind one that nobody else is in.

use harness::{Finished, PodSpec, may_skip, run};

use crate::stage::Stage;

/// Those that `--namespaces` takes, and the one that every session has.
const KINDS: [&str; 6] = ["cgroup", "ipc", "net", "pid", "time", "uts"];
const ALL: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "uts"];

/// Every list of kinds that can be asked for, and none at all.
fn subsets() -> Vec<Vec<&'static str>> {
    let chosen = |mask: u32| (0..6).filter(move |bit| mask >> bit & 1 == 1).map(|bit| KINDS[bit]);
    (0..1 << KINDS.len()).map(|mask| chosen(mask).collect()).collect()
}

fn namespace(pid: &str, kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    link.display().to_string()
}

/// The namespaces that a tool says it is in.
fn said(finished: &Finished) -> Vec<String> {
    let lines: Vec<_> = finished.out().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), ALL.len(), "{finished}");
    lines
}

fn words() -> Vec<String> {
    let links = ALL.map(|kind| format!("/proc/self/ns/{kind}"));
    ["readlink".to_owned()].into_iter().chain(links).collect()
}

/// Checks that a tool is where it was sent to, and nowhere where this process is.
fn assert_apart(seen: &[String], target: &str, joined: impl Fn(&str) -> bool, what: &str) {
    for (kind, seen) in ALL.iter().zip(seen) {
        let (ours, theirs) = (namespace("self", kind), namespace(target, kind));
        assert_ne!(*seen, ours, "{what}: the {kind} namespace is the agent's");
        if joined(kind) && ours != theirs {
            assert_eq!(*seen, theirs, "{what}: the {kind} namespace is not the target's");
        } else {
            assert_ne!(*seen, theirs, "{what}: the {kind} namespace is the target's");
        }
    }
}

#[test]
fn no_kind_is_the_agents_whatever_is_joined() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    let (pid, words) = (site.pid().to_string(), words());
    for profile in ["restricted", "netadmin", "sysadmin"] {
        for kinds in subsets() {
            let list = kinds.join(",");
            let mut options = vec!["--profile", profile];
            if !kinds.is_empty() {
                options.extend(["--namespaces", &list]);
            }
            let seen = said(&run(stage.exec(&site, &options).arg("--").args(&words)));
            let joined = |kind: &str| kinds.is_empty() || kinds.contains(&kind);
            let joined = |kind: &str| kind != "mnt" && joined(kind);
            assert_apart(&seen, &pid, joined, &format!("{profile}, {list}"));
        }
    }
}

#[test]
fn what_is_not_joined_is_empty() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    let options = ["--profile", "netadmin", "--namespaces", "pid"];
    let tool = |script: &str| {
        let said = run(stage.exec(&site, &options).args(["--", "sh", "-c", script]));
        said.expect_success().out()
    };
    assert_eq!(tool("ls /sys/class/net; ip -o link | wc -l"), "lo\n1\n");
    assert_eq!(tool("cat /proc/self/cgroup | cut -d: -f3 | sort -u"), "/\n");
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = tool("hostname; cat /etc/hostname");
    assert_eq!(name, "localhost\nlocalhost\n", "and not {own}");
    let shared = ["--profile", "general", "--namespaces", "uts"];
    let said =
        run(stage.exec(&site, &shared).args(["--", "sh", "-c", "ls /proc | grep -c ^[0-9]"]));
    assert!(said.out().trim().parse::<u32>().is_ok_and(|count| count < 8), "{said}");
}

/// A pod none of whose containers runs has no pids and no groups to join.
#[test]
fn beside_a_sandbox_that_stands_in_no_kind_is_the_agents() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let pods = stage.containerd.pods();
    let pod = pods.run(&PodSpec::new("shop", "crashing"));
    let crashed = pod.start("crash", &["exit", "3"]);
    let words = words();
    harness::until("the container to have crashed", std::time::Duration::from_secs(20), || {
        let mut exec = stage.exec_by(&["--pod", "shop/crashing", "-c", "crash"]);
        let said = run(exec.args(["--", "true"]));
        said.err().contains("of its pod")
    });
    let mut explain = stage.exec_by(&["--pod", "shop/crashing", "-c", "crash", "--explain"]);
    let plan = run(explain.args(["--", "true"])).expect_success().out();
    let sandbox = plan.split_whitespace().nth(2).expect("target process PID").to_owned();
    for kinds in subsets() {
        let list = kinds.join(",");
        let mut options = vec!["--pod", "shop/crashing", "-c", "crash"];
        if !kinds.is_empty() {
            options.extend(["--namespaces", &list]);
        }
        let seen = said(&run(stage.exec_by(&options).arg("--").args(&words)));
        let asked = |kind: &str| kinds.is_empty() || kinds.contains(&kind);
        let joined = |kind: &str| ["ipc", "net", "uts"].contains(&kind) && asked(kind);
        assert_apart(&seen, &sandbox, joined, &format!("sandbox of {crashed}, {list}"));
    }
}

/// Who may enter host targets is where the target is, as far as that was asked for and no further.
#[test]
fn a_host_target_is_shared_in_what_it_shares_and_what_was_asked_for() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site").host_network());
    let pid = site.pid().to_string();
    let words = words();
    for (list, net, pids) in [("net,pid", true, true), ("pid", false, true), ("net", true, false)] {
        let options = ["--allow-host-targets", "--namespaces", list];
        let seen = said(&run(stage.exec(&site, &options).arg("--").args(&words)));
        for (kind, seen) in ALL.iter().zip(&seen) {
            let stays = *kind == "net" && net;
            assert_eq!(*seen == namespace("self", kind), stays, "{list}: {kind} {seen}");
        }
        assert_eq!(seen[4] == namespace(&pid, "pid"), pids, "{list}");
    }
}
