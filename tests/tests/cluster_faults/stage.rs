//! A cluster with the chart in it, a session that lasts, and what may be left of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{
    Cluster, Finished, Requirement, Running, SharedCluster, Version, control_groups, may_skip, run,
    until,
};

/// Agents look for gateways every five seconds, and the API server for what it proxies to every few.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Sessions are to be ended within the test's patience.
const GRACE: [&str; 3] =
    ["gateway.leaveSeconds=2", "gateway.graceSeconds=1", "agent.graceSeconds=1"];

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

/// Whether a session can be had now.
fn session(cluster: &Cluster) -> Finished {
    cluster.nsdebug(&["-n", "vault", "pod/keeper", "--", "true"])
}

/// Wait for a session, without doing anything for it.
pub(crate) fn serves(cluster: &Cluster) {
    until("a session", SOON, || session(cluster).status.success());
}

/// A session that says `ready`, says what it hears, and goes on until it is ended.
pub(crate) struct Lasting<'c> {
    cluster: &'c Cluster,
    running: Running,
    /// In the arguments of its tool, and of nobody else's.
    mark: String,
    /// The control groups that an idle agent keeps for sessions to come.
    idle: usize,
}

impl<'c> Lasting<'c> {
    pub(crate) fn start(cluster: &'c Cluster) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("lasting-{}-{count}", std::process::id());
        let idle = of_sessions(cluster).len();
        let echo = "echo ready; while read line; do echo \"$line\"; done";
        let words = ["-n", "shop", "-i", "pod/api", "--", "sh", "-c", echo, &mark];
        let running = Running::start(cluster.plugin().args(words));
        running.wait_for_stdout("ready\n");
        // The client that names it, and the tool.
        assert!(named(&mark) > 1 && !of_sessions(cluster).is_empty(), "the test looks elsewhere");
        Self { cluster, running, mark, idle }
    }

    /// Fails unless the session still carries what is said.
    pub(crate) fn assert_goes_on(mut self) {
        assert!(self.running.write(b"still here\n"), "{}", self.running.stderr());
        self.running.wait_for_stdout("still here\n");
        let Self { cluster, running, mark, idle } = self;
        running.finish().expect_success();
        nothing_is_left(cluster, &mark, idle);
    }

    /// Fails unless the session ends by itself, says why, does not pass for complete, and leaves nothing.
    pub(crate) fn assert_ends(self, why: &str) {
        let Self { cluster, running, mark, idle } = self;
        until("the session to end", SOON, || running.has_ended());
        let ended = running.finish().expect_code(125);
        assert!(ended.err().contains(why), "{why} in {ended}");
        nothing_is_left(cluster, &mark, idle);
    }
}

fn nothing_is_left(cluster: &Cluster, mark: &str, idle: usize) {
    until("the tool to be gone", SOON, || named(mark) == 0);
    until("its control groups to be gone", SOON, || of_sessions(cluster).len() <= idle);
}

/// How many processes have `mark` among their arguments.
fn named(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("the machine's processes").flatten();
    let arguments = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let has_it = |arguments: &Vec<u8>| {
        arguments.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
    };
    arguments.filter(has_it).count()
}

/// The control groups on this cluster's node that sessions are in, or will be.
fn of_sessions(cluster: &Cluster) -> Vec<PathBuf> {
    let of_cluster = |group: &PathBuf| group.to_string_lossy().contains(&cluster.cgroup());
    let of_session =
        |group: &PathBuf| group.parent().is_some_and(|parent| parent.ends_with("nsdebug"));
    control_groups().into_iter().filter(of_cluster).filter(of_session).collect()
}
