//! A cluster with the chart in it, a session that lasts, and what may be left of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{
    Cluster, Finished, RELEASE, Requirement, Running, SharedCluster, Version, control_groups,
    may_skip, until,
};

/// Agents look for gateways every five seconds, and the API server for what it proxies to every few.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Sessions are to be ended within the test's patience.
pub(crate) const GRACE: [&str; 3] =
    ["gateway.leaveSeconds=2", "gateway.graceSeconds=1", "agent.graceSeconds=1"];

pub(crate) const GATEWAYS: [&str; 3] = ["-n", RELEASE, "deployment/nsdebug-gateway"];

/// The cluster for one test at a time, with what was broken before in order again.
pub(crate) fn installed() -> Option<SharedCluster> {
    let needed = [Cluster::requirement(Version::chosen()), Cluster::installation_requirement()];
    if may_skip(Requirement::all(needed)) {
        return None;
    }
    let cluster = Cluster::alone();
    cluster.install(&GRACE);
    serves(&cluster);
    Some(cluster)
}

pub(crate) fn pods(cluster: &Cluster, component: &str) -> Vec<String> {
    let selector = format!("app.kubernetes.io/component={component}");
    let list = ["get", "pods", "-n", RELEASE, "-l", &selector, "-o", "name"];
    cluster.kubectl(&list).expect_success().out().lines().map(str::to_owned).collect()
}

/// Whether a session can be had now.
pub(crate) fn session(cluster: &Cluster) -> Finished {
    cluster.nsdebug(&["-n", "vault", "pod/keeper", "--", "true"])
}

/// Wait for a session, without doing anything for it.
pub(crate) fn serves(cluster: &Cluster) {
    until("a session", SOON, || session(cluster).status.success());
}

/// A session that says `ready`, says what it hears, and goes on until it is ended.
pub(crate) struct Lasting {
    running: Running,
    /// In the arguments of its tool, and of nobody else's.
    mark: String,
    /// What its control group is called, in every hierarchy.
    group: String,
}

impl Lasting {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("lasting-{}-{count}", std::process::id());
        let echo = "echo ready; while read line; do echo \"$line\"; done";
        let words = ["-n", "shop", "-i", "pod/api", "--", "sh", "-c", echo, &mark];
        let running = Running::start(cluster.plugin().args(words));
        running.wait_for_stdout("ready\n");
        let group = named(&mark).iter().find_map(|pid| session_group(*pid)).expect("its tool");
        assert!(!groups_called(&group).is_empty(), "the test looks elsewhere");
        Self { running, mark, group }
    }

    /// Fails unless the session still carries what is said.
    pub(crate) fn assert_goes_on(mut self) {
        assert!(self.running.write(b"still here\n"), "{}", self.running.stderr());
        self.running.wait_for_stdout("still here\n");
        let Self { running, mark, group } = self;
        running.finish().expect_success();
        nothing_is_left(&mark, &group);
    }

    /// Fails unless the session ends by itself, says why, does not pass for complete, and leaves nothing.
    pub(crate) fn assert_ends(self, why: &str) {
        let Self { running, mark, group } = self;
        until("the session to end", SOON, || running.has_ended());
        let ended = running.finish().expect_code(125);
        assert!(ended.err().contains(why), "{why} in {ended}");
        nothing_is_left(&mark, &group);
    }
}

fn nothing_is_left(mark: &str, group: &str) {
    until("the tool to be gone", SOON, || named(mark).is_empty());
    until("its control groups to be gone", SOON, || groups_called(group).is_empty());
}

/// The processes that have `mark` among their arguments.
fn named(mark: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("the machine's processes").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_it = |pid: &i32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
    };
    pids.filter(has_it).collect()
}

/// What the group of a session that process `pid` is in is called.
fn session_group(pid: i32) -> Option<String> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let (_, name) = groups.lines().find_map(|line| line.rsplit_once("/nsdebug/"))?;
    Some(name.to_owned())
}

fn groups_called(name: &str) -> Vec<PathBuf> {
    let mut groups = control_groups();
    groups.retain(|group| group.ends_with(Path::new("nsdebug").join(name)));
    groups
}
