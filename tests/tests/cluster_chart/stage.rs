//! A cluster with nsdebug in it, and what the tests ask of it.

use std::time::Duration;

use harness::{
    Answer, Client, Cluster, Finished, Heard, Requirement, SharedCluster, Version, may_skip,
};
use wire::ExecRequest;

/// Agents look for gateways every five seconds, and a name server remembers for as long.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The cluster, for one test at a time: each may change what is installed. None where it has to be left out.
pub(crate) fn cluster() -> Option<SharedCluster> {
    let needed = [Cluster::requirement(Version::chosen()), Cluster::installation_requirement()];
    (!may_skip(Requirement::all(needed))).then(Cluster::alone)
}

/// The same, with the chart installed as it is.
pub(crate) fn installed() -> Option<SharedCluster> {
    let cluster = cluster()?;
    cluster.install(&[]);
    Some(cluster)
}

/// Run a command in a pod to its end, as the cluster's administrator.
pub(crate) fn session(cluster: &Cluster, pod: &str, command: &[&str]) -> Result<Heard, Answer> {
    session_with(cluster, pod, "general", command)
}

/// The same, under any profile.
pub(crate) fn session_with(
    cluster: &Cluster,
    pod: &str,
    profile: &str,
    command: &[&str],
) -> Result<Heard, Answer> {
    let request = ExecRequest {
        command: command.iter().map(|word| word.as_bytes().to_vec()).collect(),
        stdout: true,
        stderr: true,
        profile: Some(profile.parse().expect("a profile")),
        ..ExecRequest::default()
    };
    let query = request.to_query().expect("a request that makes sense");
    cluster.session("admin", pod, &query).map(Client::finish)
}

/// What the command wrote; fails unless it ended with 0.
pub(crate) fn output(heard: &Result<Heard, Answer>) -> String {
    let heard = heard.as_ref().unwrap_or_else(|answer| panic!("refused: {answer:?}"));
    let status = heard.status.as_ref().unwrap_or_else(|| panic!("no status: {heard:?}"));
    assert_eq!(status["status"], "Success", "{heard:?}");
    String::from_utf8_lossy(&heard.stdout).into_owned()
}

/// A field of an object, by its path.
pub(crate) fn field(cluster: &Cluster, object: &[&str], path: &str) -> String {
    let path = format!("jsonpath={path}");
    let get = [&["get"], object, &["-o", &path]].concat();
    let got: Finished = cluster.kubectl(&get);
    got.expect_success().out()
}
