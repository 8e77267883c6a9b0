//! The audit log: one JSON line when a session starts or is refused, one when it ends.
//!
//! Who, what, where and how much; never bytes of a session, tokens or headers. The names are those of
//! the agent's lines, which `session_id` joins with these; nobody but the gateway chooses it.
//! `claimed_audit_id` joins them with kube-apiserver's, and is whatever the client said.

use std::time::Instant;

use daemon::audit::{AuditError, AuditLog, Event};
use serde::Serialize;
use wire::{ApiTarget, AuditId, ExecRequest, Profile};

use crate::identity::Caller;
use crate::metrics::SessionOutcome;
use crate::relay::Moved;
use crate::target::Target;

/// What is known of a session so far.
#[derive(Debug, Default, Serialize)]
struct Subject {
    session_id: String,
    claimed_audit_id: Option<AuditId>,
    user: String,
    uid: Option<String>,
    groups: Vec<String>,
    client: Option<String>,
    pod: Option<Pod>,
    container: Option<Container>,
    node: Option<String>,
    argv: Vec<String>,
    profile: Option<String>,
    run_as: Option<String>,
    /// Whether the target's files may be written.
    write: bool,
    /// The kinds that were asked for; none where it is all.
    namespaces: Option<String>,
    /// Why it is worth as much as its node.
    host_target: Option<String>,
    tty: bool,
    /// The caller's own words.
    reason: Option<String>,
    /// It was only asked whether there could be a session.
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Pod {
    namespace: String,
    name: String,
    uid: Option<String>,
}

#[derive(Debug, Serialize)]
struct Container {
    name: Option<String>,
    id: Option<String>,
}

#[derive(Serialize)]
struct Refused<'a> {
    code: u16,
    message: &'a str,
}

#[derive(Serialize)]
struct End {
    outcome: SessionOutcome,
    seconds: f64,
    from_client_bytes: u64,
    to_client_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asked,
    Started,
    Closed,
}

/// The lines of one session. However this is dropped, both have been written.
#[derive(Debug)]
#[must_use = "the session counts as over when this is dropped"]
pub(crate) struct AuditRecord {
    log: AuditLog,
    subject: Subject,
    phase: Phase,
    since: Instant,
}

impl AuditRecord {
    /// Of a session that `caller` asks for.
    pub(crate) fn open(
        log: &AuditLog,
        session_id: String,
        caller: &Caller,
        client: Option<String>,
    ) -> Self {
        let subject = Subject {
            session_id,
            user: caller.name().to_owned(),
            uid: caller.uid().map(str::to_owned),
            groups: caller.groups().to_vec(),
            client,
            ..Subject::default()
        };
        Self { log: log.clone(), subject, phase: Phase::Asked, since: Instant::now() }
    }

    /// What the client, or kube-apiserver for it, calls its request.
    pub(crate) fn named_by_client(&mut self, audit_id: AuditId) {
        self.subject.claimed_audit_id = Some(audit_id);
    }

    pub(crate) fn session_id(&self) -> &str {
        &self.subject.session_id
    }

    pub(crate) fn asked(&mut self, target: &ApiTarget, request: &ExecRequest, profile: Profile) {
        let subject = &mut self.subject;
        match target {
            ApiTarget::Pod { namespace, name } => {
                let (namespace, name) = (namespace.to_string(), name.to_string());
                subject.pod = Some(Pod { namespace, name, uid: None });
                let name = request.container.as_ref().map(ToString::to_string);
                subject.container = Some(Container { name, id: None });
            }
            ApiTarget::Node { name } => subject.node = Some(name.to_string()),
        }
        let argv = request.command.iter();
        subject.argv = argv.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        subject.profile = Some(profile.to_string());
        subject.run_as.clone_from(&request.run_as);
        subject.write = request.write;
        subject.namespaces.clone_from(&request.namespaces);
        subject.tty = request.tty;
        subject.reason.clone_from(&request.reason);
        subject.dry_run = request.dry_run;
    }

    pub(crate) fn found(&mut self, target: &Target) {
        let Target { node, pod_uid, container, container_id, host, .. } = target;
        let subject = &mut self.subject;
        subject.host_target = host.as_ref().map(ToString::to_string);
        subject.node = Some(node.clone());
        if let Some(pod) = &mut subject.pod {
            pod.uid.clone_from(pod_uid);
        }
        subject.container = container.as_ref().map(|name| Container {
            name: Some(name.to_string()),
            id: container_id.as_ref().map(ToString::to_string),
        });
    }

    pub(crate) fn start(&mut self) -> Result<(), AuditError> {
        self.phase = Phase::Started;
        self.since = Instant::now();
        let written = self.log.write(Event::Start, &self.subject, &());
        if written.is_err() {
            self.phase = Phase::Closed; // it never was a session
        }
        written
    }

    /// A dry run has found that there could be a session.
    pub(crate) fn fit(mut self) -> Result<(), AuditError> {
        self.phase = Phase::Closed;
        self.log.write(Event::Fit, &self.subject, &())
    }

    pub(crate) fn refused(mut self, code: u16, message: &str) -> Result<(), AuditError> {
        self.phase = Phase::Closed;
        self.log.write(Event::Refused, &self.subject, &Refused { code, message })
    }

    pub(crate) fn end(mut self, outcome: SessionOutcome, moved: Moved) -> Result<(), AuditError> {
        self.phase = Phase::Closed;
        self.ended(outcome, moved)
    }

    fn ended(&self, outcome: SessionOutcome, moved: Moved) -> Result<(), AuditError> {
        let Moved { from_client, to_client } = moved;
        let end = End {
            outcome,
            seconds: self.since.elapsed().as_secs_f64(),
            from_client_bytes: from_client,
            to_client_bytes: to_client,
        };
        self.log.write(Event::End, &self.subject, &end)
    }
}

impl Drop for AuditRecord {
    fn drop(&mut self) {
        // A request that its client gave up, or a task that was ended with the runtime. There is
        // nobody left to tell that a line could not be written.
        let _ = match self.phase {
            Phase::Closed => Ok(()),
            Phase::Started => self.ended(SessionOutcome::Failed, Moved::default()),
            Phase::Asked => {
                let gave_up = Refused { code: 499, message: "the client gave up" };
                self.log.write(Event::Refused, &self.subject, &gave_up)
            }
        };
    }
}
