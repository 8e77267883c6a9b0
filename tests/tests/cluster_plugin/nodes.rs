//! `kubectl nsdebug node/NAME`: for whom a role allows it, where the chart's values allow it at all.

use std::time::Duration;

use harness::{Cluster, until};

use crate::assert_refused;

/// Agents come back to the gateways within seconds.
const LIMIT: Duration = Duration::from_secs(60);
const SESSION: [&str; 5] = ["node/n1", "--", "sh", "-c", "ps -e | grep -c kubelet"];

fn binding(role: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: erin-{role}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: erin}}]\n"
    )
}

#[test]
fn a_node_is_entered_where_role_and_value_both_allow_it() {
    if Cluster::with_nsdebug().is_none() {
        return;
    }
    let cluster = Cluster::alone();
    let erin = cluster.user("erin", "dev");
    cluster.apply(&binding("nsdebug-general"));
    let no_role = cluster.nsdebug_as(&erin, &SESSION);
    assert_refused(&no_role, "User \"erin\" cannot get resource \"nodes/exec\"");
    cluster.apply(&binding("nsdebug-nodes"));
    let no_value = cluster.nsdebug_as(&erin, &SESSION);
    assert_refused(&no_value, "runs without --allow-host-targets (chart: hostTargets)");
    cluster.install(&["hostTargets=true"]);
    until("the agent to be back", LIMIT, || {
        cluster.nsdebug(&["-n", "shop", "api", "--", "true"]).status.success()
    });
    let (allowed, admin) = (cluster.nsdebug_as(&erin, &SESSION), cluster.nsdebug(&SESSION));
    // The other tests are of a chart that is installed as it is.
    cluster.install(&[]);
    for session in [allowed, admin] {
        assert_ne!(session.expect_success().out().trim(), "0");
    }
    until("the agent to be back", LIMIT, || {
        cluster.nsdebug(&["-n", "shop", "api", "--", "true"]).status.success()
    });
}
