//! Memory of an agent in its pod, and of sessions that have nothing to do.

use std::time::Duration;

use harness::{Client, children, memory, private_memory, until_some};

use crate::stage::Stage;
use crate::table::{Reach, Row};

const SESSIONS: usize = 100;
const SELECTOR: &str = "app.kubernetes.io/component=agent";
const AGENTS: [&str; 3] = ["-n", "nsdebug", "daemonset/nsdebug-agent"];
const MEGABYTE: f64 = 1e6;

pub(crate) fn rows(stage: &Stage) -> Vec<Row> {
    restart(stage);
    let agent = agent(stage);
    let idle = megabytes(memory(agent, "VmRSS").expect("the agent runs"));
    vec![
        Row::of("agent in its pod, idle, resident", " MB", &[idle], Reach::AtMost(14.0)),
        sessions(stage, agent),
    ]
}

/// One that has served nobody yet.
fn restart(stage: &Stage) {
    for step in [&["restart"][..], &["status", "--timeout=120s"]] {
        let rollout = [&["rollout"], step, &AGENTS].concat();
        stage.cluster.kubectl(&rollout).expect_success();
    }
}

fn agent(stage: &Stage) -> u32 {
    let path = "jsonpath={.items[0].metadata.name}";
    let get = ["get", "pods", "-n", "nsdebug", "-l", SELECTOR, "-o", path];
    let pod = stage.cluster.kubectl(&get).expect_success().out();
    stage.cluster.pid_of("nsdebug", pod.trim(), None)
}

/// Helper and supervisor of each, and what the agent grew by; the tools are not ours.
fn sessions(stage: &Stage, agent: u32) -> Row {
    drop(open(stage));
    let before = private_memory(agent);
    let open: Vec<Client> = (0..SESSIONS).map(|_| open(stage)).collect();
    let grown = private_memory(agent).saturating_sub(before);
    let helpers = until_some("all helpers to be seen", Duration::from_secs(30), || {
        let all = children(agent).into_iter();
        let helpers: Vec<u32> = all.filter(|pid| !children(*pid).is_empty()).collect();
        (helpers.len() == SESSIONS).then_some(helpers)
    });
    let supervisors = helpers.iter().flat_map(|helper| children(*helper));
    let ours: u64 = helpers.iter().copied().chain(supervisors).map(private_memory).sum();
    #[expect(clippy::cast_precision_loss, reason = "100 is exact")]
    let each = megabytes(ours + grown) / SESSIONS as f64;
    open.into_iter().for_each(end);
    let measure = format!("each of {SESSIONS} idle sessions, private");
    Row::of(&measure, " MB", &[each], Reach::AtMost(1.5))
}

/// A session whose tool runs and waits.
pub(crate) fn open(stage: &Stage) -> Client {
    let query = "command=cat&stdin=true&stdout=true";
    let client = stage.cluster.session("admin", "shop/bench", query);
    let mut client = client.unwrap_or_else(|answer| panic!("refused: {answer:?}"));
    client.send(0, b"up");
    client.wait_for_stdout("up");
    client
}

pub(crate) fn end(mut session: Client) {
    session.close_stdin();
    session.finish();
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a process fit 53 bits")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / MEGABYTE
}
