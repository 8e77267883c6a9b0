//! When a session's lines are written: one before it begins, and one when it is refused or has ended.
//!
//! A session whose first line cannot be written does not begin: it is refused, and that is tried to be
//! written too. After its last line there is no session left to refuse: the program logs that it is lost.
//! What is in a line is the program's.

use std::time::Instant;

use serde::Serialize;

use super::{AuditError, AuditLog, Event};

/// What a program writes down of a session: its fields are in each line.
pub trait AuditSubject: Serialize {
    /// What the last line adds of a request that was dropped before it was answered.
    fn dropped_request(&self) -> impl Serialize;

    /// What the last line adds of a session that was dropped after so many `seconds`.
    fn dropped_session(&self, seconds: f64) -> impl Serialize;

    /// Logs that the last line could not be written.
    fn not_written(&self, last: Event, error: &AuditError);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuditPhase {
    /// Its request is to be answered.
    Asked,
    Started,
    /// Its last line was written or is lost.
    Over,
}

/// The lines of one session. However this is dropped, its last one was written or logged as lost.
#[derive(Debug)]
#[must_use = "the session counts as over when this is dropped"]
pub struct AuditPhases<S: AuditSubject> {
    pub subject: S,
    log: AuditLog,
    phase: AuditPhase,
    since: Instant,
}

impl<S: AuditSubject> AuditPhases<S> {
    /// Of a session that is asked for.
    pub fn open(log: &AuditLog, subject: S) -> Self {
        Self { subject, log: log.clone(), phase: AuditPhase::Asked, since: Instant::now() }
    }

    /// The session begins, unless this fails: then it is to be refused.
    pub fn start(&mut self) -> Result<(), AuditError> {
        let since = Instant::now();
        self.log.write(Event::Start, &self.subject, &())?;
        (self.phase, self.since) = (AuditPhase::Started, since);
        Ok(())
    }

    /// A dry run has found that the session could begin. If this fails it is to be refused, as a session is.
    pub fn fit(&mut self) -> Result<(), AuditError> {
        self.log.write(Event::Fit, &self.subject, &())?;
        self.phase = AuditPhase::Over;
        Ok(())
    }

    pub fn refused(mut self, more: &impl Serialize) {
        self.phase = AuditPhase::Over;
        self.last(Event::Refused, more);
    }

    pub fn ended(mut self, more: &impl Serialize) {
        self.phase = AuditPhase::Over;
        self.last(Event::End, more);
    }

    /// How long it has been a session.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }

    fn last(&self, event: Event, more: &impl Serialize) {
        if let Err(error) = self.log.write(event, &self.subject, more) {
            self.subject.not_written(event, &error);
        }
    }
}

impl<S: AuditSubject> Drop for AuditPhases<S> {
    fn drop(&mut self) {
        match self.phase {
            AuditPhase::Over => {}
            AuditPhase::Asked => self.last(Event::Refused, &self.subject.dropped_request()),
            AuditPhase::Started => {
                self.last(Event::End, &self.subject.dropped_session(self.seconds()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;

    use serde_json::{Value, json};

    use super::*;

    /// A session whose program keeps which lines are lost.
    #[derive(Debug, Default, Serialize)]
    struct Kept {
        container: &'static str,
        #[serde(skip)]
        lost: Rc<RefCell<Vec<String>>>,
    }

    impl AuditSubject for Kept {
        fn dropped_request(&self) -> impl Serialize {
            json!({"code": 499})
        }

        fn dropped_session(&self, seconds: f64) -> impl Serialize {
            json!({"outcome": "Failed", "seconds": seconds})
        }

        fn not_written(&self, last: Event, error: &AuditError) {
            self.lost.borrow_mut().push(format!("{last}: {error}"));
        }
    }

    /// What is in a log after `session`, line by line: event, container, and code or outcome.
    fn written(session: impl FnOnce(AuditPhases<Kept>)) -> Vec<[Value; 3]> {
        let directory = tempfile::tempdir().expect("a directory");
        let path: PathBuf = directory.path().join("audit.log");
        let log = AuditLog::to_file(&path).expect("a log");
        session(AuditPhases::open(&log, Kept::default()));
        let text = std::fs::read_to_string(path).expect("a log");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let of_interest = |line: Value| {
            let last = if line["event"] == "end" { "outcome" } else { "code" };
            [&line["event"], &line["container"], &line[last]].map(Clone::clone)
        };
        lines.map(of_interest).collect()
    }

    /// Which lines are lost of a `session` whose log is full.
    fn lost(session: impl FnOnce(AuditPhases<Kept>)) -> Vec<String> {
        let full = AuditLog::to_file(Path::new("/dev/full")).expect("a device");
        let subject = Kept::default();
        let lost = Rc::clone(&subject.lost);
        session(AuditPhases::open(&full, subject));
        let lost = lost.borrow();
        lost.iter().map(|text| text.split(": ").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_session_is_a_line_at_its_start_and_one_at_its_end() {
        let lines = written(|mut session| {
            session.subject.container = "app";
            session.start().expect("room");
            session.subject.container = "db";
            session.ended(&json!({"outcome": "Finished"}));
        });
        let [start, end] = lines.try_into().expect("two lines");
        assert_eq!(start, [json!("start"), json!("app"), json!(null)]);
        assert_eq!(end, [json!("end"), json!("db"), json!("Finished")]);
    }

    #[test]
    fn what_is_refused_or_only_judged_is_one_line() {
        let refused = written(|session| session.refused(&json!({"code": 403})));
        assert_eq!(refused, [[json!("refused"), json!(""), json!(403)]]);
        let fit = written(|mut session| session.fit().expect("room"));
        assert_eq!(fit, [[json!("fit"), json!(""), json!(null)]]);
    }

    #[test]
    fn what_is_dropped_has_its_last_line() {
        assert_eq!(written(drop), [[json!("refused"), json!(""), json!(499)]]);
        let begun = written(|mut session| session.start().expect("room"));
        let [_, end] = begun.try_into().expect("two lines");
        assert_eq!(end, [json!("end"), json!(""), json!("Failed")]);
    }

    #[test]
    fn a_session_without_its_first_line_is_refused_and_that_is_tried_to_be_written() {
        let begun = lost(|mut session| {
            session.start().expect_err("no room");
            session.refused(&json!({"code": 503}));
        });
        let judged = lost(|mut session| {
            session.fit().expect_err("no room");
            session.refused(&json!({"code": 503}));
        });
        assert_eq!([begun, judged], [["refused"], ["refused"]]);
    }

    #[test]
    fn a_last_line_that_cannot_be_written_is_said_to_be_lost_however_it_comes() {
        assert_eq!(lost(|session| session.refused(&())), ["refused"]);
        assert_eq!(lost(drop), ["refused"]);
        let directory = tempfile::tempdir().expect("a directory");
        let log = AuditLog::to_file(&directory.path().join("audit.log")).expect("a log");
        let mut begun = AuditPhases::open(&log, Kept::default());
        begun.start().expect("a line");
        begun.log = AuditLog::to_file(Path::new("/dev/full")).expect("a device");
        let kept = Rc::clone(&begun.subject.lost);
        drop(begun);
        assert!(kept.borrow()[0].starts_with("end: cannot write to the audit log /dev/full"));
    }
}
