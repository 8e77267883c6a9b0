//! Every runbook of `docs/runbooks`, followed to the letter: its commands are run as they stand there, against pods that
//! are broken in the way it is about, and their answers hold what it says to look for.

mod document;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use document::steps;
use harness::{Cluster, Running, SharedCluster, run, until};

/// The longest command waits for a container that is started again, after 40 seconds at most.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// Of a pod to start, or to fail for the first time.
const STAGE_LIMIT: Duration = Duration::from_secs(60);
/// What an engineer reads at three in the morning.
const LONGEST: usize = 60;

const RUNBOOKS: [&str; 6] =
    ["capture.md", "cpu.md", "crash-loop.md", "descriptors.md", "dns.md", "resets.md"];

fn folder() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    repository.join("docs/runbooks")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).expect("the runbook is there")
}

/// Break pods in each way that a runbook is about.
fn break_pods(cluster: &Cluster) {
    cluster.apply(include_str!("../../cluster/workloads/broken.yaml"));
    let ready = ["wait", "-n", "shop", "--for=condition=Ready", "--timeout=60s"];
    let pods = ["cart", "orders-0", "checkout", "report", "feed"].map(|pod| format!("pod/{pod}"));
    run(cluster.command("kubectl").args(ready).args(pods)).expect_success();
}

/// As a user finds a crash loop, but early: what has crashed often is hardly ever started again.
fn crash_again(cluster: &Cluster) {
    let delete = ["delete", "pod", "-n", "shop", "mail", "--timeout=60s"];
    cluster.kubectl(&delete).expect_success();
    break_pods(cluster);
    let waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    until("a crash loop", STAGE_LIMIT, || {
        let reason = cluster.kubectl(&["get", "pod", "-n", "shop", "mail", "-o", waiting]);
        reason.out() == "CrashLoopBackOff"
    });
}

/// By the first runbook that is followed.
static BROKEN: OnceLock<()> = OnceLock::new();

fn cluster_with_broken_pods() -> Option<SharedCluster> {
    let cluster = Cluster::with_nsdebug()?;
    BROKEN.get_or_init(|| break_pods(&cluster));
    Some(cluster)
}

fn follow(runbook: &str) {
    if let Some(cluster) = cluster_with_broken_pods() {
        follow_on(&cluster, runbook);
    }
}

fn follow_on(cluster: &Cluster, runbook: &str) {
    let desk = tempfile::tempdir().expect("a temporary folder");
    let steps = steps(&text(runbook));
    assert!(!steps.is_empty(), "{runbook} has no command");
    for step in steps {
        let mut shell = cluster.command("sh");
        shell.args(["-ec", &step.script]).current_dir(desk.path());
        let finished = Running::start(&mut shell).finish_within(COMMAND_LIMIT);
        let finished = finished.expect_code(step.code);
        let missing = step.missing(&[finished.out(), finished.err()].join("\n"));
        assert!(missing.is_empty(), "{runbook} says {missing:?}, but {finished}");
    }
}

#[test]
fn names() {
    follow("dns.md");
}

#[test]
fn resets() {
    follow("resets.md");
}

#[test]
fn cpu() {
    follow("cpu.md");
}

#[test]
fn descriptors() {
    follow("descriptors.md");
}

#[test]
fn crash_loop() {
    let Some(cluster) = cluster_with_broken_pods() else { return };
    crash_again(&cluster);
    follow_on(&cluster, "crash-loop.md");
}

#[test]
fn capture() {
    follow("capture.md");
}

#[test]
fn every_runbook_is_short_followed_here_and_in_the_index() {
    let files = std::fs::read_dir(folder()).expect("the folder is there").flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name != "README.md").collect();
    names.sort();
    assert_eq!(names, RUNBOOKS);
    let index = text("README.md");
    for name in RUNBOOKS {
        let lines = text(name).lines().count();
        assert!(lines <= LONGEST, "{name} has {lines} lines");
        assert!(index.contains(&format!("({name})")), "{name} is not in the index");
    }
}
