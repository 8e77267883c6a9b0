//! `metav1.Status`: the body of a refusal, and the last word of a session.
//!
//! The kubelet's way of saying an exit code (`NonZeroExitCode`, cause `ExitCode`) and causes of
//! our own: `Signal`, `StdoutBytes`, `StderrBytes`, `Hint`. Foreign clients ignore those; ours checks them.

use std::fmt;

use serde::{Deserialize, Serialize};

const NON_ZERO_EXIT_CODE: &str = "NonZeroExitCode";
const EXIT_CODE: &str = "ExitCode";
const SIGNAL: &str = "Signal";
const STDOUT_BYTES: &str = "StdoutBytes";
const STDERR_BYTES: &str = "StderrBytes";
const HINT: &str = "Hint";
const POD_NOT_BEGUN: &str = "PodNotBegun";

/// A Kubernetes status object, as far as exec clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    #[serde(default = "kind")]
    pub kind: String,
    #[serde(default = "api_version")]
    pub api_version: String,
    #[serde(default)]
    pub metadata: Metadata,
    pub status: StatusKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status code; 0 where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code: u16,
}

/// Always empty: a `Status` carries list metadata that exec has no use for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusKind {
    Success,
    Failure,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(u8),
    /// Killed by the signal of this number.
    Signal(u8),
}

/// How a session ended, and how much output it had: what a client needs to trust what it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub exit: Exit,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    /// Why, where the exit alone does not say it.
    pub reason: Option<String>,
}

impl Exit {
    /// The exit code that a shell would report: the tool's own, or 128 + n when killed by n.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => number.saturating_add(128),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "terminated with exit code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "was killed by SIG{name}"),
                None => write!(f, "was killed by signal {number}"),
            },
        }
    }
}

impl Ending {
    /// The last message of the session.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let mut causes = Vec::new();
        if self.exit != Exit::Code(0) {
            causes.push(cause(EXIT_CODE, &self.exit.code()));
        }
        if let Exit::Signal(number) = self.exit {
            causes.push(cause(SIGNAL, &number));
        }
        causes.push(cause(STDOUT_BYTES, &self.stdout_bytes));
        causes.push(cause(STDERR_BYTES, &self.stderr_bytes));
        let details = Some(Details { causes });
        if self.exit == Exit::Code(0) {
            return Status { details, ..bare(StatusKind::Success) };
        }
        let because = self.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        Status {
            message: format!("command {}{because}", self.exit),
            reason: NON_ZERO_EXIT_CODE.to_owned(),
            details,
            ..bare(StatusKind::Failure)
        }
    }
}

impl Status {
    /// A refusal with an HTTP status code and a Kubernetes reason such as `NotFound`.
    #[must_use]
    pub fn refusal(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            reason: reason.to_owned(),
            code,
            ..bare(StatusKind::Failure)
        }
    }

    /// The same refusal, telling the client which exit code a shell would have used.
    #[must_use]
    pub fn with_exit_code(mut self, code: u8) -> Self {
        self.details.get_or_insert_default().causes.push(cause(EXIT_CODE, &code));
        self
    }

    /// The same refusal, because of a pod of which no node has made anything yet: its events say why.
    #[must_use]
    pub fn of_pod_not_begun(mut self) -> Self {
        self.details.get_or_insert_default().causes.push(cause(POD_NOT_BEGUN, &""));
        self
    }

    #[must_use]
    pub fn is_of_pod_not_begun(&self) -> bool {
        let causes = self.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == POD_NOT_BEGUN)
    }

    /// The same, with what the user can do: for people, and not for their scripts.
    #[must_use]
    pub fn with_hint(mut self, hint: &str) -> Self {
        self.details.get_or_insert_default().causes.push(cause(HINT, &hint));
        self
    }

    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        let causes = &self.details.as_ref()?.causes;
        causes.iter().find(|cause| cause.reason == HINT).map(|cause| cause.message.as_str())
    }

    /// The exit code that is said in the causes, or 0 of a success.
    ///
    /// `None` where the failure is not the tool's: that is the client's own failure to report.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self.status {
            StatusKind::Success => Some(0),
            StatusKind::Failure => self.number(EXIT_CODE),
        }
    }

    /// The number of the signal that killed the tool.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        self.number(SIGNAL)
    }

    /// How many bytes of stdout were sent before this.
    #[must_use]
    pub fn stdout_bytes(&self) -> Option<u64> {
        self.number(STDOUT_BYTES)
    }

    /// How many bytes of stderr were sent before this.
    #[must_use]
    pub fn stderr_bytes(&self) -> Option<u64> {
        self.number(STDERR_BYTES)
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // strings and numbers always serialise
    }

    fn number<N: std::str::FromStr>(&self, reason: &str) -> Option<N> {
        let causes = &self.details.as_ref()?.causes;
        causes.iter().find(|cause| cause.reason == reason)?.message.parse().ok()
    }
}

fn bare(status: StatusKind) -> Status {
    Status {
        kind: kind(),
        api_version: api_version(),
        metadata: Metadata::default(),
        status,
        message: String::new(),
        reason: String::new(),
        details: None,
        code: 0,
    }
}

fn cause(reason: &str, message: &impl ToString) -> Cause {
    Cause { reason: reason.to_owned(), message: message.to_string() }
}

fn kind() -> String {
    "Status".to_owned()
}

fn api_version() -> String {
    "v1".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(code: &u16) -> bool {
    *code == 0
}

/// The name of a Linux signal without `SIG`, for the ones that end programs (signal(7)).
#[must_use]
pub fn signal_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return None,
    })
}
