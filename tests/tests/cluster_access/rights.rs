//! Every right that a session takes is asked for: one that is missing is refused by name, whatever else there is.

use harness::{Cluster, Person, Right, assert_doctor, until};
use serde_json::{Value, json};

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

/// The namespace of pods that are worth as much as their node.
const HOSTED: &str = "hosted";

/// A pod of this `spec` in a namespace of its own, once it is ready.
fn host_pod(cluster: &Cluster, name: &str, spec: &Value) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOSTED}});
    cluster.apply(&namespace);
    let account = ["get", "serviceaccount", "-n", HOSTED, "default"];
    until("the account of its pods", SOON, || cluster.kubectl(&account).status.success());
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": HOSTED}, "spec": spec}));
    let pod = format!("pod/{name}");
    let ready = ["wait", "-n", HOSTED, "--for=condition=Ready", &pod, "--timeout=60s"];
    cluster.kubectl(&ready).expect_success();
}

fn container(name: &str, arguments: &[&str]) -> Value {
    json!({"name": name, "image": "localhost/nsdebug/target-app:1", "imagePullPolicy": "Never",
           "command": ["/target-app"], "args": arguments})
}

fn use_of(resource: &str, name: &str) -> (Right, String) {
    let right = Right::new(None, "nsdebug.dev", resource, "use").named(name);
    of_cluster(right, &format!("use resource \"{resource}\" named \"{name}\""))
}

#[test]
fn what_is_worth_a_node_takes_a_right_of_its_own_and_the_chart_s_leave() {
    let Some(cluster) = installed(&["hostTargets=true"]) else { return };
    let app = container("main", &["serve", "port=18081"]);
    let shares = json!({"hostNetwork": true, "hostPID": true, "terminationGracePeriodSeconds": 0,
        "containers": [app]});
    host_pod(&cluster, "all", &shares);
    let pod = ["-n", HOSTED, "pod/all", "--", "true"];
    let node = ["node/n1", "--", "true"];
    let mut rights = of_pod(HOSTED, "all");
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
        assert_refused(&admin(words), "--allow-host-targets (chart: hostTargets)");
    }
    cluster.kubectl(&["delete", "namespace", HOSTED, "--timeout=60s"]).expect_success();
}

/// A pod of a container that holds what is usual, and of another and a sidecar that hold `SYS_ADMIN`.
fn mixed() -> Value {
    let idle = |name| container(name, &["sleep", "1000000"]);
    let [mut admin, mut sidecar] = ["admin", "sidecar"].map(idle);
    for powerful in [&mut admin, &mut sidecar] {
        powerful["securityContext"] = json!({"capabilities": {"add": ["SYS_ADMIN"]}});
    }
    sidecar["restartPolicy"] = json!("Always");
    json!({"terminationGracePeriodSeconds": 0, "containers": [idle("app"), admin],
           "initContainers": [sidecar]})
}

#[test]
fn a_container_with_sys_admin_takes_the_right_to_its_node_and_the_one_beside_it_does_not() {
    let Some(cluster) = installed(&["hostTargets=true"]) else { return };
    host_pod(&cluster, "mixed", &mixed());
    let words = |container| ["-n", HOSTED, "pod/mixed", "-c", container, "--", "true"];
    let (without, with) = (Person::new(&cluster, "without"), Person::new(&cluster, "with"));
    without.grant("pod", &rights(HOSTED));
    with.grant("pod", &rights(HOSTED));
    let (right, said) = use_of("hosttargets", "n1");
    with.grant("node", [&right]);
    until("the others' rights", SOON, || without.nsdebug(&words("app")).status.success());
    for powerful in ["admin", "sidecar"] {
        until("the right", SOON, || with.nsdebug(&words(powerful)).status.success());
        let said = format!("User \"{}\" cannot {said}", without.name());
        assert_refused(&without.nsdebug(&words(powerful)), &said);
    }
    // Without the chart's leave the agent finds the same of a user who has every right.
    cluster.install(&[]);
    for powerful in ["admin", "sidecar"] {
        let session = || with.nsdebug(&words(powerful));
        until("the agent's own answer", SOON, || session().err().contains("CAP_SYS_ADMIN"));
        assert_refused(&session(), "chart: hostTargets");
    }
    without.nsdebug(&words("app")).expect_success();
    cluster.kubectl(&["delete", "namespace", HOSTED, "--timeout=60s"]).expect_success();
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
