//! How a program ends that failed: one line on stderr, and an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

/// nsdebug's own failure, as distinct from any of a tool's.
pub const OWN_FAILURE: u8 = 125;
/// A command line that asks for what cannot be.
pub const USAGE: u8 = 2;

/// Says on stderr what the user can do, after what went wrong.
pub fn hint(what: &str) {
    // Nothing to do where stderr is closed.
    let _ = writeln!(io::stderr(), "hint: {what}");
}

/// Says on stderr `why` nothing more happens; `code` says what kind of failure it is.
#[must_use]
pub fn failed(why: &str, code: u8) -> ExitCode {
    // Nothing to do where stderr is closed: the exit code says it too.
    let _ = writeln!(io::stderr(), "error: {why}");
    ExitCode::from(code)
}
