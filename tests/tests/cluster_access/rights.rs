//! Every right that a session takes is asked for: one that is missing is refused by name, whatever else there is.

use harness::{Cluster, Person, Right, assert_doctor, until};
use serde_json::json;

use crate::stage::{SOON, assert_refused, installed, rights};

const API: &str = "in API group \"nsdebug.dev\"";

/// For a pod `pod` of the namespace, under the default profile.
fn of_pod(namespace: &'static str, pod: &str) -> Vec<(Right, String)> {
    let here = format!("in the namespace \"{namespace}\"");
    let said = [
        format!("get resource \"pods/exec\" {API} {here}"),
        format!("create resource \"pods/exec\" named \"{pod}\" {API} {here}"),
        format!("use resource \"profiles\" named \"general\" {API} {here}"),
        format!("create resource \"pods/exec\" named \"{pod}\" in API group \"\" {here}"),
    ];
    rights(namespace).into_iter().zip(said).collect()
}

fn of_cluster(right: Right, said: &str) -> (Right, String) {
    (right, format!("{said} {API} at the cluster scope"))
}

/// Leave out each of `rights` in turn, for a new user; `words` works once nothing is missing.
fn each_is_needed(cluster: &Cluster, who: &str, words: &[&str], rights: &[(Right, String)]) {
    for (missing, (right, said)) in rights.iter().enumerate() {
        let person = Person::new(cluster, &format!("{who}-{missing}"));
        let others = rights.iter().enumerate().filter(|(index, _)| *index != missing);
        person.grant("others", others.map(|(_, (right, _))| right));
        let said = format!("User \"{}\" cannot {said}", person.name());
        let mut last = None;
        until(&said, SOON, || {
            let refused = last.insert(person.nsdebug(words));
            assert_eq!(refused.code(), 125, "without it: {refused}");
            refused.err().contains(&said)
        });
        let refused = last.expect("it was asked at least once");
        assert_doctor(&refused);
        assert!(refused.err().starts_with("Error from server (Forbidden): "), "{refused}");
        person.grant("missing", [right]);
        until(&said, SOON, || person.nsdebug(words).status.success());
    }
}

#[test]
fn a_pod_takes_four_rights() {
    let Some(cluster) = installed(&[]) else { return };
    let words = ["-n", "shop", "pod/api", "--", "true"];
    each_is_needed(&cluster, "plain", &words, &of_pod("shop", "api"));
}

#[test]
fn a_pod_of_the_system_takes_one_more() {
    let Some(cluster) = installed(&[]) else { return };
    let right = Right::new(None, "nsdebug.dev", "systemnamespaces", "use").named("kube-system");
    let said = "use resource \"systemnamespaces\" named \"kube-system\"";
    let mut rights = of_pod("kube-system", "static-n1");
    rights.push(of_cluster(right, said));
    let words = ["-n", "kube-system", "pod/static-n1", "--", "true"];
    each_is_needed(&cluster, "system", &words, &rights);
}

/// A pod that is worth as much as its node, in a namespace of its own.
fn host_pod(cluster: &Cluster) -> [&'static str; 5] {
    let hosted = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hosted"}});
    cluster.apply(&hosted);
    let account = ["get", "serviceaccount", "-n", "hosted", "default"];
    until("the account of its pods", SOON, || cluster.kubectl(&account).status.success());
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "all", "namespace": "hosted"},
         "spec": {"hostNetwork": true, "hostPID": true, "terminationGracePeriodSeconds": 0,
                  "containers": [{"name": "main", "image": "localhost/nsdebug/target-app:1",
                                  "imagePullPolicy": "Never", "command": ["/target-app"],
                                  "args": ["serve", "port=18081"]}]}},
    ]}));
    let ready = ["wait", "-n", "hosted", "--for=condition=Ready", "pod/all", "--timeout=60s"];
    cluster.kubectl(&ready).expect_success();
    ["-n", "hosted", "pod/all", "--", "true"]
}

#[test]
fn what_is_worth_a_node_takes_a_right_of_its_own_and_the_chart_s_leave() {
    let Some(cluster) = installed(&["hostTargets=true"]) else { return };
    let pod = host_pod(&cluster);
    let node = ["node/n1", "--", "true"];
    let use_of = |resource, name: &str| {
        let right = Right::new(None, "nsdebug.dev", resource, "use").named(name);
        of_cluster(right, &format!("use resource \"{resource}\" named \"{name}\""))
    };
    let mut rights = of_pod("hosted", "all");
    rights.push(use_of("hosttargets", "n1"));
    each_is_needed(&cluster, "host", &pod, &rights);
    let exec = |verb| Right::new(None, "nsdebug.dev", "nodes/exec", verb);
    let rights = [
        of_cluster(exec("get"), "get resource \"nodes/exec\""),
        of_cluster(exec("create"), "create resource \"nodes/exec\" named \"n1\""),
        use_of("profiles", "general"),
    ];
    each_is_needed(&cluster, "node", &node, &rights);
    // A user who may do everything is refused by the nodes themselves.
    cluster.install(&[]);
    let admin = |words: &[&str]| cluster.nsdebug(words);
    for words in [&pod[..], &node] {
        until("the agent's own answer", SOON, || admin(words).err().contains("hostTargets"));
        assert_refused(&admin(words), "runs without --allow-host-targets (chart: hostTargets)");
    }
    cluster.kubectl(&["delete", "namespace", "hosted", "--timeout=60s"]).expect_success();
}

#[test]
fn who_may_read_everything_may_not_debug() {
    let Some(cluster) = installed(&[]) else { return };
    let reader = Person::new(&cluster, "reader");
    reader.grant("all", [&Right::new(None, "*", "*", "get,list,watch")]);
    // Reading is granted, so it is another right that is missed; the reviews are asked at once, and any may be first.
    let refusal = |words: &[&str]| {
        let said = reader.nsdebug(words).expect_code(125).err();
        let missed = ["cannot create resource", "cannot use resource"];
        (missed.iter().any(|what| said.contains(what)) && said.contains(reader.name()))
            .then_some(())
    };
    let session = ["-n", "shop", "pod/api", "--", "true"];
    until("the grant to be known", SOON, || refusal(&session).is_some());
    assert!(refusal(&session).is_some() && refusal(&["node/n1", "--", "true"]).is_some());
}

#[test]
fn only_who_may_impersonate_acts_as_another_user_and_within_their_rights() {
    let Some(cluster) = installed(&[]) else { return };
    let (owner, other) = (Person::new(&cluster, "owner"), Person::new(&cluster, "other"));
    owner.grant("shop", &rights("shop"));
    let acting = |user: &str, namespace, pod| {
        other.nsdebug(&["--as", user, "-n", namespace, pod, "--", "true"])
    };
    let cannot = |who: &Person<'_>, what: &str| format!("User \"{}\" cannot {what}", who.name());
    let impersonate = cannot(&other, "impersonate resource \"users\" in API group \"\"");
    assert_refused(&acting(owner.name(), "shop", "api"), &impersonate);
    other.grant("acting", [&Right::new(None, "", "users", "impersonate").named(owner.name())]);
    until("a session as the owner", SOON, || acting(owner.name(), "shop", "api").status.success());
    assert_refused(&acting(owner.name(), "vault", "keeper"), &cannot(&owner, "get resource"));
    let own = other.nsdebug(&["-n", "shop", "api", "--", "true"]);
    assert_refused(&own, &cannot(&other, "get resource"));
    assert_refused(&acting("admin", "shop", "api"), &impersonate);
}
