//! What ends a session from outside: its agent's end, somebody's word, idleness, and age.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use entry::Profile;
use tokio::time::sleep_until;

use super::ending::Why;
use super::registry::Registered;
use super::traffic::Traffic;

/// How long a session may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without a byte from the user or the tool.
    pub idle: Span,
    /// In all.
    pub total: Span,
    /// In all, where a session is worth the node: a right to it that is forgotten is worth most.
    pub privileged: Span,
}

impl Lifetime {
    /// How long one may go on in all.
    #[must_use]
    pub fn of(self, privileged: bool) -> Limit {
        let Self { idle: _, total, privileged: shorter } = self;
        if privileged && shorter.0 < total.0 {
            Limit { span: shorter, flag: "--privileged-session-limit" }
        } else {
            Limit { span: total, flag: "--session-limit" }
        }
    }
}

/// How long one session may go on, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    span: Span,
    flag: &'static str,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { span, flag } = self;
        write!(f, "{span} ({flag} of the agent)")
    }
}

/// A length of time as people write it: `90s`, `30m`, `8h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

/// The text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a length of time is a number above 0 with s, m or h, such as 90s, 30m or 8h")]
pub struct BadSpan;

impl Span {
    pub(super) fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
            Some(digits) if text.ends_with('h') => (digits, 3600),
            Some(digits) if text.ends_with('m') => (digits, 60),
            Some(digits) => (digits, 1),
            None => (text, 1),
        };
        // 32 bits: past a century no clock needs to be asked.
        let count: u32 = digits.parse().map_err(|_| BadSpan)?;
        if count == 0 {
            Err(BadSpan)
        } else {
            Ok(Self(Duration::from_secs(u64::from(count) * unit)))
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            seconds if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

/// One session's, from its start.
#[derive(Debug)]
pub struct Care {
    pub registered: Arc<Registered>,
    pub shutdown: Shutdown,
    /// How long it may go on without a byte from the user or the tool.
    pub idle: Span,
    /// How long it may go on in all.
    pub limit: Limit,
    /// What the tool may hold; a terminal shows by itself what was not permitted.
    pub profile: Option<Profile>,
}

impl Care {
    pub(super) fn traffic(&self) -> &Traffic {
        self.registered.traffic()
    }

    /// Completes when the session must end, whatever it is doing.
    pub(super) async fn cut(&self) -> Why {
        let Self { registered, shutdown, idle, limit, profile: _ } = self;
        let traffic = registered.traffic();
        tokio::select! {
            by = registered.ended() => Why::EndedBy(by),
            () = shutdown.ended() => Why::AgentStops,
            () = traffic.idle(idle.0) => Why::Idle(*idle),
            () = sleep_until(traffic.since() + limit.span.0) => Why::TooLong(*limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_the_node_has_the_shorter_limit_and_names_its_flag() {
        let span = |text: &str| text.parse().expect("a span");
        let lifetime = |total, privileged| Lifetime {
            idle: span("30m"),
            total: span(total),
            privileged: span(privileged),
        };
        let said = |lifetime: Lifetime, privileged| lifetime.of(privileged).to_string();
        assert_eq!(said(lifetime("8h", "1h"), false), "8h (--session-limit of the agent)");
        assert_eq!(
            said(lifetime("8h", "1h"), true),
            "1h (--privileged-session-limit of the agent)"
        );
        assert_eq!(said(lifetime("5m", "1h"), true), "5m (--session-limit of the agent)");
    }

    #[test]
    fn a_length_of_time_is_read_as_it_is_written() {
        for (text, written, seconds) in
            [("90s", "90s", 90), ("30m", "30m", 1800), ("8h", "8h", 28_800), ("60", "1m", 60)]
        {
            let span: Span = text.parse().expect(text);
            assert_eq!((span.0.as_secs(), span.to_string().as_str()), (seconds, written));
        }
        for bad in ["", "0", "0h", "h", "-1s", "1d", "1.5h", "30 m", "5000000000s"] {
            assert_eq!(bad.parse::<Span>(), Err(BadSpan), "{bad}");
        }
    }
}
