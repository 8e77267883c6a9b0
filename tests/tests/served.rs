//! A session through `serve` and the plugin, as a person has it: codes, streams, a terminal, and every way to end.

use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{
    Agent, Client, Container, Containerd, Listener, Process, QuietNode, Requirement, RunSpec,
    Running, Scratch, Serve, Terminal, Version, refused, run, skip, toolbox_tree, until,
};
use rustix::process::Signal;

/// What has ended is gone at once, unless the machine swaps.
const GONE_LIMIT: Duration = Duration::from_secs(10);

fn lacks(version: Version) -> bool {
    let vi = Requirement::program("vi");
    skip([Requirement::containerd(version), vi])
}

/// An agent with a container to enter.
fn with_agent(serve: &Serve, check: impl FnOnce(&Containerd, Agent, &Container<'_>)) {
    on(Scratch::new, serve, check);
}

/// The same on a node that is compared before and after.
fn on_quiet_node(serve: &Serve, check: impl FnOnce(&Containerd, Agent, &Container<'_>)) {
    let node = QuietNode::wait();
    on(|| Scratch::on(&node), serve, check);
    node.assert_untouched();
}

fn on(
    scratch: impl FnOnce() -> Scratch,
    serve: &Serve,
    check: impl FnOnce(&Containerd, Agent, &Container<'_>),
) {
    if lacks(Version::chosen()) {
        return;
    }
    let containerd = Containerd::start_in(scratch(), Version::chosen());
    let web = containerd.run(&RunSpec::new("web-1"));
    let agent = serve.start(&containerd);
    check(&containerd, agent, &web);
}

/// Only the container's own process is in it.
fn assert_alone(web: &Container<'_>) {
    until("the session's processes to be gone", GONE_LIMIT, || web.processes().len() == 1);
}

#[test]
fn every_containerd_is_served() {
    for version in Version::ALL {
        if lacks(version) {
            continue;
        }
        let node = QuietNode::wait();
        let containerd = Containerd::start_in(Scratch::on(&node), version);
        {
            let web = containerd.run(&RunSpec::new("web-1"));
            let agent = Serve::new().with_tls().start(&containerd);
            for listener in Listener::ALL {
                let ps = run(&mut agent.exec_over(listener, "web-1", &["ps", "-ef"]));
                let ps = ps.expect_success();
                assert!(ps.out().contains("/target-app serve"), "{ps}");
                assert!(!ps.out().contains("containerd"), "{ps}");
                let link = ["readlink", "/proc/self/ns/net"];
                let link = run(&mut agent.exec_over(listener, "web-", &link)).expect_success();
                assert_eq!(link.out().trim(), web.namespace_of("net"));
            }
        }
        drop(containerd);
        node.assert_untouched();
    }
}

/// Name and command line of each child of `parent`, as `ps` shows them on the node.
fn shown_below(parent: u32) -> Vec<(u32, String)> {
    let mut ps = Command::new("ps");
    let listed = run(ps.args(["-o", "pid=,comm=,args=", "--ppid", &parent.to_string()])).out();
    let words = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.map(|words| (words[0].parse().expect("a number"), words[1..].join(" "))).collect()
}

#[test]
fn ps_on_the_node_tells_the_processes_of_a_session_apart() {
    with_agent(&Serve::new().in_toolbox(toolbox_tree()), |_, agent, web| {
        let path = "/v1/containers/web-1/exec?command=cat&stdin=true&stdout=true&profile=general";
        let stream = agent.connect(Listener::Unix);
        let mut client = Client::open(stream, path, "v5.channel.k8s.io").expect("a session");
        client.send(0, b"up");
        client.wait_for_stdout("up");
        let mut seen = Vec::new();
        for (child, line) in shown_below(agent.pid()) {
            let below = shown_below(child);
            // Another helper and its relay wait for the next session.
            if line.contains("relay") || below.len() > 1 {
                seen.push(line);
                seen.extend(below.into_iter().map(|(_, line)| line));
            }
        }
        seen.sort();
        seen.dedup();
        let expected = [
            "nsdebug-broker nsdebug-broker",
            "nsdebug-helper nsdebug-helper",
            "nsdebug-relay nsdebug-relay",
            "nsdebug-supervi nsdebug-supervisor",
        ];
        assert_eq!(seen, expected);
        client.close_stdin();
        client.finish();
        assert_alone(web);
    });
}

#[test]
fn the_exit_code_is_the_tools() {
    with_agent(&Serve::new(), |_, agent, web| {
        let cases: [(&[&str], i32); 7] = [
            (&["true"], 0),
            (&["sh", "-c", "exit 7"], 7),
            (&["sh", "-c", "exit 255"], 255),
            (&["/etc/hostname"], 126),
            (&["no-such-tool"], 127),
            (&["sh", "-c", "kill -9 $$"], 137),
            (&["sh", "-c", "kill -15 $$"], 143),
        ];
        for (command, code) in cases {
            let done = run(&mut agent.exec("web-1", command)).expect_code(code);
            assert_eq!(done.out(), "", "{done}");
        }
        assert_alone(web);
    });
}

#[test]
fn streams_are_bytes_and_stdin_ends() {
    with_agent(&Serve::new().with_tls(), |_, agent, _| {
        let all: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
        for listener in Listener::ALL {
            let mut plugin = agent.plugin(listener);
            plugin.args(["-i", "container/web-1", "--", "sh", "-c", "cat; echo end >&2"]);
            let mut cat = Running::start(&mut plugin);
            assert!(cat.write(&all), "the plugin reads its stdin");
            let done = cat.finish().expect_success();
            assert!(done.stdout == all, "{} bytes came back, changed", done.stdout.len());
            assert_eq!(done.err(), "end\n");
            // A tool that does not want its input is not held up by it.
            let mut plugin = agent.plugin(listener);
            plugin.args(["-i", "container/web-1", "--", "head", "-c", "3"]);
            let mut head = Running::start(&mut plugin);
            head.write(&all);
            assert_eq!(head.finish().expect_success().stdout, [0, 1, 2]);
        }
    });
}

#[test]
fn an_argument_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    with_agent(&Serve::new(), |_, agent, _| {
        let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe \n&=%+");
        let done = run(agent.exec("web-1", &["printf", "%s"]).arg(odd)).expect_success();
        assert_eq!(done.stdout, odd.as_bytes());
    });
}

/// The plugin with a terminal, in a shell that shows when it is over and then waits for Enter.
fn at_terminal(agent: &Agent, command: &[&str]) -> Terminal {
    let mut plugin = agent.plugin(Listener::Unix);
    plugin.args(["-it", "container/web-1", "--"]).args(command);
    let mut shell = Command::new("sh");
    let script = "echo ready; read line; \"$@\"; echo over:$?; read line";
    shell.args(["-c", script, "sh"]).arg(plugin.get_program()).args(plugin.get_args());
    shell.env("TERM", "xterm");
    Terminal::start(&shell, 24, 80)
}

#[test]
fn an_editor_works_and_the_terminal_is_itself_again() {
    with_agent(&Serve::new(), |containerd, agent, _| {
        let file = containerd.path().join("poem.txt");
        std::fs::write(&file, "one\ntwo\nthree\n").expect("a file in an own folder");
        let path = file.to_str().expect("a plain path");
        let mut terminal = at_terminal(&agent, &["vi", "-u", "NONE", path]);
        terminal.wait_for("ready");
        let before = terminal.settings();
        terminal.press("\r");
        terminal.wait_for("three");
        assert!(terminal.settings().contains("-icanon"), "keys pass one by one");
        // Two lines down by cursor keys, change a word, write.
        terminal.press("\x1b[B\x1b[Bcwfour\x1b");
        terminal.wait_for("four");
        terminal.press(":wq\r");
        terminal.wait_for("over:0");
        assert_eq!(terminal.settings(), before);
        assert_eq!(std::fs::read_to_string(&file).expect("the file"), "one\ntwo\nfour\n");
        terminal.press("\r");
        terminal.finish();
    });
}

#[test]
fn a_terminal_has_its_size_and_its_ctrl_c() {
    with_agent(&Serve::new(), |_, agent, web| {
        // Without a trap, a shell goes on where its child ends by itself in the moment of the key.
        let script = "trap 'stty size' WINCH; trap 'exit 130' INT; stty size; \
                      while :; do sleep 0.05; done";
        let mut terminal = at_terminal(&agent, &["bash", "-c", script]);
        terminal.wait_for("ready");
        let before = terminal.settings();
        terminal.press("\r");
        terminal.wait_for("24 80");
        terminal.resize(40, 120);
        terminal.wait_for("40 120");
        terminal.press("\x03");
        terminal.wait_for("over:130");
        terminal.resize(24, 80);
        assert_eq!(terminal.settings(), before);
        terminal.press("\r");
        terminal.finish();
        assert_alone(web);
    });
}

#[test]
fn a_terminal_is_itself_again_when_the_agent_is_killed() {
    on_quiet_node(&Serve::new(), |containerd, agent, _| {
        let mut terminal = at_terminal(&agent, &["sh", "-c", "echo up; exec sleep 600"]);
        terminal.wait_for("ready");
        let before = terminal.settings();
        terminal.press("\r");
        terminal.wait_for("up");
        agent.signal(Signal::KILL);
        terminal.wait_for("over:125");
        assert_eq!(terminal.settings(), before);
        terminal.press("\r");
        terminal.finish();
        succeed(containerd);
    });
}

/// The next agent, which removes the empty control groups of one that could not.
fn succeed(containerd: &Containerd) {
    drop(Serve::new().start(containerd));
}

/// A session that writes without end, with something that would outlive it.
fn endless(agent: &Agent) -> Running {
    let script = "echo up; (setsid sleep 600 &); exec yes";
    let session = Running::start(&mut agent.exec("web-1", &["sh", "-c", script]));
    session.wait_for_stdout("y\ny\n");
    session
}

#[test]
fn an_agent_that_is_killed_is_reported_and_leaves_nothing() {
    on_quiet_node(&Serve::new(), |containerd, agent, web| {
        let session = endless(&agent);
        assert!(web.processes().len() > 1, "the session is in the container");
        agent.signal(Signal::KILL);
        let done = session.finish().expect_code(125);
        let said = done.err();
        assert!(said.contains("closed the connection") || said.contains("was lost"), "{said}");
        assert!(said.contains("output may be missing"), "{said}");
        assert_alone(web);
        succeed(containerd);
    });
}

#[test]
fn a_plugin_that_is_killed_takes_its_session_along() {
    on_quiet_node(&Serve::new(), |_, agent, web| {
        let session = endless(&agent);
        session.signal(Signal::KILL);
        session.finish().expect_code(137);
        assert_alone(web);
        until("the agent to have no child", GONE_LIMIT, || agent.has_no_session());
        run(&mut agent.exec("web-1", &["true"])).expect_success();
    });
}

#[test]
fn a_target_that_dies_ends_the_session_and_says_so() {
    on_quiet_node(&Serve::new(), |_, agent, web| {
        let session =
            Running::start(&mut agent.exec("web-1", &["sh", "-c", "echo up; exec sleep 600"]));
        session.wait_for_stdout("up");
        web.stop();
        let done = session.finish().expect_code(137);
        assert!(done.err().contains("the target exited"), "{done}");
        until("the agent to have no child", GONE_LIMIT, || agent.has_no_session());
    });
}

#[test]
fn a_target_that_dies_ends_a_tool_whose_output_nobody_takes() {
    on_quiet_node(&Serve::new(), |_, agent, web| {
        // Out of the target's pid namespace, whose end does not end the tool.
        let mut plugin = agent.plugin(Listener::Unix);
        plugin.args(["--namespaces", "net", "container/web-1", "--", "yes"]);
        let mut plugin = plugin.stdout(Stdio::piped()).spawn().expect("the plugin starts");
        Process::open(plugin.id()).expect("it runs").wait_until_idle(GONE_LIMIT);
        assert!(!agent.has_no_session());
        web.stop();
        until("the tool to be gone", GONE_LIMIT, || agent.has_no_tool());
        let mut output = plugin.stdout.take().expect("stdout is a pipe");
        std::io::copy(&mut output, &mut std::io::sink()).expect("the rest can be read");
        assert_eq!(plugin.wait().expect("an own child can be waited for").code(), Some(137));
        until("nothing to be left", GONE_LIMIT, || agent.has_no_session());
    });
}

#[test]
fn an_agent_that_stops_lets_sessions_finish_and_takes_no_new_ones() {
    with_agent(&Serve::new(), |_, agent, _| {
        let mut plugin = agent.plugin(Listener::Unix);
        let mut cat = Running::start(plugin.args(["-i", "container/web-1", "--", "cat"]));
        assert!(cat.write(b"before"));
        cat.wait_for_stdout("before");
        agent.signal(Signal::TERM);
        let answer = agent.wait_for("/readyz", 503);
        assert!(answer.message().contains("is shutting down"), "{answer:?}");
        let refused = refused(&mut agent.exec("web-1", &["true"]), 125);
        assert!(refused.err().contains("accepts no new sessions"), "{refused}");
        assert!(cat.write(b" after"));
        cat.wait_for_stdout("before after");
        cat.finish().expect_success();
        let log = agent.wait_for_end();
        assert!(log.contains("stopped"), "{log}");
        assert!(!agent.socket().exists(), "the socket is removed");
    });
}

#[test]
fn a_session_that_outlives_the_grace_is_ended_with_the_reason() {
    on_quiet_node(&Serve::new().option("--grace", "1"), |_, agent, web| {
        let session = endless(&agent);
        let path = "/v1/containers/web-1/exec?command=sleep&command=600&stdout=true";
        let raw = Client::open(agent.connect(Listener::Unix), path, "v5.channel.k8s.io");
        agent.signal(Signal::TERM);
        let done = session.finish().expect_code(125);
        assert!(done.err().contains("the agent is shutting down"), "{}", done.err());
        let heard = raw.expect("a session").finish();
        assert_eq!(heard.close, Some((1011, "the agent is shutting down".to_owned())), "{heard:?}");
        assert_eq!(heard.status, None);
        agent.wait_for_end();
        assert_alone(web);
    });
}

#[test]
fn containerd_may_come_late_and_go_for_a_while() {
    if lacks(Version::chosen()) {
        return;
    }
    let node = QuietNode::wait();
    let mut containerd = Containerd::start_in(Scratch::on(&node), Version::chosen());
    // The guard would end the container, and it borrows what is restarted; the scratch folder ends it.
    std::mem::forget(containerd.run(&RunSpec::new("web-1")));
    containerd.stop();
    let agent = Serve::new().start_unready(&containerd);
    let socket = containerd.socket().display().to_string();
    for _ in 0..2 {
        let answer = agent.wait_for("/readyz", 503);
        assert!(answer.message().contains(&socket), "{answer:?}");
        let refused = refused(&mut agent.exec("web-1", &["true"]), 125);
        assert!(refused.err().contains(&socket), "{refused}");
        containerd.restart();
        agent.wait_for("/readyz", 200);
        run(&mut agent.exec("web-1", &["true"])).expect_success();
        containerd.stop();
    }
    drop(agent);
    drop(containerd);
    node.assert_untouched();
}
