//! Exit codes and last words: what is made of the ways in which an agent can end a session.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use wire::frame::Channel;
use wire::{Ending, Exit, Status};

use crate::scripted::{Agent, Said};

#[test]
fn output_and_exit_code_are_the_tools_own() {
    let agent = Agent::new(|mut session| async move {
        assert!(session.asked.starts_with(
            "GET /v1/namespaces/shop/pods/web/exec?container=app&command=ps&command=-ef&stdout=true&stderr=true "
        ));
        session.end(Exit::Code(7), b"\x1b[1mout\0", b"err").await;
    });
    let left = agent.run(&["pod/web", "-n", "shop", "-c", "app", "--", "ps", "-ef"]);
    assert_eq!((left.code, &left.stdout[..], &*left.stderr), (7, &b"\x1b[1mout\0"[..], "err"));
}

#[test]
fn a_tool_killed_by_a_signal_exits_as_a_shell_says_it() {
    let agent = Agent::new(|mut session| async move {
        session.end(Exit::Signal(15), b"", b"").await;
    });
    let left = agent.run(&["web", "--", "sleep", "9"]);
    assert_eq!((left.code, &*left.stderr), (143, ""));
}

#[test]
fn why_the_session_ended_is_said_where_the_exit_code_does_not() {
    let agent = Agent::new(|mut session| async move {
        let reason = Some("the target exited".to_owned());
        let ending = Ending { exit: Exit::Signal(9), stdout_bytes: 0, stderr_bytes: 0, reason };
        session.say(Channel::Status, &ending.to_status().to_json()).await;
        session.close(1000, "").await;
    });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!(left.code, 137);
    assert_eq!(left.stderr, "error: command was killed by SIGKILL: the target exited\n");
}

#[test]
fn a_hint_is_a_line_of_its_own_and_none_where_quiet_is_asked_for() {
    for (flags, said) in [(&[][..], "hint: --profile netadmin allows it\n"), (&["-q"], "")] {
        let agent = Agent::new(|mut session| async move {
            let exit = Exit::Code(2);
            let ending = Ending { exit, stdout_bytes: 0, stderr_bytes: 0, reason: None };
            let status = ending.to_status().with_hint("--profile netadmin allows it");
            session.say(Channel::Status, &status.to_json()).await;
            session.close(1000, "").await;
        });
        let left = agent.run(&[flags, &["web", "--", "ip", "link", "add"]].concat());
        assert_eq!((left.code, &*left.stderr), (2, said));
    }
}

#[test]
fn arguments_that_are_not_utf8_arrive_as_they_are() {
    let agent = Agent::new(|mut session| async move {
        assert!(session.asked.contains("command=echo&command=%FF%FE"), "{}", session.asked);
        session.end(Exit::Code(0), b"", b"").await;
    });
    let mut command = agent.command(&["web", "--", "echo"]);
    command.arg(OsStr::from_bytes(b"\xff\xfe"));
    let child = command.spawn().expect("the program");
    assert_eq!(agent.finish(child).code, 0);
}

#[test]
fn output_that_breaks_off_is_a_failure() {
    let agent = Agent::new(|mut session| async move {
        session.say(Channel::Stdout, b"half").await;
    });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!((left.code, &left.stdout[..]), (125, &b"half"[..]));
    assert!(left.stderr.contains("closed the connection"), "{}", left.stderr);
    assert!(left.stderr.contains("hint: output may be missing"), "{}", left.stderr);
}

#[test]
fn a_count_that_differs_is_a_failure() {
    let agent = Agent::new(|mut session| async move {
        session.say(Channel::Stdout, b"abc").await;
        session.status(Exit::Code(0), 4, 0).await;
        session.close(1000, "").await;
    });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!((left.code, &left.stdout[..]), (125, &b"abc"[..]));
    assert!(left.stderr.contains("wrote 4 bytes to stdout, and 3 arrived"), "{}", left.stderr);
}

#[test]
fn a_clean_close_without_a_status_is_a_failure() {
    let agent = Agent::new(|mut session| async move { session.close(1000, "").await });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("without an exit code"), "{}", left.stderr);
}

#[test]
fn the_reason_of_an_abort_is_said_without_its_escapes() {
    let agent = Agent::new(|mut session| async move {
        session.close(1011, "shutting\u{1b}[2J down\u{9b}31m").await;
    });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("(close code 1011): shutting[2J down31m\n"), "{}", left.stderr);
}

#[test]
fn a_failure_of_the_agent_is_ours_and_said() {
    let agent = Agent::new(|mut session| async move {
        let status = Status::refusal(500, "InternalError", "cannot \u{1b}]0;x\u{7}fork");
        session.say(Channel::Status, &status.to_json()).await;
        session.close(1000, "").await;
    });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!((left.code, &*left.stderr), (125, "error: the session failed: cannot ]0;xfork\n"));
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    let agent = Agent::new(|mut session| async move {
        session.socket.send(Message::text("hello")).await.expect("a listener");
        assert_eq!(session.hear().await, Some(Said::Close(1002)));
    });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("a text message"), "{}", left.stderr);
}

#[test]
fn a_message_past_the_limit_is_a_failure() {
    let agent = Agent::new(|mut session| async move {
        let message = vec![1; wire::limits::INBOUND_MESSAGE + 1];
        // The client may be gone before all of it is out.
        let _ = session.socket.send(Message::Binary(message.into())).await;
        while let Some(Ok(_)) = session.socket.next().await {}
    });
    let left = agent.run(&["web", "--", "ps"]);
    assert_eq!((left.code, left.stdout.len()), (125, 0));
    assert!(left.stderr.contains("the connection to the agent was lost: "), "{}", left.stderr);
}
