//! A cluster with the chart in it, and people who use it.

use std::time::Duration;

use harness::{
    Cluster, Finished, Requirement, Right, SharedCluster, Version, assert_doctor, may_skip,
};

/// A right is known to every reader within a second, and agents come to new gateways within ten.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The cluster with these values, for one test at a time; none where it has to be left out.
pub(crate) fn installed(values: &[&str]) -> Option<SharedCluster> {
    let needed = [Cluster::requirement(Version::chosen()), Cluster::installation_requirement()];
    if may_skip(Requirement::all(needed)) {
        return None;
    }
    let cluster = Cluster::alone();
    cluster.install(values);
    Some(cluster)
}

/// What a session in a pod of `namespace` under the profile `general` takes, first to last.
pub(crate) fn rights(namespace: &'static str) -> [Right; 4] {
    let namespace = Some(namespace);
    [
        Right::new(namespace, "nsdebug.dev", "pods/exec", "get"),
        Right::new(namespace, "nsdebug.dev", "pods/exec", "create"),
        Right::new(namespace, "nsdebug.dev", "profiles", "use").named("general"),
        Right::new(namespace, "", "pods/exec", "create"),
    ]
}

/// Fails unless nsdebug itself refused, in these words, and `doctor` says the same.
#[track_caller]
pub(crate) fn assert_refused(finished: &Finished, said: &str) {
    assert_eq!(finished.code(), 125, "{finished}");
    assert!(finished.err().contains(said), "{said} in {finished}");
    assert_doctor(finished);
}
