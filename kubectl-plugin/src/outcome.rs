//! What a session that has ended was worth: the tool's exit code, if all of its output is known to
//! have arrived.
//!
//! Pure: a table from what was received to what is said.

use std::time::Duration;

use tokio_tungstenite::tungstenite;
use wire::{Exit, Signal, Status};

use crate::pump::{BrokenRule, End, Received};
use crate::stop::DRAIN;

/// The number of the signal to a process whose reader has closed the pipe.
const SIGPIPE: u8 = 13;

/// A session that went as it should.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: u8,
    /// What the exit code alone does not say.
    pub(crate) note: Option<String>,
    /// What may help where the tool has failed.
    pub(crate) hint: Option<String>,
}

impl Outcome {
    /// Of a command that is no session.
    pub(crate) fn of(code: u8) -> Self {
        Self { code, note: None, hint: None }
    }

    /// Ended by the signal of this number to this process, as a shell says it.
    pub(crate) fn killed_by(number: u8) -> Self {
        Self::of(Exit::Signal(number).code())
    }

    /// Nobody reads our output any more: the exit code that a shell shows of `yes | head -1`.
    pub(crate) fn closed_pipe() -> Self {
        Self::killed_by(SIGPIPE)
    }

    /// Ended by `signal` to this process, which the tool was sent too and did not end of.
    pub(crate) fn unheard(signal: Signal) -> Self {
        Self { note: Some(unheard(signal)), ..Self::killed_by(signal.number()) }
    }
}

/// What is said of a tool that was told to end.
pub(crate) fn unheard(signal: Signal) -> String {
    let (name, seconds) = (signal.name(), DRAIN.as_secs());
    format!("the tool did not end within {seconds} s of SIG{name}: its output may be incomplete")
}

/// Why a session cannot be trusted to have been complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incomplete {
    #[error(
        "the output is incomplete: the tool wrote {sent} bytes to {stream}, and {arrived} arrived"
    )]
    Short { stream: &'static str, sent: u64, arrived: u64 },
    #[error("the agent did not state how much output there was: some may be missing")]
    Uncounted,
    #[error("the agent's last message cannot be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("the agent ended the session without an exit code (close code {code}){reason}")]
    Closed { code: u16, reason: Reason },
    #[error("the agent, or a server on the way to it, closed the connection during the session")]
    HungUp,
    #[error("the connection to the agent was lost")]
    Lost(#[source] tungstenite::Error),
    #[error("the agent has sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the agent sent an unexpected message")]
    Broken(#[source] BrokenRule),
    /// The agent's own words.
    #[error("the session failed{0}")]
    Failed(Reason),
}

/// Words of the agent, or none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reason(String);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

impl Incomplete {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Short { .. } | Self::Uncounted | Self::Failed(_) => None,
            _ => Some("output may be missing, and it is not known how the tool ended"),
        }
    }
}

/// A Status is the tool's end, whatever happened to the connection after it.
pub(crate) fn judge(received: &Received, end: End) -> Result<Outcome, Incomplete> {
    match &received.status {
        Some(json) => {
            let status = serde_json::from_slice(json).map_err(Incomplete::Unreadable)?;
            judge_status(received, &status)
        }
        None => Err(match end {
            End::Closed { code, reason } => Incomplete::Closed { code, reason: Reason(reason) },
            End::HungUp => Incomplete::HungUp,
            End::Lost(error) => Incomplete::Lost(error),
            End::Silent(patience) => Incomplete::Silent(patience),
            End::Broken(rule) => Incomplete::Broken(rule),
        }),
    }
}

fn judge_status(received: &Received, status: &Status) -> Result<Outcome, Incomplete> {
    let Some(code) = status.exit_code() else {
        return Err(Incomplete::Failed(Reason(status.message.clone())));
    };
    let streams = [
        ("stdout", status.stdout_bytes(), received.stdout),
        ("stderr", status.stderr_bytes(), received.stderr),
    ];
    for (stream, sent, arrived) in streams {
        let sent = sent.ok_or(Incomplete::Uncounted)?;
        if sent != arrived {
            return Err(Incomplete::Short { stream, sent, arrived });
        }
    }
    Ok(Outcome { code, note: note(code, status), hint: status.hint().map(str::to_owned) })
}

/// The message of a status that says more than its exit code does.
fn note(code: u8, status: &Status) -> Option<String> {
    let exit = status.signal().map_or(Exit::Code(code), Exit::Signal);
    let plain = format!("command {exit}");
    let message = &status.message;
    (code != 0 && !message.is_empty() && *message != plain).then(|| message.clone())
}

#[cfg(test)]
mod tests {
    use wire::Ending;

    use super::*;

    fn received(stdout: u64, stderr: u64, status: &Status) -> Received {
        Received { stdout, stderr, status: Some(status.to_json().into()) }
    }

    fn ending(exit: Exit, reason: Option<&str>) -> Status {
        let reason = reason.map(str::to_owned);
        Ending { exit, stdout_bytes: 10, stderr_bytes: 5, reason }.to_status()
    }

    fn closed(code: u16, reason: &str) -> End {
        End::Closed { code, reason: reason.to_owned() }
    }

    fn words(received: &Received, end: End) -> String {
        wire::chain(&judge(received, end).expect_err("incomplete"))
    }

    #[test]
    fn the_exit_code_is_the_tools_own() {
        for (exit, code) in [(Exit::Code(0), 0), (Exit::Code(7), 7), (Exit::Signal(9), 137)] {
            let received = received(10, 5, &ending(exit, None));
            let outcome = judge(&received, closed(1000, "")).expect("complete");
            assert_eq!(outcome, Outcome::of(code));
        }
    }

    #[test]
    fn a_reason_beyond_the_exit_code_is_said() {
        let status = ending(Exit::Signal(9), Some("the target exited"));
        let outcome = judge(&received(10, 5, &status), closed(1000, "")).expect("complete");
        assert_eq!(outcome.code, 137);
        assert_eq!(
            outcome.note.as_deref(),
            Some("command was killed by SIGKILL: the target exited")
        );
    }

    #[test]
    fn a_hint_is_told_beside_the_exit_code_and_is_no_note() {
        let status = ending(Exit::Code(1), None).with_hint("--write makes it writable");
        let outcome = judge(&received(10, 5, &status), closed(1000, "")).expect("complete");
        assert_eq!((outcome.code, outcome.note), (1, None));
        assert_eq!(outcome.hint.as_deref(), Some("--write makes it writable"));
    }

    #[test]
    fn a_status_is_enough_even_if_the_close_is_lost() {
        let received = received(10, 5, &ending(Exit::Code(0), None));
        for end in [End::HungUp, End::Silent(Duration::from_secs(5)), closed(1011, "late")] {
            assert_eq!(judge(&received, end).expect("complete").code, 0);
        }
    }

    #[test]
    fn counts_that_differ_are_a_failure_whatever_the_tool_says() {
        let status = ending(Exit::Code(0), None);
        let text = words(&received(9, 5, &status), closed(1000, ""));
        assert!(text.contains("wrote 10 bytes to stdout, and 9 arrived"), "{text}");
        let text = words(&received(10, 6, &status), closed(1000, ""));
        assert!(text.contains("wrote 5 bytes to stderr, and 6 arrived"), "{text}");
    }

    #[test]
    fn output_that_was_not_counted_is_not_trusted() {
        let status = Status { details: None, ..ending(Exit::Code(0), None) };
        assert!(matches!(
            judge(&received(10, 5, &status), closed(1000, "")),
            Err(Incomplete::Uncounted)
        ));
    }

    #[test]
    fn without_a_status_every_end_is_a_failure() {
        let nothing = Received::default();
        assert!(words(&nothing, closed(1000, "")).contains("without an exit code"));
        let aborted = words(&nothing, closed(1011, "the agent is shutting down"));
        assert!(aborted.ends_with("(close code 1011): the agent is shutting down"), "{aborted}");
        assert!(words(&nothing, End::HungUp).contains("closed the connection"));
        assert!(words(&nothing, End::Silent(Duration::from_mins(1))).contains("for 60 s"));
        assert!(
            words(&nothing, End::Broken(BrokenRule::Text))
                .ends_with("it was a text message, and only binary ones are expected")
        );
    }

    #[test]
    fn a_failure_that_is_not_the_tools_is_ours() {
        let status = Status::refusal(500, "InternalError", "the helper could not start");
        let text = words(&received(0, 0, &status), closed(1000, ""));
        assert_eq!(text, "the session failed: the helper could not start");
    }

    #[test]
    fn a_last_word_that_is_no_status_is_a_failure() {
        let received = Received { status: Some(b"{".as_slice().into()), ..Received::default() };
        assert!(words(&received, closed(1000, "")).contains("cannot be read"));
    }
}
