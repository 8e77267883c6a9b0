//! Durations as people who use kubectl write them: `10s`, `1h30m`, `500ms`; `0` is no limit.

use std::str::FromStr;
use std::time::Duration;

/// How long something may take; `None` is as long as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadDuration {
    #[error("a duration is a whole number and a unit, such as `10s`, `5m`, `1h30m` or `500ms`")]
    Form,
    #[error("the duration is too long")]
    TooLong,
}

impl FromStr for Limit {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<Self, BadDuration> {
        if text == "0" {
            return Ok(Self(None));
        }
        if text.is_empty() {
            return Err(BadDuration::Form);
        }
        let mut total = Duration::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let (part, after) = first_part(rest)?;
            total = total.checked_add(part).ok_or(BadDuration::TooLong)?;
            rest = after;
        }
        Ok(Self(Some(total).filter(|total| !total.is_zero())))
    }
}

/// The number and unit that `text` begins with, and what follows them.
fn first_part(text: &str) -> Result<(Duration, &str), BadDuration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(BadDuration::Form)?;
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(BadDuration::Form);
    }
    let number: u32 = number.parse().map_err(|_| BadDuration::TooLong)?;
    let units = [
        ("ms", Duration::from_millis(1)),
        ("s", Duration::from_secs(1)),
        ("m", Duration::from_mins(1)),
        ("h", Duration::from_hours(1)),
    ];
    let (unit, rest) = units
        .into_iter()
        .find_map(|(name, unit)| Some((unit, rest.strip_prefix(name)?)))
        .ok_or(BadDuration::Form)?;
    Ok((unit * number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<f64> {
        text.parse::<Limit>().expect(text).0.map(|limit| limit.as_secs_f64())
    }

    #[test]
    fn numbers_with_units_add_up() {
        assert_eq!(seconds("10s"), Some(10.0));
        assert_eq!(seconds("5m"), Some(300.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("500ms"), Some(0.5));
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(seconds("0"), None);
        assert_eq!(seconds("0s"), None);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "s", "10 s", "-5s", "1.5s", "10x", "5s3", "５s"] {
            assert_eq!(text.parse::<Limit>(), Err(BadDuration::Form), "{text}");
        }
        assert_eq!("99999999999s".parse::<Limit>(), Err(BadDuration::TooLong));
    }
}
