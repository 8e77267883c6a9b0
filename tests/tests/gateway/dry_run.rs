//! Dry runs: all that a session's request goes through, and no session.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wire::Status;

use crate::authority::nobody;
use crate::rig::{EXEC, LIMIT, Rig, dial, dry_run, jwt, upgrade};
use crate::stream::Session;

fn body(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_would_be_is_said_and_written_down_and_none_begins() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let answer = rig.ask(&dry_run(&format!("{EXEC}&reason=INC-1"), "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\r\nnsdebug-dry-run: All\r\n"), "{answer}");
    let said = body(&answer);
    assert_eq!((&said["kind"], &said["node"]), (&json!("DryRun"), &json!("n1")));
    assert_eq!(said["notes"][0], "Defaulted container \"app\" out of: app, sidecar");
    // The agent was told what it is told of a session.
    let told = said["notes"][1].as_str().expect("what the agent was told");
    for word in ["dryRun=All", "container=app", "user: \"alice\"", "pod_uid: Some(\"uid-1\")"] {
        assert!(told.contains(word), "{word} in {told}");
    }
    let asked: Vec<_> = rig.api.world().asked.iter().map(|(right, _)| right.clone()).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    let lines = rig.audit();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!((&line["event"], &line["dry_run"]), (&json!("fit"), &json!(true)));
    assert_eq!((&line["user"], &line["reason"]), (&json!("alice"), &json!("INC-1")));
    assert_eq!(rig.metric("sessions_opened_total").await, 0);
    // What the agent was asked by waits for a session again.
    assert_eq!(rig.metric("agent_connections_idle").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_takes_no_place() {
    let rig = Rig::start_with(&["--max-sessions-per-user=1"]).await;
    let _agent = rig.agent().await;
    let asking = (0..8).map(|_| async { rig.ask(&dry_run(EXEC, "")).await });
    for answer in futures_util::future::join_all(asking).await {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let _session = Session::open(&rig, EXEC).await.expect("a session");
    let answer = rig.ask(&dry_run(EXEC, "")).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_wants_a_websocket_gets_neither() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let head = upgrade(&format!("{EXEC}&dryRun=All"), "");
    let answer = rig.ask(&format!("{head}{head}")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("ask for it without `Upgrade`"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(rig.api.world().asked.is_empty());
    assert_eq!(rig.metric("sessions_opened_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_say_that_it_knows_dry_runs_is_not_asked() {
    let rig = Rig::start().await;
    let mut older = dial(rig.addresses.agents, nobody()).await.expect("TLS");
    let head = format!(
        "POST /connect HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: nsdebug-agent\r\n\
         authorization: Bearer {}\r\n\r\n",
        jwt("good")
    );
    older.write_all(head.as_bytes()).await.expect("a request");
    assert!(head_from(&mut older).await.starts_with("HTTP/1.1 101 "));
    rig.until("it is taken in", async || rig.metric("agent_connections_idle").await == 1).await;
    let answer = rig.ask(&dry_run(EXEC, "")).await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
    assert!(answer.contains("the agent on node n1 is too old for dry runs"), "{answer}");
    // Reviews come first: who may not is told so.
    rig.api.world().denied.insert("use nsdebug.dev/profiles".to_owned());
    let answer = rig.ask(&dry_run(EXEC, "")).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    rig.api.world().denied.clear();
    // The first that it is asked is the session.
    let answering = async {
        let heard = head_from(&mut older).await;
        let status = Status::refusal(409, "Conflict", "as it says").to_json();
        let head = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n", status.len());
        let answer = [head.as_bytes(), &status].concat();
        older.write_all(&answer).await.expect("an answer");
        heard
    };
    let head = upgrade(EXEC, "");
    let (heard, answer) = tokio::join!(answering, rig.ask(&head));
    let first = "GET /v1/namespaces/shop/pods/api/exec?container=app&command=ps HTTP/1.1\r\n";
    assert!(heard.starts_with(first), "{heard}");
    assert!(answer.contains("as it says"), "{answer}");
}

/// The next head that is said on `stream`.
async fn head_from(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(LIMIT, stream.read_u8()).await.expect("in time");
        head.push(byte.expect("a byte"));
    }
    String::from_utf8(head).expect("text")
}
