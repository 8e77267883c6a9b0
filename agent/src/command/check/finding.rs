//! One line of what `check` answers.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Ok,
    Warn,
    Missing,
}

/// One line of the answer.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) what: String,
    /// What was found, and what that means for a session.
    pub(super) text: String,
}

impl Finding {
    pub(super) fn ok(what: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, what: what.into(), text: text.into() }
    }

    pub(super) fn warn(what: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, ..Self::ok(what, text) }
    }

    pub(super) fn missing(what: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Missing, ..Self::ok(what, text) }
    }

    /// What no session can do without.
    pub(super) fn needed<E: fmt::Display>(what: &str, tried: Result<(), E>, without: &str) -> Self {
        match tried {
            Ok(()) => Self::ok(what, ""),
            Err(why) => Self::missing(what, format!("{why}: without it, {without}")),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Ok => "ok",
            Severity::Warn => "warn",
            Severity::Missing => "MISSING",
        };
        let Self { what, text, .. } = self;
        f.write_str(format!("{severity:<8} {what:<22} {text}").trim_end())
    }
}
