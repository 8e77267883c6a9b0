//! Each right denied in turn, and an API server that cannot say: never a session, and never a hint.

use std::time::Duration;

use serde_json::{Value, json};
use wire::rights::{ReviewPolicy, ReviewedTarget, Right};
use wire::{Profile, host};

use crate::apiserver::Reviews;
use crate::rig::{EXEC, POD, Rig, dry_run, pod, upgrade};
use crate::stream::Session;

const NODE: &str = "/apis/nsdebug.dev/v1alpha1/nodes/n1/exec?command=ps";
const SYSTEM: &str = "/apis/nsdebug.dev/v1alpha1/namespaces/kube-system/pods/api/exec?command=ps";

fn status(answer: &str) -> Value {
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    serde_json::from_str(body).expect("a Status")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_counts_and_is_named_to_the_user_who_lacks_it() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let mut host = pod();
    host["spec"]["hostNetwork"] = json!(true);
    rig.api.put(POD, host);
    rig.api.put("api/v1/namespaces/kube-system/pods/api", pod());
    let cases = [
        (
            EXEC,
            "create nsdebug.dev/pods/exec",
            "\"pods/exec\" named \"api\" in API group \"nsdebug.dev\" in the namespace \"shop\"",
        ),
        (EXEC, "use nsdebug.dev/profiles", "\"profiles\" named \"general\""),
        (EXEC, "create /pods/exec", "\"pods/exec\" named \"api\" in API group \"\""),
        (EXEC, "use nsdebug.dev/hosttargets", "\"hosttargets\" named \"n1\""),
        (SYSTEM, "use nsdebug.dev/systemnamespaces", "\"systemnamespaces\" named \"kube-system\""),
        (NODE, "create nsdebug.dev/nodes/exec", "\"nodes/exec\" named \"n1\""),
        (NODE, "use nsdebug.dev/profiles", "\"profiles\" named \"general\""),
    ];
    for (path, right, named) in cases {
        rig.api.world().denied = [right.to_owned()].into();
        let answer = rig.refused(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{right}: {answer}");
        let message = status(&answer)["message"].as_str().expect("a message").to_owned();
        for word in [named, "User \"alice\" cannot", right.split(' ').next().expect("a verb")] {
            assert!(message.contains(word), "{word} in {message}");
        }
    }
    let lines = rig.audit();
    assert_eq!(lines.len(), 2 * cases.len(), "a session and a dry run each");
    assert!(lines.iter().all(|line| line["event"] == "refused" && line["code"] == 403));
    assert_eq!(rig.metric("sessions_opened_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reviewed_is_what_wire_says_a_session_takes() {
    let rig = Rig::start().await;
    let mut powerful = pod();
    powerful["spec"]["hostNetwork"] = json!(true);
    for path in [POD, "api/v1/namespaces/kube-system/pods/api"] {
        rig.api.put(path, powerful.clone());
    }
    let policy = ReviewPolicy {
        core_exec: true,
        netadmin_without_host_target: false,
        own_namespace: "nsdebug".to_owned(),
    };
    let pod = |namespace| ReviewedTarget::Pod { namespace, name: Some("api") };
    let cases = [
        (EXEC, pod("shop")),
        (SYSTEM, pod("kube-system")),
        (NODE, ReviewedTarget::Node { name: "n1" }),
    ];
    for (path, entered) in cases {
        rig.api.world().asked.clear();
        rig.ask(&upgrade(path, "")).await;
        let mut wanted = entered.rights(Profile::General, &policy);
        wanted.extend(entered.host_target(Some("n1"), Some(&host::Reason::Network)));
        let mut wanted: Vec<_> = wanted.iter().map(asked).collect();
        let mut asked: Vec<_> = rig.api.world().asked.iter().map(|(it, _)| it.clone()).collect();
        wanted.sort_unstable();
        asked.sort_unstable();
        assert_eq!(asked, wanted, "{path}");
    }
}

/// As the API server notes it.
fn asked(right: &Right) -> String {
    let Right { verb, group, resource, subresource, namespace, name } = right;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let resource = subresource.map_or(resource.to_string(), |sub| format!("{resource}/{sub}"));
    format!("{verb} {group}/{resource} {} {}", or_none(namespace), or_none(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_no_is_the_answer_whatever_cannot_be_said_of_other_rights() {
    let rig = Rig::start().await;
    rig.api.world().failing = ["create nsdebug.dev/pods/exec".to_owned()].into();
    rig.api.world().denied = ["create /pods/exec".to_owned()].into();
    let answer = rig.refused(EXEC, "").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    rig.api.world().denied.clear();
    let answer = rig.refused(EXEC, "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reviews_are_about_the_user_as_authenticated() {
    let rig = Rig::start().await;
    rig.api.world().denied.insert("use nsdebug.dev/profiles".to_owned());
    let more = "x-remote-uid: 42\r\nx-remote-extra-example.com%2fscope: read\r\n";
    rig.ask(&upgrade(&format!("{EXEC}&profile=netadmin"), more)).await;
    let world = rig.api.world();
    let mut asked: Vec<_> = world.asked.iter().map(|(right, _)| right.as_str()).collect();
    asked.sort_unstable();
    assert!(asked.contains(&"use nsdebug.dev/profiles shop netadmin"), "{asked:?}");
    for (_, spec) in &world.asked {
        assert_eq!(spec["user"], "alice");
        assert_eq!(spec["uid"], "42");
        assert_eq!(spec["groups"], json!(["dev"]));
        assert_eq!(spec["extra"], json!({"example.com/scope": ["read"]}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_one_may_not_see_is_like_one_that_is_not_there() {
    let rig = Rig::start().await;
    rig.api.world().denied.insert("create nsdebug.dev/pods/exec".to_owned());
    // Nor does a refusal take as long as it takes to find out.
    rig.api.world().pods_hang = true;
    let there = rig.refused(EXEC, "").await;
    let nowhere = rig.refused(&EXEC.replace("/api/", "/xyz/"), "").await;
    assert_eq!(status(&there)["code"], 403);
    let renamed = status(&nowhere).to_string().replace("xyz", "api");
    assert_eq!(renamed, status(&there).to_string());
    rig.api.world().pods_hang = false;
    rig.api.world().denied.clear();
    let nowhere = rig.refused(&EXEC.replace("/api/", "/xyz/"), "").await;
    assert!(nowhere.starts_with("HTTP/1.1 404 "), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_cannot_say_says_no() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    for reviews in [Reviews::Failing, Reviews::Hanging] {
        rig.api.world().reviews = reviews;
        // Whether what is meant exists makes no difference.
        for path in [EXEC, &EXEC.replace("/api/", "/xyz/")] {
            // Which of the rights is named is any of them.
            for head in [upgrade(path, ""), dry_run(path, "")] {
                let answer = rig.ask(&head).await;
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(answer.contains("retry-after: "), "{answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_of_kubectl_exec_can_be_left_out_and_no_other() {
    let rig = Rig::start_with(&["--insecure-skip-core-exec-review"]).await;
    let _agent = rig.agent().await;
    rig.api.world().denied.insert("create /pods/exec".to_owned());
    Session::open(&rig, EXEC).await.expect("a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_ends_the_session_with_a_word() {
    let rig = Rig::start_with(&["--review-every=1"]).await;
    let _agent = rig.agent().await;
    let mut session = Session::open(&rig, EXEC).await.expect("a session");
    let told = String::from_utf8(session.hear().await.expect("its first words")).expect("text");
    let (_, vouched) = told.split_once(' ').expect("a query and what was vouched for");
    tokio::time::sleep(Duration::from_secs(2)).await;
    session.echo("still there").await;
    rig.until("it is replaced", async || rig.metric("agent_connections_idle").await == 2).await;
    rig.api.world().denied.insert("use nsdebug.dev/profiles".to_owned());
    let last = session.hear().await.expect("a last word");
    assert_eq!(String::from_utf8(last).expect("text"), format!("revoked: {vouched}"));
    assert!(session.hear().await.is_none());
    rig.until("its end is written down", async || rig.audit().len() == 2).await;
    assert_eq!(rig.audit()[1]["outcome"], "Revoked");
    // What the agent was told by waits for a session again.
    assert_eq!(rig.metric("agent_connections_idle").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_where_its_agent_does_not_end_it_it_is_cut() {
    let rig = Rig::start_with(&["--review-every=1"]).await;
    let agent = rig.agent().await;
    let mut deaf = Session::open(&rig, &EXEC.replace("=ps", "=deaf")).await.expect("a session");
    deaf.hear().await.expect("its first words");
    rig.api.world().denied.insert("use nsdebug.dev/profiles".to_owned());
    assert!(deaf.hear().await.is_none(), "it is cut");
    rig.api.world().denied.clear();
    let mut session = Session::open(&rig, EXEC).await.expect("a session");
    session.hear().await.expect("its first words");
    // Nobody is left who could be told.
    agent.control.drain();
    rig.until("they are gone", async || rig.metric("agent_connections_idle").await == 0).await;
    rig.api.world().denied.insert("use nsdebug.dev/profiles".to_owned());
    assert!(session.hear().await.is_none(), "it is cut");
    rig.until("both ends are written down", async || rig.audit().len() == 4).await;
}
