//! Lengths of time as people write them, in flags, environment and chart: `90s`, `1h30m`, `2d`, `500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(Duration);

/// The text is no length of time, or not one that is taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTimeSpan {
    #[error(
        "a duration is numbers with units, such as `90s`, `1h30m`, `2d` or `500ms`, or seconds without a unit"
    )]
    Form,
    #[error("the duration is too long: the longest is {}", TimeSpan::LONGEST)]
    TooLong,
    #[error("the duration must be at least {least}")]
    TooShort { least: TimeSpan },
}

/// The units, the longest first.
const UNITS: [(&str, Duration); 5] = [
    ("d", Duration::from_hours(24)),
    ("h", Duration::from_hours(1)),
    ("m", Duration::from_mins(1)),
    ("s", Duration::from_secs(1)),
    ("ms", Duration::from_millis(1)),
];

impl TimeSpan {
    /// Past a century no clock needs to be asked.
    const LONGEST: Self = Self(Duration::from_hours(24 * 365 * 100));

    const ZERO: Self = Self(Duration::ZERO);

    fn plus(self, count: u32, unit: Duration) -> Result<Self, BadTimeSpan> {
        let total = unit.checked_mul(count).and_then(|part| self.0.checked_add(part));
        let total = total.filter(|total| *total <= Self::LONGEST.0).ok_or(BadTimeSpan::TooLong)?;
        Ok(Self(total))
    }

    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }

    /// What reads a length of time that is `least` or more, for a flag.
    pub fn at_least(least: Duration) -> impl Fn(&str) -> Result<Self, BadTimeSpan> + Clone {
        let least = Self(least);
        move |text| {
            let span: Self = text.parse()?;
            if span < least { Err(BadTimeSpan::TooShort { least }) } else { Ok(span) }
        }
    }
}

impl From<Duration> for TimeSpan {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for TimeSpan {
    type Err = BadTimeSpan;

    fn from_str(text: &str) -> Result<Self, BadTimeSpan> {
        if let (seconds, "") = number(text)? {
            return Self::ZERO.plus(seconds, Duration::from_secs(1));
        }
        let (mut total, mut rest) = (Self::ZERO, text);
        while !rest.is_empty() {
            let (count, after) = number(rest)?;
            let (unit, after) = unit(after).ok_or(BadTimeSpan::Form)?;
            total = total.plus(count, unit)?;
            rest = after;
        }
        Ok(total)
    }
}

/// The number that `text` begins with, and what follows it.
fn number(text: &str) -> Result<(u32, &str), BadTimeSpan> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(BadTimeSpan::Form);
    }
    Ok((digits.parse().map_err(|_| BadTimeSpan::TooLong)?, rest))
}

/// The unit that `text` begins with, and what follows it.
fn unit(text: &str) -> Option<(Duration, &str)> {
    let end = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (_, unit) = UNITS.into_iter().find(|(known, _)| *known == name)?;
    Some((unit, rest))
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in UNITS {
            let count = rest / unit.as_millis();
            rest %= unit.as_millis();
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> TimeSpan {
        text.parse().expect(text)
    }

    #[test]
    fn numbers_with_units_add_up() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1d12h", 129_600_000),
            ("1m500ms", 60_500),
            ("0s", 0),
        ] {
            assert_eq!(span(text).duration(), Duration::from_millis(milliseconds), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_seconds() {
        for (text, seconds) in [("0", 0), ("60", 60), ("28800", 28_800), ("7776000", 7_776_000)] {
            assert_eq!(span(text).duration(), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (text, written) in [
            ("90s", "1m30s"),
            ("90m", "1h30m"),
            ("8h", "8h"),
            ("24h", "1d"),
            ("60", "1m"),
            ("1500ms", "1s500ms"),
            ("0", "0s"),
        ] {
            assert_eq!(span(text).to_string(), written);
            assert_eq!(span(written), span(text));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let bad = [
            "", "s", "10 s", "-5s", "1.5h", "10x", "5s3", "3 5s", "５s", "1h-5m", "1w", "S", "5S",
            "5sm",
        ];
        for text in bad {
            assert_eq!(text.parse::<TimeSpan>(), Err(BadTimeSpan::Form), "{text}");
        }
        for text in ["99999999999s", "36501d", "4294967295d4294967295d", "36500d1ms"] {
            assert_eq!(text.parse::<TimeSpan>(), Err(BadTimeSpan::TooLong), "{text}");
        }
        let said = BadTimeSpan::TooLong.to_string();
        assert!(said.ends_with("the longest is 36500d"), "{said}");
    }

    #[test]
    fn what_is_shorter_than_makes_sense_is_refused_with_the_least() {
        let read = TimeSpan::at_least(Duration::from_secs(36));
        for text in ["0", "0s", "35", "35s999ms"] {
            let said = read(text).expect_err(text).to_string();
            assert_eq!(said, "the duration must be at least 36s", "{text}");
        }
        assert_eq!(read("36").map(TimeSpan::duration), Ok(Duration::from_secs(36)));
        assert_eq!(read("1.5h"), Err(BadTimeSpan::Form));
    }
}
