//! An audit log: lines of JSON, each with its time, what happened and to whom.
//!
//! A line is written at once and whole, so that several writers and a rotated file do not mix.
//! What is in a line, and when there has to be one, is the program's that writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where lines go; clones share it.
#[derive(Clone, Debug)]
pub struct AuditLog(Arc<Sink>);

#[derive(Debug)]
enum Sink {
    /// As reliable as any log: who wants a promise names a file.
    Stdout,
    Stderr,
    /// A promise: a session that cannot be written down is not given.
    File(File, PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot open the audit log {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write to the audit log {}, and no session goes without", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Start,
    Refused,
    End,
}

#[derive(Serialize)]
struct Line<'a, S, M> {
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
            Ok(file) => Ok(Self(Arc::new(Sink::File(file, path)))),
            Err(source) => Err(AuditError::Open { path, source }),
        }
    }

    /// One line: the fields of `subject`, which are those of each line of a session, and `more`,
    /// which are this event's own; `()` has none.
    pub fn write(
        &self,
        event: Event,
        subject: &impl Serialize,
        more: &impl Serialize,
    ) -> Result<(), AuditError> {
        // Only a year past 9999 has no such text.
        let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        // Strings and numbers always serialise; JSON has an escape for every control character.
        let line = Line { time, event, subject, more };
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        self.append(&line)
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
            Sink::File(file, path) => {
                let mut file = file;
                let written = file.write_all(line);
                written.map_err(|source| AuditError::Write { path: path.clone(), source })
            }
        }
    }
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
            .filter_map(|line| Some(line.strip_prefix("{\"time\":\"")?.split_once("Z\",")?.1))
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

    #[test]
    fn a_file_that_takes_no_line_says_what_follows() {
        let full = AuditLog::to_file(Path::new("/dev/full")).expect("a device");
        let error = full.write(Event::Start, &SUBJECT, &()).expect_err("no room").to_string();
        assert!(error.contains("/dev/full, and no session goes without"), "{error}");
    }
}
