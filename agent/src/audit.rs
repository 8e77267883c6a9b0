//! The audit log: one JSON line when a session starts or is refused, one when it ends.
//!
//! Who, what, where and how much; never bytes of a session, tokens or environments.

use daemon::audit::{AuditError, AuditLog, AuditPhases, AuditSubject, Event};
use serde::{Serialize, Serializer};
use wire::{AuditId, ExecRequest};

use crate::peer::Peer;
use crate::registry::SessionId;
use crate::runtime::Query;
use crate::session::place::{Aim, FoundTarget};
use crate::session::{Finished, SessionOutcome};

/// What is known of a session so far.
#[derive(Debug, Serialize)]
struct Subject {
    #[serde(serialize_with = "id")]
    session: SessionId,
    /// What the gateway calls it that has vouched for its caller, and writes down too.
    gateway_session: Option<String>,
    /// The client's word, or its own client's: it joins records, and proves nothing.
    claimed_audit_id: Option<AuditId>,
    peer: String,
    /// The digest of the key of a caller's certificate: its name may be another caller's too.
    peer_key: Option<String>,
    /// What the request named: `container`, `pod` or `node`.
    target: Option<&'static str>,
    pod: Option<Pod>,
    container: Option<Container>,
    pid: Option<u32>,
    argv: Vec<String>,
    /// What was asked for; nothing where it was left to the agent.
    asked_profile: Option<String>,
    /// What is given.
    profile: Option<String>,
    run_as: Option<String>,
    /// The kinds that were asked for; nothing where it is all that the target has.
    namespaces: Option<String>,
    /// Whether `/target` is writable.
    write: bool,
    tty: bool,
    /// Why the target is worth as much as the node; nothing where it is not, or nobody has looked.
    host_target: Option<String>,
    /// The caller's own words.
    reason: Option<String>,
    /// What was entered in place of what was asked for.
    note: Option<String>,
    /// It was only asked whether there could be a session.
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Pod {
    namespace: String,
    name: String,
    uid: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Container {
    name: Option<String>,
    id: Option<String>,
}

#[derive(Serialize)]
struct Refused<'a> {
    code: u16,
    refusal: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct End {
    outcome: String,
    /// Why, where the outcome does not say it.
    cause: Option<String>,
    /// As a shell shows it; none where the session was cut.
    exit: Option<u8>,
    seconds: f64,
    stdin_bytes: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
}

impl End {
    fn of(finished: &Finished, seconds: f64) -> Self {
        let Finished { outcome, exit, stdin_bytes, stdout_bytes, stderr_bytes, reason } = finished;
        Self {
            outcome: format!("{outcome:?}"),
            cause: reason.clone(),
            exit: exit.map(wire::Exit::code),
            seconds,
            stdin_bytes: *stdin_bytes,
            stdout_bytes: *stdout_bytes,
            stderr_bytes: *stderr_bytes,
        }
    }
}

fn id<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

impl AuditSubject for Subject {
    fn dropped_request(&self) -> impl Serialize {
        // What nginx logs of such a request: no answer was sent.
        let message = "the client closed the connection before the session started";
        Refused { code: 499, refusal: "ClientClosed", message }
    }

    fn dropped_session(&self, seconds: f64) -> impl Serialize {
        End::of(&failed("the session was abandoned".to_owned()), seconds)
    }

    fn not_written(&self, last: Event, error: &AuditError) {
        tracing::error!(line = %last, error = wire::chain(error), "audit line not written");
    }
}

/// The lines of one session. However this is dropped, both have been written.
#[derive(Debug)]
#[must_use = "the session counts as over when this is dropped"]
pub struct AuditRecord(AuditPhases<Subject>);

impl AuditRecord {
    /// Of a session that `peer` asks for.
    pub fn open(log: &AuditLog, session: SessionId, peer: &Peer) -> Self {
        let (peer_key, gateway_session) = match peer {
            Peer::Certificate { holder, .. } => (Some(holder.key().to_string()), None),
            Peer::Gateway { forwarded, .. } => (None, forwarded.session_id.clone()),
            Peer::Root { .. } => (None, None),
        };
        let subject = Subject {
            session,
            gateway_session,
            claimed_audit_id: None,
            peer: peer.to_string(),
            peer_key,
            target: None,
            pod: None,
            container: None,
            pid: None,
            argv: Vec::new(),
            asked_profile: None,
            profile: None,
            run_as: None,
            namespaces: None,
            write: false,
            tty: false,
            host_target: None,
            reason: None,
            note: None,
            dry_run: false,
        };
        Self(AuditPhases::open(log, subject))
    }

    pub fn joined_by(&mut self, id: AuditId) {
        self.0.subject.claimed_audit_id = Some(id);
    }

    /// What is asked for.
    pub fn asked(&mut self, request: &ExecRequest) {
        let argv = request.command.iter();
        let subject = &mut self.0.subject;
        subject.argv = argv.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        subject.asked_profile = request.profile.map(|profile| profile.to_string());
        subject.run_as.clone_from(&request.run_as);
        subject.namespaces.clone_from(&request.namespaces);
        subject.write = request.write;
        subject.tty = request.tty;
        subject.reason.clone_from(&request.reason);
        subject.dry_run = request.dry_run;
    }

    /// Where it is asked for.
    pub fn aimed(&mut self, aim: &Aim) {
        let subject = &mut self.0.subject;
        match aim {
            Aim::Node => subject.target = Some("node"),
            Aim::Runtime(Query::Container { prefix, .. }) => {
                subject.target = Some("container");
                let id = Some(prefix.to_string());
                subject.container = Some(Container { name: None, id });
            }
            Aim::Runtime(Query::Pod { namespace, name, container, .. }) => {
                subject.target = Some("pod");
                let (namespace, name) = (namespace.to_string(), name.to_string());
                subject.pod = Some(Pod { namespace, name, uid: None });
                let name = container.as_ref().map(ToString::to_string);
                subject.container = Some(Container { name, id: None });
            }
        }
    }

    /// Where it will be, and what its caller was told of that.
    pub fn located(&mut self, place: &FoundTarget, note: Option<String>) {
        let subject = &mut self.0.subject;
        subject.pid = Some(place.pid());
        subject.note = note;
        let FoundTarget::Container(located) = place else { return };
        let pod = located.pod.as_ref();
        let name = pod.map(|pod| pod.container.clone()).filter(|name| !name.is_empty());
        subject.container = Some(Container { name, id: Some(located.id.clone()) });
        subject.pod = pod.map(|pod| Pod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: Some(pod.uid.clone()),
        });
    }

    /// The profile that it gets, asked for or not.
    pub fn given(&mut self, profile: Option<entry::Profile>) {
        self.0.subject.profile = profile.map(|profile| profile.to_string());
    }

    /// What makes its target worth as much as the node, where something does.
    pub fn observed(&mut self, host_target: Option<String>) {
        self.0.subject.host_target = host_target;
    }

    /// The tool runs. If this fails the session is to be refused.
    pub fn started(&mut self) -> Result<(), AuditError> {
        self.0.start()
    }

    /// A dry run has found that the tool could run. If this fails it is to be refused.
    pub fn fit(&mut self) -> Result<(), AuditError> {
        self.0.fit()
    }

    pub fn refused(self, code: u16, refusal: &str, message: &str) {
        self.0.refused(&Refused { code, refusal, message });
    }

    pub fn ended(self, finished: &Finished) {
        let end = End::of(finished, self.0.seconds());
        self.0.ended(&end);
    }

    /// The session is over for a reason of ours.
    pub fn failed(self, why: String) {
        self.ended(&failed(why));
    }
}

fn failed(why: String) -> Finished {
    Finished {
        outcome: SessionOutcome::Failed,
        exit: None,
        stdin_bytes: 0,
        stdout_bytes: 0,
        stderr_bytes: 0,
        reason: Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn log() -> (tempfile::TempDir, PathBuf, AuditLog) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let log = AuditLog::to_file(&path).expect("a log");
        (directory, path, log)
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).expect("a log");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn record(log: &AuditLog) -> AuditRecord {
        let id = SessionId::random().expect("an ID");
        AuditRecord::open(log, id, &Peer::Root { pid: Some(7) })
    }

    #[test]
    fn a_session_has_one_line_at_its_start_and_one_at_its_end() {
        let (_directory, path, log) = log();
        let mut record = record(&log);
        record.joined_by("a-1".parse().expect("an ID"));
        let command = vec![b"echo".to_vec(), b"a\n\"b\x1b[2J\xff".to_vec()];
        let asked = ExecRequest { command, tty: true, write: true, ..ExecRequest::default() };
        let namespaces = Some("net".to_owned());
        record.asked(&ExecRequest { namespaces, profile: Some(wire::Profile::Netadmin), ..asked });
        record.observed(Some("it shares".to_owned()));
        record.given(Some(entry::Profile::General));
        record.started().expect("a line");
        record.ended(&Finished {
            outcome: SessionOutcome::Finished,
            exit: Some(wire::Exit::Signal(9)),
            stdin_bytes: 1,
            stdout_bytes: 2,
            stderr_bytes: 3,
            reason: None,
        });
        let lines = lines(&path);
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&"start".into(), &"end".into()));
        assert_eq!(lines[0]["session"], lines[1]["session"]);
        assert_eq!(lines[0]["argv"][1], "a\n\"b\u{1b}[2J\u{fffd}");
        assert_eq!(lines[1]["claimed_audit_id"], "a-1");
        for line in &lines {
            assert_eq!(
                (&line["profile"], &line["asked_profile"]),
                (&"general".into(), &"netadmin".into())
            );
            assert_eq!((&line["namespaces"], &line["write"]), (&"net".into(), &true.into()));
            assert_eq!(line["host_target"], "it shares");
        }
        assert_eq!((&lines[1]["exit"], &lines[1]["stderr_bytes"]), (&137.into(), &3.into()));
    }

    #[test]
    fn a_record_that_is_dropped_has_said_so() {
        let (_directory, path, log) = log();
        drop(record(&log));
        let mut begun = record(&log);
        begun.started().expect("a line");
        drop(begun);
        let events: Vec<_> = lines(&path).iter().map(|line| line["event"].clone()).collect();
        assert_eq!(events, ["refused", "start", "end"]);
    }

    #[test]
    fn a_session_that_cannot_be_written_down_is_not_given() {
        let full = AuditLog::to_file(Path::new("/dev/full")).expect("a device");
        let mut record = record(&full);
        let error = record.started().expect_err("no room").to_string();
        assert!(error.contains("sessions are refused until it is writable"), "{error}");
    }
}
