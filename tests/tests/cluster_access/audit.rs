//! One request, three records: what kube-apiserver, a gateway and an agent wrote down is joined by its Audit-ID.

use harness::{Cluster, Person, Right, until, until_some};
use serde_json::{Value, json};

use crate::stage::{SOON, installed, rights};

/// The lines of JSON in `text` that `chosen` takes.
fn lines(text: &str, chosen: impl Fn(&Value) -> bool) -> Vec<Value> {
    let all = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    all.filter(chosen).collect()
}

/// The audit lines of a component that carry this ID.
fn ours(cluster: &Cluster, component: &str, id: &Value, count: usize) -> Vec<Value> {
    let selector = format!("app.kubernetes.io/component={component}");
    let logs = ["logs", "-n", "nsdebug", "-l", &selector, "--tail=-1"];
    until_some("our lines", SOON, || {
        let logs = cluster.kubectl(&logs).expect_success().out();
        // A gateway believes kube-apiserver; an agent only passes on what it was told.
        let has_it = |line: &Value| line["audit_id"] == *id || line["claimed_audit_id"] == *id;
        let found = lines(&logs, |line| has_it(line) && line["event"].is_string());
        (found.len() == count).then_some(found)
    })
}

/// The last request for a session in a pod that kube-apiserver has handed on for a user, or for who acted as that
/// user. It writes down a request a moment after its client has heard the end.
fn seen(cluster: &Cluster, user: &str) -> Value {
    let handed_on = |line: &Value| {
        let object = &line["objectRef"];
        let who = line.get("impersonatedUser").unwrap_or(&line["user"]);
        who["username"] == user
            && object["apiGroup"] == "nsdebug.dev"
            && object["subresource"] == "exec"
            && line["stage"] == "ResponseComplete"
            && line["responseStatus"]["code"] == 101
    };
    let what = format!("kube-apiserver's line about {user}");
    until_some(&what, SOON, || lines(&cluster.audit_log(), handed_on).pop())
}

#[test]
fn the_records_of_a_session_are_joined_and_name_everything() {
    let Some(cluster) = installed(&[]) else { return };
    let user = format!("auditee-{}", std::process::id());
    let who = ["--as", &user, "--as-group", "system:masters", "--reason", "INC-7", "-n", "shop"];
    let command = ["deploy/web", "-c", "sidecar", "--", "sh", "-c", "exit 3"];
    cluster.nsdebug(&[&who[..], &command].concat()).expect_code(3);
    let kubernetes = seen(&cluster, &user);
    assert_eq!(kubernetes["user"]["username"], "admin");
    let pod = &kubernetes["objectRef"]["name"];
    let id = &kubernetes["auditID"];
    for component in ["gateway", "agent"] {
        let two = ours(&cluster, component, id, 2);
        let [start, end] = &two[..] else { panic!("two lines, not {two:?}") };
        assert_eq!((&start["event"], &end["event"]), (&json!("start"), &json!("end")));
        for line in [start, end] {
            assert_eq!(line["pod"]["namespace"], "shop", "{line}");
            assert_eq!(line["pod"]["name"], *pod, "{line}");
            assert_eq!(line["container"]["name"], "sidecar", "{line}");
            assert_eq!(line["argv"], json!(["sh", "-c", "exit 3"]), "{line}");
            assert_eq!((&line["profile"], &line["reason"]), (&json!("general"), &json!("INC-7")));
            let who = if component == "gateway" { &line["user"] } else { &line["peer"] };
            assert!(who.as_str().is_some_and(|who| who.starts_with(&user)), "{line}");
        }
        let outcome = if component == "gateway" { "Closed" } else { "Finished" };
        assert_eq!(end["outcome"], outcome, "{end}");
    }
}

#[test]
fn the_records_of_a_refusal_are_joined_too() {
    let Some(cluster) = installed(&[]) else { return };
    let refused = Person::new(&cluster, "refused");
    let session = ["-n", "shop", "pod/api", "--", "true"];
    // kube-apiserver lets the request through; what it lacks is ours to ask.
    refused.grant("get", [&Right::new(Some("shop"), "nsdebug.dev", "pods/exec", "get")]);
    let said = format!("User \"{}\" cannot create resource", refused.name());
    until(&said, SOON, || refused.nsdebug(&session).err().contains(&said));
    // kube-apiserver notes 101 for every upgrade that it hands on: only our line says what came of it.
    let id = seen(&cluster, refused.name())["auditID"].clone();
    let line = ours(&cluster, "gateway", &id, 1).remove(0);
    assert_eq!((&line["event"], &line["code"]), (&json!("refused"), &json!(403)));
    assert_eq!((&line["user"], &line["argv"]), (&json!(refused.name()), &json!(["true"])));
    // What only the node can know, it says with the same ID: there is no such tool.
    let lost = Person::new(&cluster, "lost");
    lost.grant("shop", &rights("shop"));
    let missing = ["-n", "shop", "pod/api", "--", "no-such-tool"];
    until("a tool that is not there", SOON, || lost.nsdebug(&missing).code() == 127);
    let id = seen(&cluster, lost.name())["auditID"].clone();
    for component in ["gateway", "agent"] {
        let line = ours(&cluster, component, &id, 1).remove(0);
        assert_eq!((&line["event"], &line["argv"]), (&json!("refused"), &json!(["no-such-tool"])));
    }
}
