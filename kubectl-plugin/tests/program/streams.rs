//! Bytes in both directions, and everything on this side that can end a session.

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use futures_util::SinkExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio_tungstenite::tungstenite::Message;
use wire::Exit;
use wire::frame::{self, Channel};

use crate::scripted::{Agent, Said};

#[test]
fn the_end_of_stdin_reaches_the_tool_and_its_answer_comes_back() {
    let input: Vec<u8> = (0..3 << 20).map(|n: u32| (n % 251) as u8).collect();
    let expected = input.clone();
    let agent = Agent::new(move |mut session| async move {
        assert!(session.hear_stdin().await == expected);
        session.end(Exit::Code(0), b"done", b"").await;
    });
    let mut command = agent.command(&["-i", "web", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program");
    child.stdin.take().expect("stdin").write_all(&input).expect("a reader");
    let left = agent.finish(child);
    assert_eq!((left.code, &left.stdout[..]), (0, &b"done"[..]));
}

#[test]
fn a_tool_that_echoes_while_it_is_fed_does_not_block_itself() {
    let input = vec![b'x'; 8 << 20];
    let agent = Agent::new(move |mut session| async move {
        let mut echoed = 0;
        // Nothing more is heard until what was heard is said.
        while let Some(Said::Stdin(bytes)) = session.hear().await {
            session.say(Channel::Stdout, &bytes).await;
            echoed += bytes.len() as u64;
        }
        session.status(Exit::Code(0), echoed, 0).await;
        session.close(1000, "").await;
    });
    let mut command = agent.command(&["-i", "web", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("stdin");
    let length = input.len();
    let feed = std::thread::spawn(move || stdin.write_all(&input).expect("a reader"));
    let left = agent.finish(child);
    feed.join().expect("all fed");
    assert_eq!((left.code, left.stdout.len()), (0, length));
}

#[test]
fn the_end_of_stdin_does_not_end_a_session_of_v4() {
    let agent = Agent::speaking("v4.channel.k8s.io", |mut session| async move {
        assert_eq!(session.hear().await, Some(Said::Stdin(b"abc".to_vec())));
        session.end(Exit::Code(0), b"", b"").await;
    });
    let mut command = agent.command(&["-i", "web", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program");
    child.stdin.take().expect("stdin").write_all(b"abc").expect("a reader");
    assert_eq!(agent.finish(child).code, 0);
}

#[test]
fn a_stalled_reader_holds_back_the_agent_and_loses_nothing() {
    const PIECES: u64 = 4096;
    let piece = vec![b'x'; wire::limits::FRAME - 1];
    let total = PIECES * piece.len() as u64;
    let (stalled, wait_for_stall) = mpsc::sync_channel(1);
    let agent = Agent::new(move |mut session| async move {
        let message = Message::Binary(frame::encode(Channel::Stdout, &piece).into());
        for _ in 0..PIECES {
            let mut sending = session.socket.send(message.clone());
            // Only says when to begin to read: a wrong guess makes the test easier, never fail.
            if tokio::time::timeout(Duration::from_millis(500), &mut sending).await.is_err() {
                let _ = stalled.try_send(());
                sending.await.expect("a listener");
            }
        }
        drop(stalled);
        session.status(Exit::Code(0), total, 0).await;
        session.close(1000, "").await;
    });
    let mut child = agent.command(&["web", "--", "yes"]).spawn().expect("the program");
    wait_for_stall.recv().expect("all of it was taken without a reader");
    let memory = memory_peak(child.id());
    let mut stdout = child.stdout.take().expect("stdout");
    let read = std::io::copy(&mut stdout, &mut std::io::sink()).expect("output");
    assert_eq!((agent.finish(child).code, read), (0, total));
    assert!(memory < 48 << 20, "{memory} bytes");
}

/// The most memory that a process ever had, in bytes.
fn memory_peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

#[test]
fn a_reader_that_goes_away_ends_the_session_quietly() {
    let agent = Agent::new(|mut session| async move {
        let message = Message::Binary(frame::encode(Channel::Stdout, b"y\n").into());
        while session.socket.send(message.clone()).await.is_ok() {}
    });
    let mut child = agent.command(&["web", "--", "yes"]).spawn().expect("the program");
    let mut line = [0; 2];
    let mut stdout = child.stdout.take().expect("stdout");
    stdout.read_exact(&mut line).expect("a line");
    drop(stdout);
    let left = agent.finish(child);
    assert_eq!((left.code, &*left.stderr), (141, ""));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let agent = Agent::new(|mut session| async move {
        session.say(Channel::Stdout, b"abc").await;
        assert_eq!(session.hear().await, Some(Said::Close(1001)));
    });
    let mut command = agent.command(&["web", "--", "ps"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let left = agent.finish(command.stdout(full).spawn().expect("the program"));
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("No space left on device"), "{}", left.stderr);
}

#[test]
fn a_session_past_its_time_is_ended_and_said() {
    let agent = Agent::new(|mut session| async move {
        assert_eq!(session.hear().await, Some(Said::Close(1001)));
    });
    let left = agent.run(&["--timeout", "50ms", "web", "--", "sleep", "9"]);
    assert_eq!(left.code, 125);
    assert_eq!(left.stderr, "error: the session was ended after 50ms (--timeout)\n");
}

#[test]
fn the_time_limit_holds_while_nobody_reads() {
    let agent = Agent::new(|mut session| async move {
        let message = Message::Binary(frame::encode(Channel::Stdout, &vec![b'x'; 60_000]).into());
        while session.socket.send(message.clone()).await.is_ok() {}
    });
    let mut child = agent.command(&["--timeout", "300ms", "web", "--", "yes"]).spawn().expect("it");
    let unread = child.stdout.take();
    assert_eq!(agent.finish(child).code, 125);
    drop(unread);
}

#[test]
fn ctrl_c_without_a_terminal_ends_the_session() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let agent = Agent::new(|mut session| async move {
            session.say(Channel::Stdout, b"ready").await;
            assert_eq!(session.hear().await, Some(Said::Close(1001)));
        });
        let mut child = agent.command(&["web", "--", "sleep", "9"]).spawn().expect("the program");
        child.stdout.as_mut().expect("stdout").read_exact(&mut [0; 5]).expect("it has begun");
        kill_process(Pid::from_child(&child), signal).expect("a signal");
        let left = agent.finish(child);
        assert_eq!((left.code, &*left.stderr), (code, ""));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program under test, below nohup")]
fn a_signal_that_our_parent_ignores_does_not_end_the_session() {
    let (go_on, told) = mpsc::sync_channel(1);
    let agent = Agent::new(move |mut session| async move {
        session.say(Channel::Stdout, b"ready").await;
        told.recv().expect("a signal sent");
        session.status(Exit::Code(0), 5, 0).await;
        session.close(1000, "").await;
    });
    let command = agent.command(&["web", "--", "sleep", "9"]);
    // What `nohup` does.
    let mut nohup = std::process::Command::new("/bin/sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    nohup.arg(command.get_program()).args(command.get_args());
    nohup.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = nohup.spawn().expect("the program");
    child.stdout.as_mut().expect("stdout").read_exact(&mut [0; 5]).expect("it has begun");
    kill_process(Pid::from_child(&child), Signal::HUP).expect("a signal");
    go_on.send(()).expect("a listener");
    assert_eq!(agent.finish(child).code, 0);
}

#[test]
fn a_terminal_that_is_missing_is_warned_about_and_done_without() {
    let agent = Agent::new(|mut session| async move {
        assert!(!session.asked.contains("tty"), "{}", session.asked);
        session.end(Exit::Code(0), b"", b"").await;
    });
    let left = agent.run(&["-t", "web", "--", "top"]);
    assert_eq!(left.code, 0);
    assert!(left.stderr.starts_with("warning: ") && left.stderr.contains("not a terminal"));
}
