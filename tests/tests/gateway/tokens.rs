//! Agents prove who they are, or their connection is not taken in.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::apiserver::Reviews;
use crate::authority::nobody;
use crate::rig::{Rig, dial, jwt, token};

async fn connect(rig: &Rig, more: &str) -> String {
    let mut stream = dial(rig.addresses.agents, nobody()).await.expect("TLS");
    let head = format!(
        "POST /connect HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: nsdebug-agent\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("a request");
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_an_agents_of_its_node_or_of_no_use() {
    let rig = Rig::start().await;
    let spoilt = |change: fn(&mut Value)| {
        let mut good = token("nsdebug-agent", "n1");
        change(&mut good);
        good
    };
    let node = "authentication.kubernetes.io/node-name";
    let tokens = [
        ("expired", json!({"authenticated": false}), "401"),
        ("audience", spoilt(|token| token["audiences"] = json!(["kubernetes"])), "401"),
        (
            "no-audience",
            spoilt(|token| drop(token.as_object_mut().map(|t| t.remove("audiences")))),
            "401",
        ),
        ("other-account", token("default", "n1"), "403"),
        ("unbound", spoilt(|token| token["user"]["extra"] = json!({})), "403"),
        (
            "two-nodes",
            spoilt(|token| {
                token["user"]["extra"]["authentication.kubernetes.io/node-name"] =
                    json!(["n1", "n2"]);
            }),
            "403",
        ),
    ];
    assert!(token("nsdebug-agent", "n1")["user"]["extra"][node].is_array());
    for (name, answer, code) in tokens {
        rig.api.world().tokens.insert(jwt(name), answer);
        let answer = connect(&rig, &bearer(name, "")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{name}: {answer}");
    }
    let none = connect(&rig, "").await;
    assert!(none.starts_with("HTTP/1.1 401 "), "{none}");
    let elsewhere = bearer("good", "nsdebug-node: n2\r\n");
    let other = connect(&rig, &elsewhere).await;
    assert!(other.starts_with("HTTP/1.1 403 ") && other.contains("n2"), "{other}");
    let twice = connect(&rig, &bearer("good", "authorization: Bearer x\r\n")).await;
    assert!(twice.starts_with("HTTP/1.1 401 "), "{twice}");
    rig.api.world().reviews = Reviews::Failing;
    let unknown = connect(&rig, &bearer("good", "")).await;
    assert!(unknown.starts_with("HTTP/1.1 503 "), "{unknown}");
    assert_eq!(rig.metric("agent_connections_idle").await, 0);
    rig.api.world().reviews = Reviews::Answered;
    let good = connect(&rig, &bearer("good", "nsdebug-node: n1\r\n")).await;
    assert!(good.starts_with("HTTP/1.1 101 "), "{good}");
}

/// The fields of an agent with this token, and `more`.
fn bearer(name: &str, more: &str) -> String {
    format!("authorization: Bearer {}\r\n{more}", jwt(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_a_token_that_says_itself_it_is_of_no_use() {
    let rig = Rig::start().await;
    // `{"aud":"kubernetes","sub":"a"}`, and what is no token of Kubernetes at all.
    for token in ["e30.eyJhdWQiOiJrdWJlcm5ldGVzIiwic3ViIjoiYSJ9.x", "good", "a.b.c"] {
        let answer = connect(&rig, &format!("authorization: Bearer {token}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{token}: {answer}");
    }
    assert_eq!(rig.api.world().tokens_reviewed, 0);
    connect(&rig, &bearer("unheard-of", "")).await;
    assert_eq!(rig.api.world().tokens_reviewed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_of_agents_has_nothing_else() {
    let rig = Rig::start().await;
    let mut stream = dial(rig.addresses.agents, nobody()).await.expect("TLS");
    let head = "GET /apis HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
    stream.write_all(head.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}
