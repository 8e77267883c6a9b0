//! Sessions from a client through gateway and agent and back: every byte, and none that waits in
//! between.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gateway::serve::{Addresses, Gateway};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::rig::{EXEC, LIMIT, POD, Rig, dial, dry_run, pod, upgrade};

/// One open session, and what the gateway said of the choice of its container.
pub(crate) struct Session(WebSocketStream<TlsStream<TcpStream>>, Option<String>);

impl Session {
    /// As kube-apiserver proxies alice's.
    pub(crate) async fn open(rig: &Rig, path: &str) -> Result<Self, Response<Option<Vec<u8>>>> {
        let stream = dial(rig.addresses.api, rig.authority.front_proxy()).await.expect("TLS");
        let mut request = format!("ws://gateway{path}").into_client_request().expect("a request");
        for (name, value) in [
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
            ("x-remote-user", "alice"),
            ("x-remote-group", "dev"),
            ("audit-id", "audit-1"),
            ("x-forwarded-for", "10.1.2.3, 192.0.2.7"),
        ] {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let opening = tokio_tungstenite::client_async(request, stream);
        match tokio::time::timeout(LIMIT, opening).await.expect("an answer in time") {
            Ok((socket, response)) => {
                let told = response.headers().get(wire::header::DEFAULTED_CONTAINER);
                Ok(Self(socket, told.map(|told| told.to_str().expect("text").to_owned())))
            }
            Err(Error::Http(response)) => Err(*response),
            Err(error) => panic!("{error}"),
        }
    }

    /// The next message, or none where the session was cut.
    pub(crate) async fn hear(&mut self) -> Option<Vec<u8>> {
        let heard = tokio::time::timeout(LIMIT, self.0.next()).await.expect("in time");
        match heard {
            Some(Ok(Message::Binary(bytes))) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    pub(crate) async fn tell(&mut self, text: impl Into<Vec<u8>>) {
        self.0.send(Message::binary(text.into())).await.expect("it is heard");
    }

    pub(crate) async fn echo(&mut self, text: &str) {
        self.tell(text).await;
        assert_eq!(self.hear().await.as_deref(), Some(text.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_told_what_was_found_out_and_both_ends_are_written_down() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let mut session = Session::open(&rig, &format!("{EXEC}&reason=INC-1")).await.expect("101");
    let told = String::from_utf8(session.hear().await.expect("its first words")).expect("text");
    for word in [
        "container=app&command=ps",
        "user: \"alice\"",
        "audit_id: AuditId(\"audit-1\")",
        "pod_uid: Some(\"uid-1\")",
        "0123abcd",
        "host_target: false",
        "max_profile: General",
    ] {
        assert!(told.contains(word), "{word} in {told}");
    }
    session.echo("hello").await;
    drop(session);
    rig.until("the end is written down", async || rig.audit().len() == 2).await;
    let lines = rig.audit();
    assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&json!("start"), &json!("end")));
    for line in &lines {
        assert_eq!(line["claimed_audit_id"], "audit-1");
        let id = line["session_id"].as_str().expect("an ID");
        assert!(told.contains(&format!("session_id: Some(\"{id}\")")), "{id} in {told}");
        assert_eq!((&line["write"], &line["host_target"]), (&json!(false), &json!(null)));
        assert_eq!(line["user"], "alice");
        assert_eq!(line["client"], "192.0.2.7");
        assert_eq!(line["pod"], json!({"namespace": "shop", "name": "api", "uid": "uid-1"}));
        assert_eq!(line["container"], json!({"name": "app", "id": "0123abcd"}));
        assert_eq!((&line["node"], &line["argv"]), (&json!("n1"), &json!(["ps"])));
        assert_eq!((&line["profile"], &line["reason"]), (&json!("general"), &json!("INC-1")));
    }
    assert!(lines[1]["to_client_bytes"].as_u64().is_some_and(|bytes| bytes > 5));
    rig.until("the place is free", async || rig.metric("sessions_active").await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_written_down_is_refused() {
    let mut rig = Rig::start().await;
    rig.gateway.stop(std::future::pending()).await;
    let config = crate::rig::config(&["--audit-log=/dev/full"]);
    rig.gateway = Gateway::start_with(config, rig.api.client()).await.expect("a gateway");
    rig.addresses = rig.gateway.addresses();
    let _agent = rig.agent().await;
    for answer in [rig.ask(&upgrade(EXEC, "")).await, rig.ask(&dry_run(EXEC, "")).await] {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let why = "cannot write to the audit log /dev/full; sessions are refused until it is";
        assert!(answer.contains(why), "{answer}");
    }
    assert_eq!(rig.metric("sessions_opened_total").await, 0);
    rig.until("the place is free", async || rig.metric("sessions_active").await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_told_why_a_container_does_not_run_and_what_runs() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let mut waiting = pod();
    let prepare = waiting["status"]["containerStatuses"][0].clone();
    waiting["spec"]["initContainers"] = json!([{"name": "prepare"}]);
    waiting["status"]["containerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "PodInitializing"}});
    waiting["status"]["initContainerStatuses"] = json!([prepare]);
    waiting["status"]["initContainerStatuses"][0]["name"] = json!("prepare");
    rig.api.put(POD, waiting);
    let mut session = Session::open(&rig, EXEC).await.expect("101");
    let told = String::from_utf8(session.hear().await.expect("its first words")).expect("text");
    let why = "waiting: Some(\"app waits: PodInitializing; running now: -c prepare\")";
    assert!(told.contains(why) && told.contains("container_id: None"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_on_no_node_is_refused_as_one_with_events_to_look_at() {
    let rig = Rig::start().await;
    let mut nowhere = pod();
    nowhere["spec"]["nodeName"] = json!("");
    rig.api.put(POD, nowhere);
    let answer = rig.refused(EXEC, "").await;
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    let status: wire::Status = serde_json::from_str(body).expect("a Status");
    assert!(status.code == 409 && status.is_of_pod_not_begun(), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn netadmin_takes_the_right_to_the_node_unless_that_is_given_away() {
    let right = "use nsdebug.dev/hosttargets";
    let netadmin = format!("{EXEC}&profile=netadmin&write=true&namespaces=net&run-as=0");
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    rig.api.world().denied.insert(right.to_owned());
    assert!(rig.refused(&netadmin, "").await.starts_with("HTTP/1.1 403 "));
    rig.api.world().denied.clear();
    let mut session = Session::open(&rig, &netadmin).await.expect("a session");
    let told = String::from_utf8(session.hear().await.expect("its first words")).expect("text");
    assert!(told.contains("host_target: true"), "{told}");
    for line in rig.audit() {
        let why = line["host_target"].as_str().expect("a reason");
        assert!(why.contains("netadmin, which reaches the node's network"), "{why}");
        assert_eq!((&line["write"], &line["namespaces"]), (&json!(true), &json!("net")));
    }
    let rig = Rig::start_with(&["--netadmin-reaches-node-network"]).await;
    let _agent = rig.agent().await;
    rig.api.world().denied.insert(right.to_owned());
    Session::open(&rig, &netadmin).await.expect("a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_worth_the_node_has_a_shorter_limit() {
    let rig = Rig::start_with(&["--max-host-session=1"]).await;
    let _agent = rig.agent().await;
    let deaf = EXEC.replace("=ps", "=deaf"); // to what the other one is told
    let mut usual = Session::open(&rig, &deaf).await.expect("a session");
    let mut host = Session::open(&rig, &format!("{EXEC}&profile=sysadmin")).await.expect("one");
    for session in [&mut usual, &mut host] {
        session.hear().await.expect("its first words");
    }
    let last = String::from_utf8(host.hear().await.expect("its last word")).expect("text");
    assert!(last.starts_with("expired: "), "{last}");
    usual.echo("goes on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_worth_the_node_is_said_to_be_allowed() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let mut host = pod();
    host["spec"]["hostPID"] = json!(true);
    rig.api.put(POD, host);
    let mut session = Session::open(&rig, EXEC).await.expect("a session");
    let told = String::from_utf8(session.hear().await.expect("its first words")).expect("text");
    assert!(told.contains("host_target: true"), "{told}");
    let (asked, _) = rig.api.world().asked.last().cloned().expect("a review");
    assert_eq!(asked, "use nsdebug.dev/hosttargets - n1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_refusal_is_the_answer() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let answer = rig.refused(&EXEC.replace("=ps", "=no"), "").await;
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert!(answer.contains("\"message\":\"as the agent says\""), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_no_container_is_told_which_was_taken() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let told = async |path: &str| Session::open(&rig, path).await.expect("a session").1;
    assert_eq!(told(EXEC).await.as_deref(), Some("app; app, sidecar"));
    assert_eq!(told(&format!("{EXEC}&container=sidecar")).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_an_agent_says_so() {
    let rig = Rig::start().await;
    let answer = rig.refused(EXEC, "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("no agent of the node n1 is connected"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_mebibytes_arrive_whole_each_way() {
    const MESSAGES: usize = 1024; // of 64 KiB
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let mut session = Session::open(&rig, EXEC).await.expect("a session");
    session.hear().await.expect("its first words");
    session.tell(format!("pour {MESSAGES}")).await;
    for number in 0..MESSAGES {
        let message = session.hear().await.expect("a message");
        let expected = u8::try_from(number % 251).expect("small");
        assert_eq!(message.len(), wire::limits::FRAME);
        assert!(message.iter().all(|byte| *byte == expected), "message {number}");
    }
    let frame =
        |number: usize| vec![u8::try_from(number % 251).expect("small"); wire::limits::FRAME];
    let (mut sink, mut stream) = session.0.split();
    let telling = async {
        for number in 0..MESSAGES {
            sink.send(Message::binary(frame(number))).await.expect("it is heard");
        }
    };
    let hearing = async {
        for number in 0..MESSAGES {
            let message = stream.next().await.expect("a message").expect("no error").into_data();
            assert_eq!(message, frame(number), "message {number}");
        }
    };
    tokio::time::timeout(3 * LIMIT, async { tokio::join!(telling, hearing) })
        .await
        .expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_makes_the_agent_wait_and_fills_nobody() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let mut session = Session::open(&rig, EXEC).await.expect("a session");
    session.hear().await.expect("its first words");
    let before = resident();
    session.tell("pour 16384").await; // 1 GiB
    tokio::time::sleep(Duration::from_secs(3)).await;
    let grown = resident().saturating_sub(before);
    // Two TCP connections' worth of the kernel's buffers are not counted; ours are a few 64 KiB.
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert_eq!(session.hear().await.map(|message| message.len()), Some(wire::limits::FRAME));
}

/// Bytes of this process in memory: gateway, agent and client together.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_wait_for_connections_that_the_agent_replaces() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let opening = (0..40).map(|_| Session::open(&rig, EXEC));
    let mut open = futures_util::future::join_all(opening).await;
    for session in &mut open {
        session.as_mut().expect("a session").hear().await.expect("its first words");
    }
    assert_eq!(rig.metric("sessions_active").await, 40);
    rig.until("as many wait as before", async || rig.metric("agent_connections_idle").await == 2)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_more_than_a_user_may_have_is_refused_until_one_ends() {
    let rig = Rig::start_with(&["--max-sessions-per-user=1"]).await;
    let _agent = rig.agent().await;
    let first = Session::open(&rig, EXEC).await.expect("a session");
    let answer = rig.refused(EXEC, "").await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after"), "{answer}");
    drop(first);
    rig.until("the place is free", async || rig.metric("sessions_active").await == 0).await;
    Session::open(&rig, EXEC).await.expect("another");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_drains_takes_its_connections_and_leaves_its_session() {
    let rig = Rig::start().await;
    let agent = rig.agent().await;
    let mut session = Session::open(&rig, EXEC).await.expect("a session");
    session.hear().await.expect("its first words");
    rig.until("it is replaced", async || rig.metric("agent_connections_idle").await == 2).await;
    agent.control.drain();
    tokio::time::timeout(LIMIT, agent.served).await.expect("in time").expect("no panic");
    session.echo("still there").await;
    let answer = rig.refused(EXEC, "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_ends_its_sessions_with_a_word_and_writes_it_down() {
    let rig = Rig::start().await;
    let _agent = rig.agent().await;
    let mut session = Session::open(&rig, EXEC).await.expect("a session");
    session.hear().await.expect("its first words");
    let Rig { gateway, directory, .. } = rig;
    tokio::time::timeout(LIMIT, gateway.stop(std::future::pending())).await.expect("in time");
    let last = session.hear().await.expect("a last word");
    assert!(last.starts_with(b"stopped: "), "{}", last.escape_ascii());
    assert!(session.hear().await.is_none());
    let log = std::fs::read_to_string(directory.path().join("audit")).expect("a log");
    assert!(log.lines().last().is_some_and(|line| line.contains("\"Stopped\"")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_finds_a_gateway_that_was_restarted() {
    let mut rig = Rig::start().await;
    let _agent = rig.agent().await;
    let Addresses { api, agents, health } = rig.addresses;
    let flags = [("listen", api), ("listen-agents", agents), ("listen-health", health)];
    let flags = flags.map(|(name, address)| format!("--{name}={address}"));
    let config = crate::rig::config(&flags.each_ref().map(String::as_str));
    let client = rig.api.client();
    rig.gateway.stop(std::future::pending()).await;
    rig.gateway = Gateway::start_with(config, client).await.expect("a gateway");
    rig.until("the agent is back", async || rig.metric("agent_connections_idle").await == 2).await;
    rig.until("the gateway is ready", async || {
        rig.health("/readyz").await.starts_with("HTTP/1.1 200 ")
    })
    .await;
    Session::open(&rig, EXEC).await.expect("a session").hear().await.expect("its first words");
}
