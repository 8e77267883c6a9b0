//! A failure with its causes on one line: how the edges of the program speak of errors.

use std::error::Error;

/// `error`, then each of its sources, joined by colons.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
