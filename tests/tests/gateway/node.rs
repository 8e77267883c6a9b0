//! Sessions on a node itself: from a user of the cluster through the gateway to an agent as it runs on nodes.

use harness::{Requirement, Running, agent, may_skip, toolbox_tree};
use serde_json::{Value, json};

use crate::rig::{Rig, jwt};
use crate::stream::Session;

const NODE: &str = "/apis/nsdebug.dev/v1alpha1/nodes/n1/exec?stdout=true&command=";

/// The real program, as the node `n1`, connected.
async fn real_agent(rig: &Rig, flags: &[&str]) -> Running {
    let token = rig.directory.path().join("token");
    std::fs::write(&token, jwt("good")).expect("a file");
    let gateway = format!("localhost:{}", rig.addresses.agents.port());
    let mut command = agent();
    command.args(["serve", "--node-name", "n1", "--gateway", &gateway, "--toolbox"]);
    command
        .arg(toolbox_tree())
        .arg("--gateway-ca")
        .arg(rig.ca_file())
        .arg("--token-file")
        .arg(token);
    command.arg(format!("--listen=unix:{}", rig.directory.path().join("agent.sock").display()));
    command.arg("--audit-log").arg(rig.directory.path().join("agent-audit")).args(flags);
    let running = Running::start(&mut command);
    rig.until("the agent is connected", async || rig.metric("agent_connections_idle").await >= 2)
        .await;
    running
}

/// What the tool says on stdout, and the status.
async fn heard(mut session: Session) -> (String, Value) {
    let mut stdout = Vec::new();
    while let Some(message) = session.hear().await {
        match message.split_first() {
            Some((1, bytes)) => stdout.extend_from_slice(bytes),
            Some((3, json)) => {
                let text = String::from_utf8(stdout).expect("text");
                return (text, serde_json::from_slice(json).expect("JSON"));
            }
            _ => {}
        }
    }
    panic!("no status after {}", String::from_utf8_lossy(&stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_enter_a_node_sees_its_processes_and_is_written_down_everywhere() {
    if may_skip(Requirement::root()) {
        return;
    }
    let rig = Rig::start().await;
    let agent = real_agent(&rig, &["--allow-host-targets"]).await;
    let script = "readlink%20/proc/self/ns/pid%3B%20printenv%20KUBERNETES_EXEC_AUDIT_ID";
    let path = format!("{NODE}sh&command=-c&command={script}");
    let (stdout, status) = heard(Session::open(&rig, &path).await.expect("a session")).await;
    assert_eq!(status["status"], "Success", "{status}");
    let pids = std::fs::read_link("/proc/self/ns/pid").expect("an own namespace");
    assert_eq!(stdout, format!("{}\naudit-1\n", pids.display()));
    let asked: Vec<_> = rig.api.world().asked.iter().map(|(asked, _)| asked.clone()).collect();
    assert!(asked.contains(&"create nsdebug.dev/nodes/exec - n1".to_owned()), "{asked:?}");

    rig.until("the end is written down", async || rig.audit().len() == 2).await;
    drop(agent);
    let log = std::fs::read_to_string(rig.directory.path().join("agent-audit")).expect("a log");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for line in &lines {
        assert_eq!(
            (&line["target"], &line["claimed_audit_id"]),
            (&json!("node"), &json!("audit-1"))
        );
        let session = line["gateway_session"].as_str();
        assert!(session.is_some_and(|id| id.len() == 32), "{line}");
        assert_eq!(session, lines[0]["gateway_session"].as_str());
        assert!(
            line["peer"].as_str().is_some_and(|peer| peer.starts_with("alice through")),
            "{line}"
        );
    }
    for line in rig.audit() {
        assert_eq!((&line["node"], &line["claimed_audit_id"]), (&json!("n1"), &json!("audit-1")));
        assert_eq!(line["host_target"], "is the node");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_no_leave_for_host_targets_refuses_its_node_whatever_was_reviewed() {
    if may_skip(Requirement::root()) {
        return;
    }
    let rig = Rig::start().await;
    let _agent = real_agent(&rig, &[]).await;
    let answer = rig.refused(&format!("{NODE}ps"), "").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("sessions on the node itself are not allowed here"), "{answer}");
}
