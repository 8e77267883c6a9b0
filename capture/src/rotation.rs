//! When a capture goes on in another file, and what that is called: `-C`, `-G` and `-W` of tcpdump.
//!
//! Different from tcpdump in two things. Times in names are in UTC, because a file goes to people elsewhere. A name
//! without a time is numbered with `-G` too, where tcpdump would overwrite the file before.

use std::time::Duration;

/// When a file is followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// `-C`: after this many bytes.
    pub size: Option<u64>,
    /// `-G`: after this time.
    pub age: Option<Duration>,
    /// `-W`: with `-C`, the first file is overwritten after so many; without it the capture ends.
    pub files: Option<u32>,
}

/// What is to be done before the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes into the same file.
    Stay,
    /// Into the next.
    Next,
    /// It is the first that is in no file.
    End,
}

impl Rotation {
    /// What follows `files` files, of which the last has `size` bytes and is open for `age`.
    #[must_use]
    pub fn turn(&self, files: u32, size: u64, age: Duration) -> Turn {
        let is_old = self.age.is_some_and(|limit| age >= limit);
        let is_large = self.size.is_some_and(|limit| size >= limit);
        match self.files {
            _ if !is_old && !is_large => Turn::Stay,
            Some(most) if self.size.is_none() && files >= most => Turn::End,
            _ => Turn::Next,
        }
    }

    /// The name of file `number`, counted from 0, that is opened at `time` (seconds since 1970).
    #[must_use]
    pub fn name(&self, template: &str, number: u32, time: u64) -> String {
        let name = if self.age.is_some() { with_time(template, time) } else { template.to_owned() };
        let has_time = self.age.is_some() && template.contains('%');
        match (self.size, self.files) {
            (None, _) if has_time || self.age.is_none() => name,
            (Some(_), Some(most)) => {
                let width = most.saturating_sub(1).to_string().len();
                format!("{name}{:0width$}", number % most.max(1))
            }
            _ if number == 0 => name,
            _ => format!("{name}{number}"),
        }
    }
}

/// `template` with the parts of `time` that it names as strftime(3) does. Others stay as they are.
fn with_time(template: &str, time: u64) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template.chars();
    while let Some(c) = rest.next() {
        match (c, rest.clone().next().and_then(|of| part(of, time))) {
            ('%', Some(part)) => {
                text.push_str(&part);
                rest.next();
            }
            _ => text.push(c),
        }
    }
    text
}

fn part(of: char, time: u64) -> Option<String> {
    let (days, seconds) = (time / 86_400, time % 86_400);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = date(days);
    Some(match of {
        'Y' => format!("{year:04}"),
        'm' => format!("{month:02}"),
        'd' => format!("{day:02}"),
        'H' => format!("{hour:02}"),
        'M' => format!("{minute:02}"),
        'S' => format!("{second:02}"),
        'F' => format!("{year:04}-{month:02}-{day:02}"),
        'T' => format!("{hour:02}:{minute:02}:{second:02}"),
        's' => time.to_string(),
        '%' => "%".to_owned(),
        _ => return None,
    })
}

/// Year, month and day of the day `days` after 1970-01-01, by the calendar of 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    // A year that begins in March has its leap day at its end.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn names(rotation: Rotation, template: &str) -> [String; 3] {
        [0, 1, 2].map(|number| rotation.name(template, number, 1_795_891_133))
    }

    #[test]
    fn without_limits_there_is_one_file_of_that_very_name() {
        let one = Rotation::default();
        assert_eq!(one.turn(1, u64::MAX, Duration::MAX), Turn::Stay);
        assert_eq!(one.name("100%d.pcapng", 0, 0), "100%d.pcapng");
    }

    #[test]
    fn by_size_files_are_numbered_as_tcpdump_does() {
        let by_size = Rotation { size: Some(100), ..Rotation::default() };
        assert_eq!(by_size.turn(1, 99, HOUR), Turn::Stay);
        assert_eq!(by_size.turn(9, 100, HOUR), Turn::Next);
        assert_eq!(names(by_size, "a"), ["a", "a1", "a2"]);
    }

    #[test]
    fn by_size_and_number_the_first_is_overwritten() {
        let ring = Rotation { size: Some(100), files: Some(2), ..Rotation::default() };
        assert_eq!(ring.turn(2, 100, HOUR), Turn::Next);
        assert_eq!(names(ring, "a"), ["a0", "a1", "a0"]);
        let twelve = Rotation { files: Some(12), ..ring };
        assert_eq!(names(twelve, "a"), ["a00", "a01", "a02"]);
    }

    #[test]
    fn by_time_and_number_the_capture_ends() {
        let hours = Rotation { age: Some(HOUR), files: Some(2), ..Rotation::default() };
        assert_eq!(hours.turn(1, 0, HOUR), Turn::Next);
        assert_eq!(hours.turn(2, 0, HOUR), Turn::End);
        assert_eq!(names(hours, "a"), ["a", "a1", "a2"]);
    }

    #[test]
    fn a_time_in_a_name_is_in_utc() {
        let hours = Rotation { age: Some(HOUR), ..Rotation::default() };
        let [name, ..] = names(hours, "%F_%T-%Y%m%d%H%M%S-%s-%%-%q%");
        assert_eq!(name, "2026-11-28_18:38:53-20261128183853-1795891133-%-%q%");
        let both = Rotation { size: Some(1), ..hours };
        assert_eq!(both.name("%d", 3, 951_782_400), "293");
    }
}
