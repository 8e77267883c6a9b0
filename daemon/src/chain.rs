//! A failure with its causes on one line: how the edges of a program speak of errors.

use std::error::Error;

/// `error`, then each of its sources, joined by colons.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
}
