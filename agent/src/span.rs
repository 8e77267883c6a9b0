//! Lengths of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time as people write it: `90s`, `30m`, `8h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

/// The text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a length of time is a number above 0 with s, m or h, such as 90s, 30m or 8h")]
pub struct BadSpan;

impl Span {
    pub(crate) fn duration(self) -> Duration {
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

#[cfg(test)]
mod tests {
    use super::*;

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
