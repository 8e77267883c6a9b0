//! The audit log: one JSON line when a session starts or is refused, one when it ends.
//!
//! Who, what, where and how much; never bytes of a session, tokens or headers. The names are those of
//! the agent's lines, which `session_id` joins with these; nobody but the gateway chooses it.
//! `claimed_audit_id` joins them with kube-apiserver's, and is whatever the client said.

use daemon::audit::{AuditError, AuditLog, AuditPhases, AuditSubject, Event};
use serde::Serialize;
use tracing::error;
use wire::{ApiTarget, AuditId, ExecRequest, Profile, chain};

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

impl End {
    fn of(outcome: SessionOutcome, seconds: f64, moved: Moved) -> Self {
        let Moved { from_client, to_client } = moved;
        Self { outcome, seconds, from_client_bytes: from_client, to_client_bytes: to_client }
    }
}

impl AuditSubject for Subject {
    fn dropped_request(&self) -> impl Serialize {
        Refused {
            code: 499,
            message: "the client closed the connection before the session started",
        }
    }

    fn dropped_session(&self, seconds: f64) -> impl Serialize {
        // Its task was ended with the runtime, and what it has moved with it.
        End::of(SessionOutcome::Failed, seconds, Moved::default())
    }

    fn not_written(&self, last: Event, error: &AuditError) {
        error!(line = %last, error = chain(error), "audit line not written");
    }
}

/// The lines of one session. However this is dropped, both have been written.
#[derive(Debug)]
#[must_use = "the session counts as over when this is dropped"]
pub(crate) struct AuditRecord(AuditPhases<Subject>);

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
        Self(AuditPhases::open(log, subject))
    }

    /// What the client, or kube-apiserver for it, calls its request.
    pub(crate) fn named_by_client(&mut self, audit_id: AuditId) {
        self.0.subject.claimed_audit_id = Some(audit_id);
    }

    pub(crate) fn session_id(&self) -> &str {
        &self.0.subject.session_id
    }

    pub(crate) fn asked(&mut self, target: &ApiTarget, request: &ExecRequest, profile: Profile) {
        let subject = &mut self.0.subject;
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
        let subject = &mut self.0.subject;
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

    /// The agent has begun it. If this fails the session is to be refused.
    pub(crate) fn started(&mut self) -> Result<(), AuditError> {
        self.0.start()
    }

    /// A dry run has found that there could be a session. If this fails it is to be refused.
    pub(crate) fn fit(&mut self) -> Result<(), AuditError> {
        self.0.fit()
    }

    pub(crate) fn refused(self, code: u16, message: &str) {
        self.0.refused(&Refused { code, message });
    }

    pub(crate) fn ended(self, outcome: SessionOutcome, moved: Moved) {
        let end = End::of(outcome, self.0.seconds(), moved);
        self.0.ended(&end);
    }
}
