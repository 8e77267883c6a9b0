//! Tools that sleep in the kernel with a lock that their agent might want, and tools that say what is not so: only
//! their own session is held up, and it is over when its processes are.

use std::process::Command;
use std::time::Duration;

use harness::{
    Agent, Client, Container, Containerd, Listener, Process, QuietNode, Requirement, RunSpec,
    Running, Scratch, Serve, Version, agent, built, run, skip, toolbox_tree, until, until_some,
};
use rustix::process::Signal;

/// The machine may be busy; what hangs does so for ever.
const LIMIT: Duration = Duration::from_secs(30);

/// An agent with a hostile tool in its toolbox.
struct Site<'a> {
    agent: Agent,
    containerd: &'a Containerd,
    web: &'a Container<'a>,
}

/// On a node that is compared before and after.
fn on_site(options: &[[&str; 2]], check: impl FnOnce(Site<'_>)) {
    if skip([Requirement::containerd(Version::chosen())]) {
        return;
    }
    let node = QuietNode::wait();
    {
        let containerd = Containerd::start_in(Scratch::on(&node), Version::chosen());
        let tree = containerd.path().join("tools");
        run(Command::new("cp").arg("-a").arg(toolbox_tree()).arg(&tree)).expect_success();
        let hanger = tree.join("usr/bin/hanger");
        std::fs::copy(built("hanger"), &hanger).expect("a copy");
        let probe = containerd.path().join("probe");
        std::fs::create_dir(&probe).expect("a folder in an own folder");
        std::fs::copy(&hanger, probe.join("hanger")).expect("a copy");
        let mount = format!("type=bind,src={},dst=/probe,options=rbind:ro", probe.display());
        let web = containerd.run(&RunSpec::new("web-1").option(&["--mount", &mount]));
        let serve = Serve::new().in_toolbox(&tree).option("--max-sessions-per-caller", "64");
        let serve = options.iter().fold(serve, |serve, [name, value]| serve.option(name, value));
        let agent = serve.start(&containerd);
        check(Site { agent, containerd: &containerd, web: &web });
    }
    node.assert_untouched();
}

impl Site<'_> {
    /// A session of the hostile tool, whose output nobody takes yet.
    fn hang(&self, profile: &str, mode: &str) -> Client {
        let how = if ["drain", "typed"].contains(&mode) { "tty=1" } else { "stderr=1" };
        let path = format!(
            "/v1/containers/web-1/exec?command=hanger&command={mode}&stdin=1&stdout=1&{how}&profile={profile}"
        );
        let stream = self.agent.connect(Listener::Unix);
        Client::open(stream, &path, "v5.channel.k8s.io").expect("a session")
    }

    /// Another person's session: it opens, works and ends.
    fn assert_others_work(&self) {
        let plugin = || self.agent.plugin(Listener::Unix);
        let said = run(plugin().args(["-i", "container/web-1", "--", "echo", "works"]));
        assert_eq!(said.expect_success().out(), "works\n");
    }

    fn tell(&self, words: &[&str]) -> harness::Finished {
        let address = format!("unix:{}", self.agent.socket().display());
        run(agent().args(words).args(["--agent", &address]))
    }

    fn sessions(&self) -> Vec<String> {
        let list = self.tell(&["sessions", "-o", "json"]).expect_success();
        let list: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout).expect("a list");
        list.iter().map(|session| session["id"].as_str().expect("an ID").to_owned()).collect()
    }
}

fn hangers() -> Vec<u32> {
    let numbers = std::fs::read_dir("/proc").expect("a /proc").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A zombie is one no more.
    let is_one = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.contains(" (hanger) ") && !stat.contains(") Z "))
    };
    numbers.filter(is_one).collect()
}

/// Those that are in a call which keeps a pipe's lock.
fn locked() -> Vec<u32> {
    let in_call = |pid: &u32| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        threads.flatten().any(|thread| {
            let call = std::fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
            ["275 ", "40 "].iter().any(|number| call.starts_with(number))
        })
    };
    hangers().into_iter().filter(in_call).collect()
}

/// Waits until `count` tools sleep in `splice` or `sendfile`, and so have their locks.
fn wait_for_locks(count: usize) {
    until("the locks to be taken", LIMIT, || locked().len() >= count);
}

/// Those relays that nothing can interrupt.
fn held_up(agent: &Agent) -> Vec<u32> {
    let is_held = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('D')))
    };
    agent.relays().into_iter().filter(is_held).collect()
}

/// Takes what a client is sent, until its session ends.
fn listen(client: Client) -> std::thread::JoinHandle<harness::Heard> {
    std::thread::spawn(move || client.finish())
}

fn heard(listening: std::thread::JoinHandle<harness::Heard>) -> harness::Heard {
    until("the end of a session", LIMIT, || listening.is_finished());
    listening.join().expect("it listens")
}

#[test]
fn twenty_sessions_that_do_their_worst_hold_up_nobody_else() {
    on_site(&[], |site| {
        let modes = ["splice", "sendfile", "reopen", "splice", "sendfile", "reopen"];
        let mut clients: Vec<_> =
            modes.into_iter().map(|mode| site.hang("restricted", mode)).collect();
        clients.extend((0..6).map(|_| {
            let mut client = site.hang("baseline", "stdin");
            client.wait_for_stdout("waits");
            client.send(0, &vec![b'x'; 60_000]);
            client
        }));
        // The kernel may refuse one of them the room that it needs.
        wait_for_locks(11);
        for client in &mut clients[6..] {
            client.send(0, &vec![b'x'; 60_000]);
        }
        // Only now: these take whatever processor there is.
        clients.extend((0..4).map(|_| site.hang("restricted", "drain")));
        clients.extend((0..4).map(|_| {
            let mut client = site.hang("restricted", "typed");
            client.wait_for_stdout("waits");
            for _ in 0..20 {
                client.send(0, &vec![b'x'; 60_000]);
                client.send(4, br#"{"Width":80,"Height":24}"#);
            }
            client
        }));
        assert_eq!(clients.len(), 20);
        let listening: Vec<_> = clients.into_iter().map(listen).collect();
        until("relays to be held up", LIMIT, || held_up(&site.agent).len() >= 8);
        for _ in 0..5 {
            site.assert_others_work();
        }
        let sessions = site.sessions();
        assert_eq!(sessions.len(), 20);
        for id in &sessions[..10] {
            site.tell(&["kill", id]).expect_success();
        }
        assert_eq!(site.sessions().len(), 10);
        site.assert_others_work();
        site.agent.signal(Signal::TERM);
        site.agent.signal(Signal::INT);
        site.agent.wait_for_end();
        for client in listening {
            assert_eq!(heard(client).status, None, "cut, and not ended");
        }
        until("every tool to be gone", LIMIT, || hangers().is_empty());
    });
}

/// What a process has open: pipes, sockets and files by their links.
fn open_by(pid: u32) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    links
        .filter_map(|link| std::fs::read_link(link.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn what_a_tool_can_lock_only_its_relay_holds_and_a_relay_only_moves_bytes() {
    on_site(&[], |site| {
        for mode in ["stdin", "typed"] {
            let mut client = site.hang("general", mode);
            client.wait_for_stdout("waits");
            let tool = hangers()[0];
            let shared: Vec<_> = open_by(tool)
                .into_iter()
                .filter(|open| open.starts_with("pipe:") || open.starts_with("/dev/p"))
                .collect();
            assert!(!shared.is_empty(), "{:?}", open_by(tool));
            let relay = until_some("the relay", LIMIT, || {
                let holds = |pid: &u32| shared.iter().all(|open| holds(*pid, open));
                site.agent.relays().into_iter().find(holds)
            });
            let others = site.agent.children().into_iter().filter(|pid| *pid != relay);
            for pid in others.chain([site.agent.pid()]) {
                let open = open_by(pid);
                assert!(!shared.iter().any(|one| holds(pid, one)), "{pid}: {shared:?} {open:?}");
            }
            let status = std::fs::read_to_string(format!("/proc/{relay}/status")).expect("it runs");
            for line in ["CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
                assert!(status.contains(line), "no {line}: {status}");
            }
            for open in open_by(relay) {
                let known = ["pipe:", "socket:", "/dev/null", "/dev/ptmx", "/dev/pts/ptmx"];
                assert!(known.iter().any(|known| open.starts_with(known)), "{open}");
            }
            let pids =
                |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).expect("it runs");
            assert!(pids(relay) == pids(site.agent.pid()) && pids(relay) != pids(tool));
            site.tell(&["kill", &site.sessions()[0]]).expect_success();
            heard(listen(client));
            until("the tool to be gone", LIMIT, || hangers().is_empty());
        }
    });
}

/// A pipe, or the terminal whose other side is that.
fn holds(pid: u32, open: &str) -> bool {
    let all = open_by(pid);
    if open.starts_with("pipe:") {
        return all.iter().any(|one| one == open);
    }
    all.iter().any(|one| one.ends_with("ptmx") || one == open)
}

#[test]
fn a_descriptor_that_a_session_sends_holds_up_nobody_who_drops_it() {
    on_site(&[], |site| {
        let mut client = site.hang("general", "message");
        client.wait_for_stdout("sent");
        let heard = heard(listen(client));
        assert_eq!(heard.cause("Signal"), Some("9"), "it spoke out of turn: {heard:?}");
        site.assert_others_work();
        until("nothing to be left", LIMIT, || site.agent.has_no_session());
    });
}

#[test]
fn an_agent_that_is_killed_ends_and_its_hostile_tool_with_it() {
    on_site(&[], |site| {
        let clients = [site.hang("restricted", "splice"), site.hang("restricted", "reopen")];
        wait_for_locks(2);
        let listening = clients.map(listen);
        until("the relays to be held up", LIMIT, || held_up(&site.agent).len() == 2);
        let process = Process::open(site.agent.pid()).expect("it runs");
        site.agent.signal(Signal::KILL);
        assert!(process.wait(LIMIT), "the agent does not end");
        until("the tools to be gone", LIMIT, || hangers().is_empty());
        for client in listening {
            heard(client);
        }
        // What is empty by now the next one removes.
        let serve = Serve::new().in_toolbox(&site.containerd.path().join("tools"));
        drop(serve.start(site.containerd));
    });
}

#[test]
fn a_hostile_session_has_its_limits() {
    on_site(&[["--session-limit", "5s"]], |site| {
        let client = site.hang("restricted", "splice");
        wait_for_locks(1);
        let heard = heard(listen(client));
        let (code, reason) = heard.close.expect("a close");
        assert!(code == 1011 && reason.contains("--session-limit"), "{code} {reason}");
        until("the tool to be gone", LIMIT, || hangers().is_empty() && site.agent.has_no_session());
    });
}

#[test]
fn output_that_a_process_of_the_target_keeps_is_said_to_be_incomplete() {
    on_site(&[], |site| {
        let mut inside = site.containerd.ctr_command(site.web.namespace());
        inside.args([
            "task",
            "exec",
            "--exec-id",
            "accomplice",
            "web-1",
            "/probe/hanger",
            "accomplice",
        ]);
        let accomplice = Running::start(&mut inside);
        accomplice.wait_for_stdout("listening");
        let client = site.hang("restricted", "hand");
        wait_for_locks(1);
        let listening = listen(client);
        until("the relay to be held up", LIMIT, || held_up(&site.agent).len() == 1);
        let tool = hangers().into_iter().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.ends_with("hand\0"))
        });
        Process::open(tool.expect("the tool")).expect("it runs").signal(Signal::KILL);
        let (code, reason) = heard(listening).close.expect("a close");
        assert!(code == 1011 && reason.contains("may be incomplete"), "{code} {reason}");
        // Over for everybody but the one process that waits, and what counts it.
        until("the end to be written down", LIMIT, || {
            site.agent.log().contains("may be incomplete")
        });
        assert_eq!(site.sessions().len(), 0);
        assert_eq!(held_up(&site.agent).len(), 1);
        site.assert_others_work();
        site.web.stop();
        until("the relay to be gone", LIMIT, || held_up(&site.agent).is_empty());
        accomplice.finish_within(LIMIT);
    });
}

#[test]
fn a_session_that_says_it_has_ended_is_not_over_before_its_processes_are() {
    for mode in ["forge", "exit"] {
        on_site(&[], |site| {
            let listening = listen(site.hang("general", mode));
            until("its processes to be gone", LIMIT, || {
                let gone = hangers().is_empty();
                // As long as there is one, the session is there to be seen and ended.
                assert!(gone || site.sessions().len() == 1 || hangers().is_empty(), "{mode}");
                gone
            });
            let heard = heard(listening);
            if mode == "forge" {
                let (code, reason) = heard.close.clone().expect("a close");
                assert!(code == 1011 && reason.contains("ran on"), "{code} {reason} {heard:?}");
            }
            let written =
                if mode == "forge" { "its processes ran on" } else { "\"event\":\"end\"" };
            until("the end to be written down", LIMIT, || site.agent.log().contains(written));
            until("nothing to be left", LIMIT, || site.agent.has_no_session());
        });
    }
}

#[test]
fn a_terminal_behind_a_relay_is_found_and_opened_by_its_name() {
    on_site(&[], |site| {
        let shell =
            "command=sh&command=-c&command=tty%20%26%26%20echo%20by%20name%20%3E%20%24%28tty%29";
        let path =
            format!("/v1/containers/web-1/exec?{shell}&stdin=1&stdout=1&tty=1&profile=general");
        let stream = site.agent.connect(Listener::Unix);
        let client = Client::open(stream, &path, "v5.channel.k8s.io").expect("a session");
        let heard = heard(listen(client));
        let shown = String::from_utf8_lossy(&heard.stdout).into_owned();
        assert_eq!(shown, "/dev/pts/0\r\nby name\r\n", "{heard:?}");
    });
}
