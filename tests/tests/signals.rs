//! Signals to the plugin without a terminal, and the end of its time: they reach the tool, and what it then writes
//! reaches the person.

use std::time::Duration;

use harness::{
    Agent, Client, Container, Containerd, Listener, Process, Requirement, RunSpec, Running, Serve,
    Version, skip, toolbox_tree, until,
};
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::Message;

/// What is offered beside the protocols of Kubernetes.
const SIGNALS: &str = "v5.channel.nsdebug.dev";
const V5: &str = "v5.channel.k8s.io";

/// Waits in a shell without being deaf to signals, which reach what it waits for too.
const WAIT: &str = "while :; do sleep 0.05; done";

/// A session that was given up is killed within seconds.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// An endless stdin fills what is in front of a tool that does not read within this.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Signals that end a session, with their names and the code that a shell shows of a tool that they killed.
const ENDING: [(Signal, &str, i32); 4] = [
    (Signal::INT, "INT", 130),
    (Signal::TERM, "TERM", 143),
    (Signal::HUP, "HUP", 129),
    (Signal::QUIT, "QUIT", 131),
];

/// An agent, with the tools of this machine or of a toolbox, and a container to enter.
fn with_agent(serve: &Serve, check: impl FnOnce(&Agent, &Container<'_>)) {
    let tcpdump = Requirement::program("tcpdump");
    if skip([Requirement::containerd(Version::chosen()), tcpdump]) {
        return;
    }
    let containerd = Containerd::start(Version::chosen());
    let web = containerd.run(&RunSpec::new("web-1"));
    let agent = serve.start(&containerd);
    check(&agent, &web);
    until("nothing to be left of any session", GONE_LIMIT, || {
        agent.has_no_session() && web.processes().len() == 1
    });
}

/// A shell that has said that it is up.
fn shell(agent: &Agent, listener: Listener, options: &[&str], script: &str) -> Running {
    let mut plugin = agent.plugin(listener);
    plugin.args(options).args(["container/web-1", "--", "sh", "-c", script]);
    let session = Running::start(&mut plugin);
    session.wait_for_stdout("up\n");
    session
}

fn every_ending_signal_reaches_the_tool(serve: Serve) {
    with_agent(&serve.with_tls(), |agent, _| {
        for listener in Listener::ALL {
            for (signal, name, killed) in ENDING {
                let script = format!("trap 'echo has {name}; exit 7' {name}; echo up; {WAIT}");
                let session = shell(agent, listener, &[], &script);
                session.signal(signal);
                let done = session.finish().expect_code(7);
                assert_eq!(done.out(), format!("up\nhas {name}\n"));
                assert!(!done.err().contains("error: "), "{done}");
                let session = shell(agent, listener, &[], "echo up; exec sleep 600");
                session.signal(signal);
                assert_eq!(session.finish().expect_code(killed).err(), "");
            }
        }
    });
}

#[test]
fn a_tool_of_the_node_hears_the_signals_of_its_person_and_says_its_last() {
    every_ending_signal_reaches_the_tool(Serve::new());
}

#[test]
fn a_tool_in_a_toolbox_hears_the_signals_of_its_person_and_says_its_last() {
    every_ending_signal_reaches_the_tool(Serve::new().in_toolbox(toolbox_tree()));
}

#[test]
fn a_capture_that_is_interrupted_is_whole_and_counted() {
    with_agent(&Serve::new(), |agent, _| {
        let mut tcpdump = agent.exec("web-1", &["tcpdump", "-i", "lo", "-w", "-"]);
        let session = Running::start(&mut tcpdump);
        session.wait_for_stderr("listening on lo");
        session.signal(Signal::INT);
        let done = session.finish().expect_success();
        assert_eq!(done.stdout.len(), 24, "the head of a file, which tcpdump holds back: {done}");
        assert!(done.err().contains("packets captured"), "{done}");
    });
}

#[test]
fn all_that_a_tool_writes_in_the_end_arrives() {
    with_agent(&Serve::new(), |agent, _| {
        let script = format!("trap 'head -c 8388608 /dev/zero; exit 3' INT; echo up; {WAIT}");
        let session = shell(agent, Listener::Unix, &[], &script);
        session.signal(Signal::INT);
        assert_eq!(session.finish().expect_code(3).stdout.len(), 3 + (8 << 20));
    });
}

#[test]
fn signals_that_end_nothing_are_the_tool_s_alone() {
    with_agent(&Serve::new(), |agent, _| {
        let traps = "trap 'echo one' USR1; trap 'echo two; exit 4' USR2";
        let script = format!("{traps}; echo up; {WAIT}");
        let session = shell(agent, Listener::Unix, &[], &script);
        session.signal(Signal::USR1);
        session.wait_for_stdout("up\none\n");
        session.signal(Signal::USR2);
        assert_eq!(session.finish().expect_code(4).out(), "up\none\ntwo\n");
    });
}

#[test]
fn a_session_whose_time_is_up_has_its_last_words() {
    with_agent(&Serve::new(), |agent, _| {
        let script = format!("trap 'echo has TERM; exit 0' TERM; echo up; {WAIT}");
        let session = shell(agent, Listener::Unix, &["--timeout", "3s"], &script);
        let done = session.finish().expect_code(125);
        assert_eq!(done.out(), "up\nhas TERM\n");
        let said = "error: the session was ended after 3s (--timeout)\n";
        assert!(done.err().ends_with(said), "{done}");
    });
}

#[test]
fn a_tool_that_hears_nothing_is_ended_all_the_same() {
    with_agent(&Serve::new(), |agent, web| {
        let script = "trap '' INT TERM HUP; echo up; while :; do sleep 600; done";
        let session = shell(agent, Listener::Unix, &[], script);
        session.signal(Signal::INT);
        let done = session.finish().expect_code(130);
        assert!(done.err().contains("did not end within 5 s of SIGINT"), "{done}");
        // Held up for good, the tool and its supervisor: no signal comes past that.
        let script = "echo up; read go; kill -STOP $PPID $$";
        let mut session = shell(agent, Listener::Unix, &["-i"], script);
        assert!(session.write(b"go\n"), "the plugin reads its stdin");
        session.signal(Signal::TERM);
        session.finish().expect_code(143);
        // A stopped supervisor is given its time before all of the session is killed.
        until("the tools to be gone", 3 * GONE_LIMIT, || web.processes().len() == 1);
    });
}

/// A shell that says that it is up and reads nothing, and a plugin whose endless stdin has come to a stop.
fn stuck(agent: &Agent, listener: Listener, script: &str) -> Running {
    let mut plugin = agent.plugin(listener);
    plugin.args(["-i", "container/web-1", "--", "sh", "-c", script]);
    let endless = std::fs::File::open("/dev/zero").expect("zeros");
    let session = Running::start_reading(&mut plugin, endless);
    session.wait_for_stdout("up\n");
    let plugin = Process::open(session.pid()).expect("the plugin runs");
    plugin.wait_until_reads_no_more(STALL_LIMIT);
    session
}

#[test]
fn a_signal_overtakes_stdin_that_the_tool_does_not_read() {
    with_agent(&Serve::new().with_tls(), |agent, _| {
        for listener in Listener::ALL {
            for (signal, name, _) in ENDING {
                let script = format!("trap 'echo has {name}; exit 7' {name}; echo up; {WAIT}");
                let session = stuck(agent, listener, &script);
                session.signal(signal);
                let done = session.finish().expect_code(7);
                assert_eq!(done.out(), format!("up\nhas {name}\n"));
                assert!(!done.err().contains("error: "), "{done}");
            }
        }
    });
}

#[test]
fn a_session_whose_tool_neither_reads_nor_hears_ends_at_the_second_signal() {
    with_agent(&Serve::new(), |agent, web| {
        let script = "trap '' INT TERM HUP; echo up; while :; do sleep 600; done";
        let session = stuck(agent, Listener::Unix, script);
        // One after another: one at once with the first is taken for the first.
        while !session.has_ended() {
            session.signal(Signal::INT);
            std::thread::yield_now();
        }
        let done = session.finish().expect_code(130);
        assert_eq!(done.err(), "", "it has waited for the tool");
        until("the tool to be gone", GONE_LIMIT, || web.processes().len() == 1);
    });
}

#[test]
fn a_client_that_sends_more_stdin_than_it_may_is_refused() {
    with_agent(&Serve::new(), |agent, _| {
        let path = "/v1/containers/web-1/exec?command=sleep&command=600&stdin=true&stdout=true";
        let mut client =
            Client::open(agent.connect(Listener::Unix), path, SIGNALS).expect("a session");
        // The pipe and the sockets on its way take some, too.
        for _ in 0..64 {
            client.send(0, &vec![b'x'; 65_536]);
        }
        let (code, reason) = client.finish().close.expect("a close");
        assert!(code == 1002 && reason.contains("1048576 bytes of stdin"), "{code} {reason}");
    });
}

#[test]
fn a_signal_reaches_only_the_tool_of_its_session() {
    with_agent(&Serve::new(), |agent, web| {
        let beside = shell(agent, Listener::Unix, &[], "echo up; exec sleep 600");
        let session = shell(agent, Listener::Unix, &[], "echo up; exec sleep 600");
        let before = web.processes().len();
        session.signal(Signal::TERM);
        session.finish().expect_code(143);
        until("one tool to be gone", GONE_LIMIT, || web.processes().len() < before);
        assert!(!beside.has_ended(), "{}", beside.stderr());
        beside.signal(Signal::INT);
        beside.finish().expect_code(130);
    });
}

#[test]
fn a_client_has_signals_where_it_asked_for_them_and_only_by_their_names() {
    with_agent(&Serve::new(), |agent, _| {
        let open = |protocols: &str| {
            let path = "/v1/containers/web-1/exec?command=sh&command=-c&stdout=true\
                        &command=trap+%27echo+has+INT;exit+7%27+INT;echo+up;while+:;do+sleep+0.05;done";
            let mut client = Client::open(agent.connect(Listener::Unix), path, protocols);
            client.as_mut().expect("a session").wait_for_stdout("up\n");
            client.expect("a session")
        };
        let all = format!("{V5}, {SIGNALS}");
        let mut client = open(&all);
        assert_eq!(client.protocol, SIGNALS);
        client.send(128, b"INT");
        let heard = client.finish();
        assert_eq!((&heard.stdout[..], heard.cause("ExitCode")), (&b"has INT\n"[..], Some("7")));
        let cases = [
            (&*all, &b"KILL"[..], "does not name one of HUP, INT, QUIT, USR1, USR2, TERM"),
            (&all, b"", "does not name one of"),
            (V5, b"INT", "channel 128, which does not exist"),
        ];
        for (protocols, name, words) in cases {
            let mut client = open(protocols);
            client.send_raw(Message::binary([&[128], name].concat()));
            let (code, reason) = client.finish().close.expect("a close");
            assert!(code == 1002 && reason.contains(words), "{code} {reason}");
        }
    });
}
