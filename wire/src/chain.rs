//! A failure with its causes on one line: how all programs speak of errors.

use std::error::Error;

/// `error`, then each of its sources, joined by colons; what was already said is not said again.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn each_cause_is_said_after_what_it_caused() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read {path}")]
        struct Unread {
            path: &'static str,
            source: io::Error,
        }
        let error = Unread { path: "/a", source: io::Error::other("gone") };
        assert_eq!(chain(&error), "cannot read /a: gone");
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
