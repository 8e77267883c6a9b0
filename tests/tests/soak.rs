//! Many sessions, one after the other and at once: all work, and the agent is afterwards what it was before.

use std::time::Duration;

use harness::{
    Agent, Client, Container, Containerd, Listener, QuietNode, Requirement, RunSpec, Running,
    Scratch, Serve, Version, may_skip, run, until,
};

/// Killed and reaped processes are gone within milliseconds, on a machine that is not busy.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// What an allocator may keep for the next session; a leak of a session's own would be tens of MiB.
const GROWTH: u64 = 4 << 20;
/// A leak goes on from wave to wave of sessions at once.
const WAVES: usize = 4;

fn on_quiet_node(serve: &Serve, check: impl FnOnce(&Agent, &Container<'_>)) {
    if may_skip(Requirement::containerd(Version::chosen())) {
        return;
    }
    let node = QuietNode::wait();
    let containerd = Containerd::start_in(Scratch::on(&node), Version::chosen());
    {
        let web = containerd.run(&RunSpec::new("web-1"));
        let agent = serve.start(&containerd);
        check(&agent, &web);
    }
    drop(containerd);
    node.assert_untouched();
}

/// A session of a raw client, opened.
fn cat(agent: &Agent, listener: Listener) -> Client {
    let path = "/v1/containers/web-1/exec?command=cat&stdin=true&stdout=true";
    Client::open(agent.connect(listener), path, "v5.channel.k8s.io")
        .unwrap_or_else(|answer| panic!("{answer:?}"))
}

/// One whole session.
fn say_and_hear(agent: &Agent, round: usize) {
    let mut client = cat(agent, Listener::ALL[round % 2]);
    let line = format!("round {round}");
    client.send(0, line.as_bytes());
    client.close_stdin();
    let heard = client.finish();
    assert_eq!(String::from_utf8_lossy(&heard.stdout), line, "{heard:?}");
    assert_eq!(heard.close, Some((1000, String::new())), "{heard:?}");
}

/// Memory and descriptors of an agent that has nothing to do.
fn idle(agent: &Agent, web: &Container<'_>) -> (u64, usize) {
    until("all sessions to be gone", SETTLE_LIMIT, || {
        agent.has_no_session() && web.processes().len() == 1
    });
    let mut before = agent.descriptors();
    until("the descriptors to settle", SETTLE_LIMIT, || {
        let now = agent.descriptors();
        std::mem::replace(&mut before, now) == now
    });
    (agent.resident(), agent.descriptors())
}

/// Bytes more than before, and not a descriptor.
fn growth(agent: &Agent, web: &Container<'_>, (memory, descriptors): (u64, usize)) -> u64 {
    // A connection to containerd, or of the last client, may take its time to close.
    until("the descriptors to be as many as before", SETTLE_LIMIT, || {
        idle(agent, web).1 <= descriptors
    });
    agent.resident().saturating_sub(memory)
}

#[test]
fn a_thousand_sessions_leave_the_agent_as_it_was() {
    on_quiet_node(&Serve::new().with_tls(), |agent, web| {
        (0..50).for_each(|round| say_and_hear(agent, round));
        let before = idle(agent, web);
        (0..1000).for_each(|round| say_and_hear(agent, round));
        let growth = growth(agent, web, before);
        assert!(growth < GROWTH, "the agent grew by {growth} bytes from {}", before.0);
    });
}

#[test]
fn two_hundred_sessions_run_at_once() {
    let serve = Serve::new().option("--max-sessions", "200");
    on_quiet_node(&serve.option("--max-sessions-per-caller", "200"), |agent, web| {
        let wave = || {
            let start = |_| {
                let mut plugin = agent.plugin(Listener::Unix);
                Running::start(plugin.args(["-i", "container/web-1", "--", "cat"]))
            };
            let mut sessions: Vec<Running> = (0..200).map(start).collect();
            for session in &mut sessions {
                assert!(session.write(b"hello"), "it reads: {}", session.stderr());
                session.wait_for_stdout("hello");
            }
            assert!(agent.children().len() >= 200, "all of them run now");
            for session in sessions {
                session.finish().expect_success();
            }
        };
        wave();
        // How many threads and buffers there are at once is chance; what is kept for them comes to an end.
        let growths = (0..WAVES).map(|_| {
            let before = idle(agent, web);
            wave();
            growth(agent, web, before)
        });
        let growths: Vec<u64> = growths.take_while(|growth| *growth >= GROWTH).collect();
        assert!(growths.len() < WAVES, "the agent grew by {growths:?} bytes");
    });
}

#[test]
fn the_session_past_the_limit_is_refused_until_one_ends() {
    let serve = Serve::new().option("--max-sessions-per-caller", "64").with_tls();
    on_quiet_node(&serve, |agent, _| {
        let mut sessions: Vec<Client> = (0..64).map(|_| cat(agent, Listener::Unix)).collect();
        let words = "all 64 sessions of this agent are in use: end one, or raise --max-sessions";
        for listener in Listener::ALL {
            let refused = run(&mut agent.exec_over(listener, "web-1", &["true"])).expect_code(125);
            assert!(refused.err().contains(words), "{refused}");
        }
        let path = "/v1/containers/web-1/exec?command=true";
        let answer = Client::open(agent.connect(Listener::Unix), path, "v5.channel.k8s.io");
        let answer = answer.expect_err("a refusal");
        assert_eq!((answer.code, answer.message().as_str()), (429, words));
        let mut one = sessions.pop().expect("64 of them");
        one.close_stdin();
        one.finish();
        until("the slot to be free", SETTLE_LIMIT, || {
            run(&mut agent.exec("web-1", &["true"])).code() == 0
        });
    });
}
