//! What a tool sees: the target's processes, network, names and objects, and nothing of the node's.

use std::collections::BTreeSet;
use std::process::{Child, Command};

use harness::session_process::SUPERVISOR;
use harness::{
    Containerd, Neighbour, PodSpec, Requirement, RunSpec, Running, Version, may_skip, run, skip,
    until_some,
};

use crate::stage::{PATIENCE, Stage, namespace_of, namespace_of_node, session_of_pid};

const KINDS: [&str; 7] = ["cgroup", "ipc", "net", "pid", "time", "user", "uts"];

/// The last words of the lines below the one that begins with `PID`, sorted.
fn commands_listed(table: &str) -> Vec<String> {
    let lines = table.lines().map(str::trim).skip_while(|line| !line.starts_with("PID")).skip(1);
    let mut names: Vec<_> =
        lines.filter_map(|line| Some(line.split_whitespace().last()?.to_owned())).collect();
    names.sort();
    names
}

#[test]
fn ps_top_and_proc_list_the_targets_processes_and_our_own_two() {
    let Some(stage) = Stage::shared() else { return };
    let spec = RunSpec::new("seen-processes").arguments(&["serve", "children=2"]);
    let container = stage.containerd.run(&spec);
    assert_eq!(container.processes().len(), 3);
    let tool =
        |words: &[&str]| run(&mut stage.session(container.id(), &[], words)).expect_success();
    let ps = tool(&["ps", "-e"]);
    // The application starts its children by `/proc/self/exe`.
    let theirs = ["exe", "exe", SUPERVISOR];
    assert_eq!(commands_listed(&ps.out()), [&theirs[..], &["ps", "target-app"]].concat(), "{ps}");
    let top = tool(&["top", "-bn1"]);
    assert_eq!(
        commands_listed(&top.out()),
        [&theirs[..], &["target-app", "top"]].concat(),
        "{top}"
    );
    let listed = tool(&["ls", "/proc"]);
    let numbers = listed.out().lines().filter(|name| name.parse::<u32>().is_ok()).count();
    assert_eq!(numbers, 5, "{listed}");
    let first = tool(&["cat", "/proc/1/comm"]);
    assert_eq!(first.out(), "target-app\n", "{first}");
}

#[test]
fn ip_and_ss_see_the_containers_network() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("seen-network"));
    let neighbour = Neighbour::of(container.pid());
    let tool =
        |words: &[&str]| run(&mut stage.session(container.id(), &[], words)).expect_success();
    let addresses = tool(&["ip", "-4", "-oneline", "address"]);
    let links: BTreeSet<_> =
        addresses.out().lines().filter_map(|l| Some(l.split(' ').nth(1)?.to_owned())).collect();
    assert_eq!(links, ["eth0", "lo"].map(str::to_owned).into(), "{addresses}");
    assert!(addresses.out().contains(neighbour.container_address()), "{addresses}");
    let sockets = tool(&["ss", "-H", "-ltnp"]);
    assert_eq!(sockets.out().lines().count(), 1, "{sockets}");
    let whose = sockets.out().contains(":8080") && sockets.out().contains("\"target-app\",pid=1,");
    assert!(whose, "{sockets}");
}

#[test]
fn tcpdump_on_all_links_catches_a_request_to_the_container() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("seen-packets"));
    let neighbour = Neighbour::of(container.pid());
    let words = ["tcpdump", "-i", "any", "-n", "-c", "6", "tcp", "port", "8080"];
    let tcpdump = Running::start(&mut stage.session(container.id(), &[], &words));
    tcpdump.wait_for_stderr("listening on");
    neighbour.request("/");
    let caught = tcpdump.finish().expect_success();
    let from = format!("{}.", neighbour.address());
    for words in ["GET / HTTP/1.1", "HTTP/1.1 200 OK", &from] {
        assert!(caught.out().contains(words), "no {words:?}: {caught}");
    }
}

#[test]
fn hostname_and_ipcs_are_those_of_the_container() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("seen-names"));
    let target = container.pid().to_string();
    let name = "name-of-the-container";
    run(Command::new("nsenter").args(["--target", &target, "--uts", "hostname", name]))
        .expect_success();
    run(Command::new("nsenter").args(["--target", &target, "--ipc", "ipcmk", "-M", "40967"]))
        .expect_success();
    let tool = |flags: &[&str], words: &[&str]| {
        run(&mut stage.session(container.id(), flags, words)).expect_success().out()
    };
    assert_eq!(tool(&[], &["hostname"]), format!("{name}\n"));
    assert_ne!(tool(&["--namespaces", "ipc"], &["hostname"]), format!("{name}\n"));
    let objects = tool(&[], &["ipcs", "-m"]);
    assert_eq!(objects.matches("0x").count(), 1, "{objects}");
    assert!(objects.contains("40967"), "{objects}");
    let of_node = tool(&["--namespaces", "uts"], &["ipcs", "-m"]);
    assert!(!of_node.contains("40967"), "{of_node}");
}

/// The namespaces that a tool is in, asked of the tool.
fn namespaces_of_tool(pid: u32, flags: &[&str]) -> Vec<String> {
    let links = KINDS.map(|kind| format!("/proc/self/ns/{kind}"));
    let words: Vec<&str> =
        ["readlink"].into_iter().chain(links.iter().map(String::as_str)).collect();
    let done = run(&mut session_of_pid(pid, flags, &words)).expect_success();
    done.out().lines().map(str::to_owned).collect()
}

fn expect_joined(pid: u32, flags: &[&str], joined: impl Fn(&str) -> bool) {
    let expected = KINDS
        .map(|kind| if joined(kind) { namespace_of(pid, kind) } else { namespace_of_node(kind) });
    assert_eq!(namespaces_of_tool(pid, flags), expected, "with {flags:?}");
}

#[test]
fn the_tool_is_in_the_joined_namespaces_and_else_in_the_nodes() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("seen-kinds"));
    let pid = container.pid();
    let own: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| namespace_of(pid, kind) != namespace_of_node(kind))
        .collect();
    for kind in ["ipc", "net", "pid", "uts"] {
        assert!(own.contains(&kind), "the container has no {kind} of its own: {own:?}");
    }
    expect_joined(pid, &[], |kind| own.contains(&kind));
    expect_joined(pid, &["--namespaces", "net"], |kind| kind == "net");
    expect_joined(pid, &["--namespaces", "pid"], |kind| kind == "pid");
    expect_joined(pid, &["--namespaces", "pid,net"], |kind| ["pid", "net"].contains(&kind));
}

#[test]
fn every_kind_there_is_can_be_joined_at_once() {
    if skip([Requirement::root(), Requirement::program("unshare")]) {
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--uts", "--ipc", "--net", "--cgroup", "--time", "--pid", "--fork"]);
    let target = Forked::start(unshare.args(["--kill-child", "sleep", "600"]));
    expect_joined(target.pid, &[], |kind| kind != "user");
    let listed = run(&mut session_of_pid(target.pid, &[], &["ps", "-e"])).expect_success();
    assert_eq!(commands_listed(&listed.out()), [SUPERVISOR, "ps", "sleep"], "{listed}");
}

/// The only child of a program, which ends with it.
struct Forked {
    parent: Child,
    pid: u32,
}

impl Forked {
    fn start(command: &mut Command) -> Self {
        let parent = command.spawn().expect("the program starts");
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let pid = until_some("a child", PATIENCE, || {
            let pid = std::fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (name == "sleep\n").then_some(pid)
        });
        Self { parent, pid }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        self.parent.kill().expect("an own child can be killed");
        self.parent.wait().expect("an own child can be waited for");
    }
}

#[test]
fn one_kind_alone_leaves_the_rest_the_nodes() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("seen-alone"));
    let tool = |kinds: &str, words: &[&str]| {
        let flags = ["--namespaces", kinds];
        run(&mut stage.session(container.id(), &flags, words)).expect_success().out()
    };
    let links = |text: &str| text.lines().count();
    let of_node = links(&run(Command::new("ip").args(["-oneline", "link"])).out());
    assert_eq!(links(&tool("net", &["ip", "-oneline", "link"])), 1, "only its loopback");
    assert!(tool("net", &["ps", "-e"]).contains("kthreadd"), "the node's processes");
    let processes = tool("pid", &["ps", "-e"]);
    assert_eq!(commands_listed(&processes), [SUPERVISOR, "ps", "target-app"]);
    // Other tests of this program have wires, so their number changes; one is loopback alone.
    assert_eq!(links(&tool("pid", &["ip", "-oneline", "link"])) > 1, of_node > 1);
    let both = tool("pid,net", &["sh", "-c", "ps -e; ip -oneline link"]);
    assert!(!both.contains("kthreadd") && both.contains("target-app"), "{both}");
}

#[test]
fn explain_prints_the_plan_and_runs_nothing() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("seen-plan"));
    let marker = stage.file("explained");
    let flags = ["--explain", "--namespaces", "net,pid"];
    let plan = run(&mut stage.session(container.id(), &flags, &["touch", &marker]));
    let plan = plan.expect_success();
    let target = format!("process {} (target-app)", container.pid());
    let steps = [
        &target,
        "helper",
        "make every mount in it private",
        "join by one setns: net, pid",
        "supervisor",
        "mount the /proc",
        "exec touch",
    ];
    let mut rest = plan.out();
    for step in steps {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step:?} in its place: {plan}"));
        rest = rest.split_off(at + step.len());
    }
    assert!(!std::path::Path::new(&marker).exists(), "it ran the tool");
}

#[test]
fn the_newer_containerd_is_understood_too() {
    if may_skip(Requirement::containerd(Version::V2_2)) {
        return;
    }
    let stage = Stage { containerd: Containerd::start(Version::V2_2) };
    let container = stage.containerd.run(&RunSpec::new("seen-by-2.2").namespace("moby"));
    let ps = run(&mut stage.session("seen-by", &[], &["ps", "-e"])).expect_success();
    assert_eq!(commands_listed(&ps.out()), [SUPERVISOR, "ps", "target-app"], "{ps}");
    expect_joined(container.pid(), &[], |kind| {
        namespace_of(container.pid(), kind) != namespace_of_node(kind)
    });
    let pods = stage.containerd.pods();
    let pod = pods.run(&PodSpec::new("shop", "api"));
    let id = pod.start("web", &["serve"]);
    let words = ["--pod", "shop/api", "--", "readlink", "/proc/self/ns/net"];
    let net = run(&mut stage.exec(&words)).expect_success();
    assert_eq!(net.out().trim(), namespace_of(pod.pid(&id), "net"));
    container.stop();
    let refused = run(&mut stage.session("seen-by", &[], &["ps"])).expect_code(125);
    assert!(refused.err().contains("moby/seen-by-2.2 is stopped"), "{refused}");
}
