//! nsdebug on the node of a real Kubernetes: it enters what kubelet and containerd made, answers as the pod would, and
//! the cluster never hears of it.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::session_process::SUPERVISOR_LINE;
use harness::{
    Cluster, Daemon, Finished, Process, SharedCluster, Version, may_skip, run, toolbox_tree, until,
    until_some,
};

/// A pod that crashes does so within seconds; an image is asked for twice before that has a name.
const STATE_LIMIT: Duration = Duration::from_secs(60);
const GREETING: &str = "hello from the container\n";

/// The cluster of all tests here; none where it has to be left out.
fn cluster() -> Option<SharedCluster> {
    (!may_skip(Cluster::requirement(Version::chosen()))).then(Cluster::shared)
}

/// The same for a test that changes something for a while, or looks for changes.
fn cluster_alone() -> Option<SharedCluster> {
    (!may_skip(Cluster::requirement(Version::chosen()))).then(Cluster::alone)
}

/// A tool of the node in a pod.
fn host_tool(cluster: &Cluster, pod: &str, command: &[&str]) -> Finished {
    let mut agent = cluster.command("nsdebug-agent");
    agent.args(["exec", "--pod", pod, "--"]).args(command);
    run(&mut agent)
}

/// A tool of the toolbox in a pod, through containerd's socket as this machine sees it.
fn toolbox_tool(cluster: &Cluster, pod: &str, command: &[&str]) -> Finished {
    let mut agent = cluster.command("nsdebug-agent");
    agent.args(["exec", "--pod", pod, "--containerd"]).arg(cluster.socket());
    agent.args(["--tools", "toolbox", "--toolbox"]).arg(toolbox_tree());
    run(agent.arg("--").args(command))
}

/// A field of an object, by its path.
fn field(cluster: &Cluster, namespace: &str, object: &str, path: &str) -> String {
    let path = format!("jsonpath={path}");
    cluster.kubectl(&["get", "-n", namespace, object, "-o", &path]).expect_success().out()
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The command lines that `ps` shows.
fn shown(finished: &Finished) -> Vec<String> {
    let text = finished.out();
    let commands = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().skip(7).collect::<Vec<_>>().join(" "));
    // The session itself is in there too: the tool, and who looks after it.
    let session =
        |command: &str| command.starts_with("ps ") || command.starts_with(SUPERVISOR_LINE);
    commands.filter(|command| !session(command)).collect()
}

#[test]
fn the_samples_are_in_the_states_they_stand_for() {
    let Some(cluster) = cluster() else { return };
    let cluster = &*cluster;
    let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
    assert_eq!(field(cluster, "", "node/n1", ready), "True");
    for (namespace, pod) in [
        ("shop", "pod/api"),
        ("vault", "pod/keeper"),
        ("odd", "pod/on-node-network"),
        ("kube-system", "pod/static-n1"),
    ] {
        until(pod, STATE_LIMIT, || field(cluster, namespace, pod, ready) == "True");
    }
    let waiting = "{.status.containerStatuses[0].state.waiting.reason}";
    for (pod, reason) in [
        ("pod/crashing", "CrashLoopBackOff"),
        ("pod/imageless", "ImagePullBackOff"),
        ("pod/preparing", "PodInitializing"),
    ] {
        until(reason, STATE_LIMIT, || field(cluster, "odd", pod, waiting) == reason);
    }
    let user = "{.status.containerStatuses[0].user.linux.uid}";
    assert!(["65532", ""].contains(&field(cluster, "vault", "pod/keeper", user).as_str()));
}

#[test]
fn services_and_headless_names_resolve_as_the_pod_would_see_them() {
    let Some(cluster) = cluster() else { return };
    let cluster = &*cluster;
    let name = |name: &str| {
        let dig = ["dig", "+short", &format!("{name}.shop.svc.cluster.local")];
        // The name server is not ready for a second after another test has had the kubelet restart.
        until_some(name, STATE_LIMIT, || {
            let answer = toolbox_tool(cluster, "shop/api", &dig);
            // `dig` says on stdout what it had to try again.
            let clean = answer.status.success() && !answer.out().contains(";;");
            clean.then(|| lines(&answer.out()))
        })
    };
    assert_eq!(name("web"), [field(cluster, "shop", "service/web", "{.spec.clusterIP}")]);
    let pods = ["get", "pods", "-n", "shop", "-l", "app=web", "-o"];
    let addresses = [&pods[..], &["jsonpath={.items[*].status.podIP}"]].concat();
    let addresses = lines(&cluster.kubectl(&addresses).expect_success().out());
    assert_eq!((name("web-pods"), addresses.len()), (addresses, 2));
    // By the short name, through the search list of the pod, and the Service's rules of the proxy.
    let curl =
        toolbox_tool(cluster, "shop/api", &["curl", "-s", "--max-time", "10", "http://web/"]);
    assert_eq!(curl.expect_success().out(), GREETING);
}

#[test]
fn ps_shows_the_pod_and_nothing_else() {
    let Some(cluster) = cluster() else { return };
    let cluster = &*cluster;
    // Where no other test has anything run: what it started may still be ending.
    let first = ["get", "pods", "-n", "shop", "-l", "app=web", "-o"];
    let first = [&first[..], &["jsonpath={.items[0].metadata.name}"]].concat();
    let web = format!("shop/{}", cluster.kubectl(&first).expect_success().out());
    let mut agent = cluster.command("nsdebug-agent");
    let ps = run(agent.args(["exec", "--pod", &web, "-c", "web", "--", "ps", "-ef"]));
    let ps = ps.expect_success();
    let expected = ["/target-app serve children=1", "/proc/self/exe sleep 86400"];
    assert_eq!(shown(&ps), expected, "{ps}");
    let keeper = toolbox_tool(cluster, "vault/keeper", &["ps", "-ef"]).expect_success();
    assert_eq!(shown(&keeper), ["/target-app serve"], "{keeper}");
}

#[test]
fn kubectl_reaches_the_container_too() {
    let Some(cluster) = cluster() else { return };
    let cluster = &*cluster;
    let exec = ["exec", "-n", "shop", "api", "--", "/target-app", "get", "127.0.0.1:8080"];
    assert_eq!(cluster.kubectl(&exec).expect_success().out(), GREETING);
    let none = cluster.kubectl(&["exec", "-n", "shop", "api", "--", "ps"]);
    assert_ne!(none.code(), 0, "the image has a ps: {none}");
}

#[test]
fn a_user_has_no_right_that_nobody_gave() {
    let Some(cluster) = cluster() else { return };
    let cluster = &*cluster;
    let nobody = cluster.user("nobody", "strangers");
    let nobody = nobody.to_str().expect("a plain path");
    let refused = cluster.kubectl(&["--kubeconfig", nobody, "get", "pods", "-n", "shop"]);
    assert!(refused.err().contains("User \"nobody\" cannot list resource"), "{refused}");
    assert!(cluster.audit_log().contains("\"username\":\"nobody\""));
}

/// Every object with its specification, and no status or heartbeat.
fn objects(cluster: &Cluster) -> BTreeSet<String> {
    let names = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]).expect_success();
    // Leases are renewed, events expire, endpoints and health come and go with the crashing pod.
    let passing = ["leases", "events", "endpoints", "endpointslices", "componentstatuses"];
    let names = names.out();
    let kinds = names.lines().filter(|name| {
        let kind = name.split('.').next().unwrap_or(name);
        !passing.contains(&kind)
    });
    let kinds = kinds.collect::<Vec<_>>().join(",");
    let fields = "K:.kind,NS:.metadata.namespace,N:.metadata.name,U:.metadata.uid,S:.spec";
    let get = ["get", &kinds, "-A", "--no-headers", "-o", &format!("custom-columns={fields}")];
    // Columns are as wide as their widest value.
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    cluster.kubectl(&get).expect_success().out().lines().map(squeeze).collect()
}

#[test]
fn the_cluster_does_not_hear_of_a_session() {
    let Some(cluster) = cluster_alone() else { return };
    let cluster = &*cluster;
    let before = objects(cluster);
    let asked = cluster.audit_log().lines().count();
    host_tool(cluster, "shop/api", &["true"]).expect_success();
    toolbox_tool(cluster, "vault/keeper", &["true"]).expect_success();
    let audit = cluster.audit_log();
    // Servers that speak to the API server all the time are not in this log.
    assert_eq!(audit.lines().skip(asked).collect::<Vec<_>>(), [""; 0]);
    let after = objects(cluster);
    assert_eq!(before.symmetric_difference(&after).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_node_whose_kubelet_is_gone_can_still_be_debugged() {
    let Some(cluster) = cluster_alone() else { return };
    let cluster = &*cluster;
    cluster.stop_daemon(Daemon::Kubelet);
    let (refused, entered) = (
        cluster.kubectl(&["exec", "-n", "shop", "api", "--", "/target-app", "exit", "0"]),
        toolbox_tool(cluster, "shop/api", &["ss", "-ltn"]),
    );
    cluster.start_daemon(Daemon::Kubelet);
    assert_ne!(refused.code(), 0, "{refused}");
    assert!(entered.expect_success().out().contains(":8080"));
    let exec = ["exec", "-n", "shop", "api", "--", "/target-app", "exit", "0"];
    until("the kubelet to serve again", STATE_LIMIT, || cluster.kubectl(&exec).code() == 0);
}

#[test]
fn a_pod_may_have_users_of_its_own_where_the_node_can() {
    let Some(cluster) = cluster_alone() else { return };
    let cluster = &*cluster;
    if may_skip_users(cluster) {
        return;
    }
    let map = std::fs::read_to_string(format!(
        "/proc/{}/uid_map",
        cluster.pid_of("odd", "own-users", None)
    ));
    let first = map.expect("it runs").split_whitespace().nth(1).map(str::to_owned);
    assert_ne!(first.as_deref(), Some("0"));
    let ps = toolbox_tool(cluster, "odd/own-users", &["ps", "-ef"]).expect_success();
    assert_eq!(shown(&ps), ["/target-app serve"], "{ps}");
}

/// The only sample that depends on the kernel's and the runtime's age: it may be left out in CI too.
#[expect(clippy::print_stderr, reason = "a test that did not run has to say so")]
fn may_skip_users(cluster: &Cluster) -> bool {
    cluster.kubectl(&["apply", "-f", &workload("users.yaml")]).expect_success();
    let state = until_some("the pod to run or be refused", STATE_LIMIT, || {
        if field(cluster, "odd", "pod/own-users", "{.status.phase}") == "Running" {
            return Some(String::new());
        }
        let events = ["events", "-n", "odd", "--for", "pod/own-users", "--types=Warning"];
        Some(cluster.kubectl(&events).expect_success().out()).filter(|text| text.contains("Failed"))
    });
    if !state.is_empty() {
        eprintln!("SKIPPED: no pod has users of its own here:\n{state}");
    }
    !state.is_empty()
}

fn workload(file: &str) -> String {
    format!("{}/cluster/workloads/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_server_runs_inside_and_is_found_by_its_namespaces() {
    let Some(cluster) = cluster() else { return };
    let cluster = &*cluster;
    let network = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("it runs");
    for daemon in [Daemon::Etcd, Daemon::ApiServer, Daemon::Containerd, Daemon::Proxy] {
        let process: Process = cluster.process_of(daemon).expect("it runs");
        assert_eq!(network(process.pid()), network(cluster.pid()), "{}", daemon.name());
    }
    assert_ne!(network(cluster.pid()), network(std::process::id()));
}
