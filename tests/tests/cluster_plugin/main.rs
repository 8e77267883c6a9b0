//! `kubectl nsdebug` under the real kubectl, in a cluster with the chart installed: what a person types and gets.

mod many;
mod nodes;
mod streams;

use std::fs;

use harness::{Cluster, Finished, assert_doctor, run};

/// What carol may in the namespace `shop`, one rule of which a test leaves out.
const RIGHTS: [(&str, &str); 3] = [
    (
        "create pods.nsdebug.dev/exec",
        "{apiGroups: [nsdebug.dev], resources: [pods/exec], verbs: [get, create]}",
    ),
    (
        "use profiles.nsdebug.dev \"general\"",
        "{apiGroups: [nsdebug.dev], resources: [profiles], resourceNames: [general], verbs: [use]}",
    ),
    ("create pods/exec", "{apiGroups: [\"\"], resources: [pods/exec], verbs: [create]}"),
];

fn role(rules: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: carol, namespace: shop}}\nrules: [{rules}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: carol, namespace: shop}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: carol}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: carol}}]\n"
    )
}

#[track_caller]
pub(crate) fn assert_refused(finished: &Finished, said: &str) {
    assert_eq!(finished.status.code(), Some(125), "{finished}");
    assert!(finished.err().contains(said), "{said} in {finished}");
    assert_doctor(finished);
}

#[test]
fn every_kind_of_target_comes_to_a_pod_and_its_tool_s_exit_code() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let ps = cluster.nsdebug(&["-n", "shop", "pod/api", "--", "ps", "-ef"]).expect_success();
    assert!(ps.out().contains("/target-app serve children=2"), "{ps}");
    assert_eq!(ps.err(), "");
    let web = cluster.nsdebug(&["-n", "shop", "deploy/web", "--", "ps", "-ef"]).expect_success();
    assert!(web.out().contains("/target-app serve children=1\n"), "{web}");
    let set = ["get", "rs", "-n", "shop", "-l", "app=web", "-o", "name"];
    let set = cluster.kubectl(&set).expect_success().out();
    let set = set.trim().replace("replicaset.apps/", "rs/");
    for target in [&["deploy/web"][..], &[&set], &["svc/web"]] {
        let words = [&["-n", "shop"], target, &["--", "sh", "-c", "hostname; exit 3"]].concat();
        let finished = cluster.nsdebug(&words);
        assert_eq!(finished.status.code(), Some(3), "{finished}");
        assert!(finished.out().starts_with("web-"), "{finished}");
        assert_eq!(of_a_pod(&finished), "Defaulted container \"web\" out of: web, sidecar\n");
    }
    let all = ["-n", "shop", "-l", "app=web", "--", "sh", "-c", "hostname; exit 3"];
    let all = cluster.nsdebug(&all).expect_code(3);
    let is_named = |line: &str| line.split_once(": ").is_some_and(|(pod, name)| pod == name);
    assert!(all.out().lines().count() == 2 && all.out().lines().all(is_named), "{all}");
    let sidecar = ["-n", "shop", "deploy/web", "-c", "sidecar", "--", "ps", "-ef"];
    let sidecar = cluster.nsdebug(&sidecar).expect_success();
    assert!(sidecar.out().contains("port=8081"), "{sidecar}");
    assert_eq!(of_a_pod(&sidecar), "");
}

/// What is said besides the pod that was taken.
#[track_caller]
fn of_a_pod(finished: &Finished) -> String {
    let said = finished.err();
    let (pod, rest) = said.split_once('\n').expect("a line");
    assert!(pod.starts_with("using pod/web-"), "{finished}");
    rest.to_owned()
}

#[test]
fn what_kubectl_would_say_is_said() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let kubectl = cluster.kubectl(&["exec", "-n", "shop", "nobody", "--", "ps"]);
    let ours = cluster.nsdebug(&["-n", "shop", "nobody", "--", "ps"]);
    assert_refused(&ours, "pods \"nobody\" not found");
    assert_eq!(ours.err(), kubectl.err());
    let missing = ["-n", "shop", "deploy/nobody", "--", "ps"];
    let exec = [&["exec"], &missing[..]].concat();
    assert_eq!(cluster.nsdebug(&missing).err(), cluster.kubectl(&exec).err());
    for words in [&["--context", "none"][..], &["--user", "none"], &["--cluster", "none"]] {
        let kubectl = [words, &["exec", "-n", "shop", "api", "--", "true"]].concat();
        let ours = [words, &["-n", "shop", "api", "--", "true"]].concat();
        assert_eq!(cluster.nsdebug(&ours).err(), cluster.kubectl(&kubectl).err());
    }
    let tool = cluster.nsdebug(&["-n", "shop", "api", "--", "no-such-tool"]);
    assert_eq!(tool.status.code(), Some(127), "{tool}");
}

#[test]
fn each_right_that_is_missing_is_named_to_the_user_and_by_doctor() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let carol = cluster.user("carol", "dev");
    let session = ["-n", "shop", "pod/api", "--", "true"];
    for (left_out, (right, _)) in RIGHTS.iter().enumerate() {
        let rules = RIGHTS.iter().enumerate().filter(|(index, _)| *index != left_out);
        let rules: Vec<&str> = rules.map(|(_, (_, rule))| *rule).collect();
        cluster.apply(&role(&rules.join(", ")));
        let refused = cluster.nsdebug_as(&carol, &session);
        assert_refused(&refused, "Error from server (Forbidden): ");
        assert!(refused.err().contains("User \"carol\" cannot "), "{refused}");
        let doctor = ["-n", "shop", "doctor", "pod/api", "--profile", "general"];
        let doctor = cluster.nsdebug_as(&carol, &doctor).expect_code(1);
        assert!(doctor.out().contains(&format!("cannot {right}")), "{right} in {doctor}");
    }
    let all = RIGHTS.map(|(_, rule)| rule).join(", ");
    cluster.apply(&role(&all));
    cluster.nsdebug_as(&carol, &session).expect_success();
    let doctor = cluster.nsdebug_as(&carol, &["-n", "shop", "doctor", "pod/api"]).expect_success();
    assert!(doctor.out().contains("unknown     pod "), "carol may not read pods: {doctor}");
    let acting = cluster.nsdebug_as(&carol, &["--as", "admin", "-n", "shop", "api", "--", "true"]);
    assert_refused(&acting, "User \"carol\" cannot impersonate resource \"users\"");
    cluster.nsdebug(&["--as", "carol", "-n", "shop", "api", "--", "true"]).expect_success();
}

#[test]
fn credentials_and_certificates_that_do_not_fit_say_so() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let session = ["-n", "shop", "pod/api", "--", "true"];
    let carol = fs::read_to_string(cluster.user("carol", "dev")).expect("a kubeconfig");
    let file = |name: &str, text: &str| {
        let path = cluster.path().join(name);
        fs::write(&path, text).expect("the cluster's folder can be written to");
        path
    };
    let stranger = file("stranger", &carol.replace("/ca.pem", "/front-proxy-ca.pem"));
    let stranger = cluster.nsdebug_as(&stranger, &session);
    assert_refused(
        &stranger,
        "Unable to connect to the server: certificate signed by unknown authority",
    );
    let token = cluster.nsdebug(
        &[
            &["--kubeconfig", "/dev/null", "--server"],
            &["https://10.88.0.1:6443", "--insecure-skip-tls-verify", "--token", "wrong"][..],
            &session,
        ]
        .concat(),
    );
    assert_refused(&token, "error: You must be logged in to the server (Unauthorized)");
    let nobody = cluster.nsdebug(&[&["--server", "https://10.88.0.1:1"], &session[..]].concat());
    let said = "The connection to the server 10.88.0.1:1 was refused - did you specify the right host or port?";
    assert_refused(&nobody, said);
}

#[test]
fn doctor_version_and_completion_work_under_kubectl() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let doctor = cluster.nsdebug(&["-n", "shop", "doctor", "pod/api"]).expect_success();
    assert!(doctor.out().contains("one is ready on the node n1"), "{doctor}");
    assert!(doctor.out().contains("would be in the container "), "{doctor}");
    assert!(doctor.out().ends_with("This session would work.\n"), "{doctor}");
    let host = cluster.nsdebug(&["-n", "odd", "doctor", "pod/on-node-network"]);
    assert!(host.out().contains("hosttargets.nsdebug.dev \"n1\" (the container shares"), "{host}");
    let version = env!("CARGO_PKG_VERSION");
    let both = format!("Client Version: v{version}\nServer Version: v{version}\n");
    assert_eq!(cluster.nsdebug(&["version"]).expect_success().out(), both);
    let completing = cluster.path().join("bin/kubectl_complete-nsdebug");
    let program = harness::plugin().get_program().to_owned();
    if !completing.exists() {
        std::os::unix::fs::symlink(program, &completing).expect("a link");
    }
    let mut kubectl = cluster.command("kubectl");
    let completed = run(kubectl.args(["__complete", "nsdebug", "-n", "shop", "deploy/"]));
    let completed = completed.expect_success();
    assert!(completed.out().starts_with("deploy/web\n:4\n"), "{completed}");
}
