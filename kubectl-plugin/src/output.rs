//! The only place that writes to the person: errors, hints and warnings, on stderr.
//!
//! Whatever is printed here may hold words of a server, and so loses all that a terminal would
//! obey. The tool's own output does not pass here: see `local`.

use std::error::Error;
use std::io::{self, Write};

pub(crate) fn error(message: &str, hint: Option<&str>) {
    say("error", message);
    if let Some(hint) = hint {
        say("hint", hint);
    }
}

pub(crate) fn warning(message: &str) {
    say("warning", message);
}

/// What is good to know and nobody's fault.
pub(crate) fn note(message: &str) {
    say("note", message);
}

/// A line that somebody asked for, on stdout.
pub(crate) fn line(text: &str) {
    // Whoever reads no further has seen enough.
    let _ = writeln!(io::stdout().lock(), "{}", printable(text));
}

/// Words that are printed as they are, for somebody knows them so.
pub(crate) fn plain(message: &str) {
    // There is nobody to tell that stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{}", printable(message));
}

pub(crate) fn hint(message: &str) {
    say("hint", message);
}

fn say(kind: &str, message: &str) {
    // There is nobody to tell that stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{kind}: {}", printable(message));
}

/// An error and its causes in one line, each said once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Libraries often repeat their source's words in their own.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// `text` without control characters (C0, DEL, C1), but with its lines and tabs.
pub(crate) fn printable(text: &str) -> String {
    text.trim_end().chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}31mc\u{7f}\r\u{7}"), "a[2Jb31mc");
    }

    #[test]
    fn lines_tabs_and_other_scripts_stay() {
        assert_eq!(printable("é\tü\n猫"), "é\tü\n猫");
    }

    #[test]
    fn a_cause_that_was_already_said_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read: end of file")]
        struct Repeating(#[source] io::Error);
        let error = Repeating(io::Error::other("end of file"));
        assert_eq!(chain(&error), "cannot read: end of file");
    }
}
