//! Sessions that run: only their own relay waits for them.

use std::process::Command;

use harness::{
    Client, Listener, Process, Requirement, Running, Serve, Version, skip, until, until_some,
};
use rustix::process::Signal;

use crate::site::{LIMIT, Site, hangers, heard, held_up, listen, on_site, wait_for_locks};

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

/// The end of a session whose relay a process holds up that is on the node, in the target's network.
fn reason_while_held(mode: &str, options: &[[&str; 2]], end: impl Fn(&Site<'_>)) -> String {
    let mut reason = String::new();
    on_site(options, |site| {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", site.web.pid()));
        inside.arg(site.containerd.path().join("probe/hanger")).arg("accomplice");
        let accomplice = Running::start(&mut inside);
        accomplice.wait_for_stdout("listening");
        let client = site.hang("restricted", mode);
        wait_for_locks(1);
        let listening = listen(client);
        until("the relay to be held up", LIMIT, || held_up(&site.agent).len() == 1);
        end(&site);
        let (code, said) = heard(listening).close.expect("a close");
        assert_eq!(code, 1011, "{said}");
        until("the end to be written down", LIMIT, || site.agent.log().contains(&said));
        assert_eq!(held_up(&site.agent).len(), 1);
        accomplice.signal(Signal::KILL);
        until("the relay to be gone", LIMIT, || held_up(&site.agent).is_empty());
        accomplice.finish_within(LIMIT);
        until("nothing to be left", LIMIT, || site.agent.has_no_session());
        reason = said;
    });
    reason
}

#[test]
fn a_session_that_runs_out_of_memory_says_so_though_its_output_is_held() {
    if skip([Requirement::containerd(Version::chosen())]) {
        return;
    }
    let reason = reason_while_held("greedy", &[["--session-memory", "48Mi"]], |_| {});
    assert!(reason.contains("ran out of memory (limit 48"), "{reason}");
    assert!(reason.ends_with("; the output may be incomplete"), "{reason}");
}

#[test]
fn a_session_whose_target_exits_says_so_though_its_output_is_held() {
    if skip([Requirement::containerd(Version::chosen())]) {
        return;
    }
    let reason = reason_while_held("hand", &[], |site| site.web.stop());
    assert_eq!(reason, "the target exited; the output may be incomplete");
}

#[test]
fn a_session_that_says_it_has_ended_is_not_over_before_its_processes_are() {
    for mode in ["forge", "exit"] {
        on_site(&[], |site| {
            let mut client = site.hang("general", mode);
            client.send(0, b"!");
            let listening = listen(client);
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
