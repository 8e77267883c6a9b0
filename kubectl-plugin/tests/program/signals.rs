//! Signals to the program, and the end of its time, where the agent can pass them on to the tool.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal as Sent, kill_process};
use wire::frame::Channel;
use wire::{Exit, Signal};

use crate::scripted::{Agent, Said, Session};

/// What a server chooses that knows signals.
const SIGNALS: &str = "v5.channel.nsdebug.dev";

/// The program, once its tool has said so.
fn begun(agent: &Agent, words: &[&str]) -> Child {
    let mut child = agent.command(words).spawn().expect("the program");
    child.stdout.as_mut().expect("stdout").read_exact(&mut [0; 5]).expect("it has begun");
    child
}

fn send(child: &Child, signal: Sent) {
    kill_process(Pid::from_child(child), signal).expect("a signal");
}

/// The end of a tool that has said `ready` and then these last words.
async fn end(session: &mut Session, exit: Exit, words: &str) {
    session.say(Channel::Stderr, words.as_bytes()).await;
    session.status(exit, 5, words.len() as u64).await;
    session.close(1000, "").await;
}

#[test]
fn a_tool_that_is_signalled_has_its_last_words_and_its_own_exit_code() {
    let cases = [
        (Sent::INT, Signal::Int, Exit::Code(0), 0),
        (Sent::TERM, Signal::Term, Exit::Signal(15), 143),
        (Sent::HUP, Signal::Hup, Exit::Code(7), 7),
        (Sent::QUIT, Signal::Quit, Exit::Code(1), 1),
    ];
    for (sent, heard, exit, code) in cases {
        let agent = Agent::speaking(SIGNALS, move |mut session| async move {
            session.say(Channel::Stdout, b"ready").await;
            assert_eq!(session.hear().await, Some(Said::Signal(heard)));
            end(&mut session, exit, "3 packets captured\n").await;
        });
        let child = begun(&agent, &["web", "--", "tcpdump"]);
        send(&child, sent);
        let left = agent.finish(child);
        assert_eq!((left.code, &*left.stderr), (code, "3 packets captured\n"));
    }
}

#[test]
fn a_signal_that_ends_nothing_is_only_passed_on() {
    let agent = Agent::speaking(SIGNALS, |mut session| async move {
        session.say(Channel::Stdout, b"ready").await;
        assert_eq!(session.hear().await, Some(Said::Signal(Signal::Usr1)));
        session.say(Channel::Stdout, b"again").await;
        assert_eq!(session.hear().await, Some(Said::Signal(Signal::Usr2)));
        session.status(Exit::Code(0), 10, 0).await;
        session.close(1000, "").await;
    });
    let mut child = begun(&agent, &["web", "--", "dd"]);
    send(&child, Sent::USR1);
    child.stdout.as_mut().expect("stdout").read_exact(&mut [0; 5]).expect("it goes on");
    send(&child, Sent::USR2);
    assert_eq!(agent.finish(child).code, 0);
}

#[test]
fn a_signal_that_nobody_can_pass_on_does_to_the_program_what_it_does_to_any() {
    let agent = Agent::new(|mut session| async move {
        session.say(Channel::Stdout, b"ready").await;
        assert_eq!(session.hear().await, None);
    });
    let mut child = begun(&agent, &["web", "--", "dd"]);
    send(&child, Sent::USR1);
    let status = child.wait().expect("an exit status");
    assert_eq!(status.signal(), Some(Sent::USR1.as_raw()));
}

#[test]
fn the_second_ctrl_c_ends_the_session_at_once() {
    let agent = Agent::speaking(SIGNALS, |mut session| async move {
        session.say(Channel::Stdout, b"ready").await;
        assert_eq!(session.hear().await, Some(Said::Signal(Signal::Int)));
        session.say(Channel::Stdout, b"heard").await;
        assert_eq!(session.hear().await, Some(Said::Close(1001)));
    });
    let mut child = begun(&agent, &["web", "--", "sleep", "9"]);
    send(&child, Sent::INT);
    child.stdout.as_mut().expect("stdout").read_exact(&mut [0; 5]).expect("it was told");
    // One after another, as from an impatient hand: one at once with the first is taken for the first.
    while child.try_wait().expect("an own child can be waited for").is_none() {
        send(&child, Sent::INT);
        std::thread::yield_now();
    }
    let left = agent.finish(child);
    assert_eq!((left.code, &*left.stderr), (130, ""));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program under test, below timeout")]
fn a_signal_that_comes_twice_at_once_as_from_timeout_is_one() {
    let agent = Agent::speaking(SIGNALS, |mut session| async move {
        session.say(Channel::Stdout, b"ready").await;
        assert_eq!(session.hear().await, Some(Said::Signal(Signal::Term)));
        end(&mut session, Exit::Code(0), "3 packets captured\n").await;
    });
    let command = agent.command(&["web", "--", "tcpdump"]);
    // It ends its child when that has said what it says first.
    let mut timeout = std::process::Command::new("timeout");
    timeout.args(["--preserve-status", "1"]).arg(command.get_program()).args(command.get_args());
    timeout.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let left = agent.finish(timeout.spawn().expect("timeout"));
    assert_eq!((left.code, &*left.stderr), (0, "3 packets captured\n"));
}

#[test]
fn a_tool_is_told_that_its_time_is_up_and_has_its_last_words() {
    let agent = Agent::speaking(SIGNALS, |mut session| async move {
        session.say(Channel::Stdout, b"ready").await;
        assert_eq!(session.hear().await, Some(Said::Signal(Signal::Term)));
        end(&mut session, Exit::Code(0), "3 packets captured\n").await;
    });
    let left = agent.run(&["--timeout", "50ms", "web", "--", "tcpdump"]);
    assert_eq!((left.code, &left.stdout[..]), (125, &b"ready"[..]));
    let said = "3 packets captured\nerror: the session was ended after 50ms (--timeout)\n";
    assert_eq!(left.stderr, said);
}

#[test]
fn a_tool_that_does_not_hear_is_given_up_and_said_to_have_more() {
    let agent = || {
        Agent::speaking(SIGNALS, |mut session| async move {
            session.say(Channel::Stdout, b"ready").await;
            assert!(matches!(session.hear().await, Some(Said::Signal(_))));
            assert_eq!(session.hear().await, Some(Said::Close(1001)));
        })
    };
    let interrupted = agent();
    let child = begun(&interrupted, &["web", "--", "sleep", "9"]);
    send(&child, Sent::INT);
    let late = agent();
    let timed_out = late.command(&["--timeout", "50ms", "web", "--", "sleep", "9"]).spawn();
    let left = interrupted.finish(child);
    let unheard = |name: &str| {
        format!("the tool did not end within 5 s of {name}: its output may be incomplete\n")
    };
    assert_eq!((left.code, left.stderr), (130, format!("error: {}", unheard("SIGINT"))));
    let left = late.finish(timed_out.expect("the program"));
    let said = format!(
        "error: the session was ended after 50ms (--timeout)\nhint: {}",
        unheard("SIGTERM")
    );
    assert_eq!((left.code, left.stderr), (125, said));
}
