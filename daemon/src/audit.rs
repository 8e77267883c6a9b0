//! An audit log: lines of JSON, each with its time, what happened and to whom.
//!
//! A line is written at once and whole, so that several writers and a rotated file do not mix. Where
//! there was no room for all of a line, the next one starts on a line of its own.
//! When there has to be a line is in [`AuditPhases`]; what is in one is the program's that writes it.

mod phases;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::printable_json;

pub use phases::{AuditPhases, AuditSubject};

/// Where lines go; clones share it.
#[derive(Clone, Debug)]
pub struct AuditLog(Arc<Sink>);

#[derive(Debug)]
enum Sink {
    /// As reliable as any log: who wants a promise names a file.
    Stdout,
    Stderr,
    /// A promise: a session that cannot be written down is not given.
    File(Mutex<Lines<File>>, PathBuf),
}

/// What lines are added to, and may take a part of one only.
#[derive(Debug)]
struct Lines<W> {
    to: W,
    /// It ends in the middle of a line.
    torn: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot open the audit log {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write to the audit log {}; sessions are refused until it is writable", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Start,
    Refused,
    End,
    /// A dry run found that it could start.
    Fit,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Refused => "refused",
            Self::End => "end",
            Self::Fit => "fit",
        })
    }
}

/// What tells a line from one of the log, where both go to one stream or file: its field `log`.
const KIND: &str = "audit";

#[derive(Serialize)]
struct Line<'a, S, M> {
    log: &'static str,
    time: String,
    event: Event,
    #[serde(flatten)]
    subject: &'a S,
    #[serde(flatten)]
    more: &'a M,
}

impl AuditLog {
    #[must_use]
    pub fn to_stdout() -> Self {
        Self(Arc::new(Sink::Stdout))
    }

    #[must_use]
    pub fn to_stderr() -> Self {
        Self(Arc::new(Sink::Stderr))
    }

    /// To the end of a file that only its owner may read.
    pub fn to_file(path: &Path) -> Result<Self, AuditError> {
        let path = path.to_owned();
        match OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
            Ok(file) => {
                let torn = ends_torn(&path);
                Ok(Self(Arc::new(Sink::File(Mutex::new(Lines { to: file, torn }), path))))
            }
            Err(source) => Err(AuditError::Open { path, source }),
        }
    }

    /// One line: the fields of `subject`, which are those of each line of a session, and `more`,
    /// which are this event's own; `()` has none.
    pub(crate) fn write(
        &self,
        event: Event,
        subject: &impl Serialize,
        more: &impl Serialize,
    ) -> Result<(), AuditError> {
        // Only a year past 9999 has no such text.
        let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        // Strings and numbers always serialise.
        let line = Line { log: KIND, time, event, subject, more };
        let mut line = printable_json(&serde_json::to_string(&line).unwrap_or_default());
        line.push('\n');
        self.append(line.as_bytes())
    }

    fn append(&self, line: &[u8]) -> Result<(), AuditError> {
        match &*self.0 {
            Sink::Stdout => {
                let _ = io::stdout().lock().write_all(line);
                Ok(())
            }
            Sink::Stderr => {
                let _ = io::stderr().lock().write_all(line);
                Ok(())
            }
            Sink::File(lines, path) => {
                // A panic elsewhere leaves it as it says.
                let written = lines.lock().unwrap_or_else(PoisonError::into_inner).add(line);
                written.map_err(|source| AuditError::Write { path: path.clone(), source })
            }
        }
    }
}

impl<W: Write> Lines<W> {
    /// Adds a line that has its end.
    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let line = if self.torn { [b"\n", line].concat() } else { line.to_vec() };
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (added, left) = rest.split_at(written);
                    (self.torn, rest) = (!added.ends_with(b"\n"), left);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether there was no room for all of the last line. What is not a plain file has none.
fn ends_torn(path: &Path) -> bool {
    let Ok(data) = path.metadata() else { return false };
    let Some(last) = data.len().checked_sub(1).filter(|_| data.is_file()) else { return false };
    let mut byte = [0];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut byte, last));
    read.is_ok() && byte != *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[derive(Serialize)]
    struct Subject {
        session: u8,
        argv: &'static str,
    }

    #[derive(Serialize)]
    struct End {
        seconds: f64,
    }

    const SUBJECT: Subject = Subject { session: 7, argv: "a\n\"b\u{1b}[2J\u{fffd}" };

    #[test]
    fn a_line_is_one_line_whatever_its_words_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let log = AuditLog::to_file(&path).expect("a log");
        log.write(Event::Start, &SUBJECT, &()).expect("a line");
        log.write(Event::End, &SUBJECT, &End { seconds: 0.5 }).expect("a line");
        let text = std::fs::read_to_string(&path).expect("a log");
        assert!(text.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()));
        let rests: Vec<_> = text
            .lines()
            .filter_map(|line| {
                Some(line.strip_prefix("{\"log\":\"audit\",\"time\":\"")?.split_once("Z\",")?.1)
            })
            .collect();
        let same = r#""session":7,"argv":"a\n\"b\u001b[2J�""#;
        let expected = [
            format!(r#""event":"start",{same}}}"#),
            format!(r#""event":"end",{same},"seconds":0.5}}"#),
        ];
        assert_eq!(rests, expected);
    }

    #[test]
    fn a_file_is_its_owners_and_keeps_what_it_has() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        for _ in 0..2 {
            let log = AuditLog::to_file(&path).expect("a log");
            log.write(Event::Refused, &SUBJECT, &()).expect("a line");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("a log").lines().count(), 2);
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// A disk with so many bytes left.
    struct Disk {
        room: usize,
        has: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            self.has.extend(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_follows_a_torn_line_is_on_a_line_of_its_own() {
        let mut lines = Lines { to: Disk { room: 7, has: Vec::new() }, torn: false };
        lines.add(b"one\n").expect("room");
        lines.add(b"two two\n").expect_err("no room for all of it");
        lines.add(b"three\n").expect_err("no room at all");
        lines.to.room = 1;
        lines.add(b"three\n").expect_err("room for the end of the torn one");
        lines.to.room = 100;
        lines.add(b"four\n").expect("room");
        lines.add(b"five\n").expect("room");
        assert_eq!(lines.to.has, b"one\ntwo\nfour\nfive\n");
    }

    #[test]
    fn nor_does_a_line_follow_one_that_an_earlier_program_has_torn() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        std::fs::write(&path, "{\"time\":\"20").expect("a file");
        let log = AuditLog::to_file(&path).expect("a log");
        log.write(Event::Start, &SUBJECT, &()).expect("a line");
        let text = std::fs::read_to_string(&path).expect("a log");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "{\"time\":\"20"), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok(), "{text}");
    }

    #[test]
    fn a_line_has_nothing_that_a_terminal_obeys() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let log = AuditLog::to_file(&path).expect("a log");
        let subject = Subject { session: 7, argv: "a\u{7f}\u{9b}31m\u{202e}" };
        log.write(Event::Start, &subject, &()).expect("a line");
        let text = std::fs::read_to_string(&path).expect("a log");
        assert!(text.contains(r#""argv":"a\u007f\u009b31m\u202e""#), "{text}");
    }

    #[test]
    fn a_file_that_takes_no_line_says_what_follows() {
        let full = AuditLog::to_file(Path::new("/dev/full")).expect("a device");
        let error = full.write(Event::Start, &SUBJECT, &()).expect_err("no room").to_string();
        assert!(error.contains("/dev/full; sessions are refused until it is writable"), "{error}");
    }
}
