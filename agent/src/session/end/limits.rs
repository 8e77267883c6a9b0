//! How long a session may go on.

use std::fmt;
use std::time::Duration;

use wire::TimeSpan;

/// How long a session may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without a byte from the user or the tool.
    pub idle: TimeSpan,
    /// In all.
    pub total: TimeSpan,
    /// In all, where a session is worth the node: a right to it that is forgotten is worth most.
    pub privileged: TimeSpan,
}

impl Lifetime {
    /// How long one may go on in all.
    #[must_use]
    pub fn of(self, privileged: bool) -> Limit {
        let Self { idle: _, total, privileged: shorter } = self;
        if privileged && shorter.duration() < total.duration() {
            Limit { span: shorter, flag: "--privileged-session-limit" }
        } else {
            Limit { span: total, flag: "--session-limit" }
        }
    }
}

/// How long one session may go on, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    span: TimeSpan,
    flag: &'static str,
}

impl Limit {
    pub(super) fn duration(self) -> Duration {
        self.span.duration()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { span, flag } = self;
        write!(f, "{span} ({flag} of the agent)")
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
}
