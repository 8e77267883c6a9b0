//! What a person should know besides, on stderr.

use std::io::{self, Write};

pub(super) fn warn(what: &str) {
    // Nothing to do where stderr is closed.
    let _ = writeln!(io::stderr(), "nsdebug-agent: {what}");
}
