//! Memory: of an agent that has nothing to do, and of sessions that have nothing to do.

use std::time::Duration;

use harness::session_process::{HELPER, SUPERVISOR, is_called};
use harness::{Agent, Client, Listener, children, private_memory, until_some};

use crate::table::{Reach, Row};

const SESSIONS: usize = 20;
const MEGABYTE: f64 = 1e6;

/// Before it has served anybody.
pub(crate) fn agent(agent: &Agent) -> Row {
    let resident = megabytes(agent.resident());
    Row::of("agent, idle, resident", " MB", &[resident], Reach::AtMost(12.0))
}

/// Helper, supervisor and relay of each session, and what the agent grew by; the tool is not ours.
pub(crate) fn session(agent: &Agent) -> Row {
    let path = "/v1/containers/web-1/exec?command=cat&stdin=true&stdout=true";
    let open = || {
        let stream = agent.connect(Listener::Unix);
        let mut client = Client::open(stream, path, "v5.channel.k8s.io").expect("a session");
        client.send(0, b"up");
        client.wait_for_stdout("up");
        client
    };
    let before = private_memory(agent.pid());
    let sessions: Vec<Client> = (0..SESSIONS).map(|_| open()).collect();
    let grown = private_memory(agent.pid()).saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "20 is exact")]
    let grown = megabytes(grown) / SESSIONS as f64;
    let helpers = until_some("all helpers to be seen", Duration::from_secs(10), || {
        // One more waits, without a supervisor.
        let helpers: Vec<u32> =
            agent.children().into_iter().filter(|pid| !children(*pid).is_empty()).collect();
        Some(helpers).filter(|helpers| helpers.len() == SESSIONS)
    });
    let of_session = |helper: &u32| {
        let mut ours = children(*helper);
        ours.retain(|pid| is_called(*pid, SUPERVISOR));
        assert_eq!(ours.len(), 1, "a supervisor: {ours:?}");
        assert!(is_called(*helper, HELPER), "{helper} is no helper");
        ours.push(*helper);
        megabytes(ours.iter().map(|pid| private_memory(*pid)).sum()) + grown
    };
    let relays: Vec<u64> = agent.relays().into_iter().map(private_memory).collect();
    let relay = megabytes(relays.iter().copied().max().unwrap_or_default());
    let each: Vec<f64> = helpers.iter().map(|helper| of_session(helper) + relay).collect();
    for mut session in sessions {
        session.close_stdin();
        session.finish();
    }
    Row::of("each idle session, private", " MB", &each, Reach::AtMost(1.5))
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a process fit 53 bits")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / MEGABYTE
}
