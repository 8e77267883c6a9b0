//! `kubectl nsdebug doctor TARGET … -- COMMAND`: whether a session with these arguments would work, a line each.
//!
//! The session itself is asked for, to be judged and not begun: that is the last word. The rest explains
//! it, and is all there is where that cannot be asked. What cannot be seen is called so and never guessed.

mod answer;
mod api;
mod pod;
mod report;
mod rights;
mod session;

use wire::{ApiTarget, Label, Profile};

use super::run::{self, InCluster, Wanted, Words, judged};
use crate::cli::{Arguments, CertificateFlags, ClusterFlags};
use crate::error::Failure;
use crate::kubernetes::error::ClusterError;
use crate::kubernetes::{Cluster, ClusterTarget};
use crate::outcome::Outcome;
use crate::{connect, output, runtime};
use report::{Report, Verdict};

/// The session that is meant.
struct Meant<'a> {
    place: &'a ClusterTarget,
    container: Option<&'a Label>,
    query: &'a str,
}

/// Which cluster is meant, and as whom.
struct ClusterWay<'a> {
    flags: &'a ClusterFlags,
    certificates: &'a CertificateFlags,
    namespace: Option<&'a Label>,
}

pub(super) fn run(arguments: Arguments) -> Result<Outcome, Failure> {
    let (container, profile) = (arguments.container.clone(), arguments.choice.profile);
    let report = if names_nothing(&arguments) {
        let Arguments { cluster: flags, certificates, namespace, .. } = &arguments;
        let way = ClusterWay { flags, certificates, namespace: namespace.as_ref() };
        runtime::run(of_cluster(way, None, profile))?
    } else {
        let Wanted { way, words: Words { query, .. } } = judged(arguments)?;
        match way {
            run::Way::Agent { address, credentials, target } => {
                let path = format!("{}?{query}", target.path());
                let mut report = Report::default();
                let asking = connect::rehearse(&address, &credentials, &path);
                let answer = runtime::run(async { Ok(asking.await) })?;
                answer::settle(&mut report, answer, connect::ConnectError::hint);
                report
            }
            run::Way::Cluster(wanted) => {
                let InCluster { place, namespace, flags, certificates } = &*wanted;
                let way = ClusterWay { flags, certificates, namespace: namespace.as_ref() };
                let meant = Meant { place, container: container.as_ref(), query: &query };
                runtime::run(of_cluster(way, Some(meant), profile))?
            }
        }
    };
    for line in report.lines() {
        output::line(&line);
    }
    Ok(Outcome::of(u8::from(!report.works())))
}

/// Whether no session is meant: then it is looked at what all of them need in a cluster.
fn names_nothing(arguments: &Arguments) -> bool {
    let Arguments { targets, selection, direct, .. } = arguments;
    targets.is_empty() && !selection.selects() && direct.agent.is_none()
}

async fn of_cluster(
    way: ClusterWay<'_>,
    meant: Option<Meant<'_>>,
    profile: Option<Profile>,
) -> Result<Report, Failure> {
    let ClusterWay { flags, certificates, namespace } = way;
    let cluster = Cluster::open(flags, certificates).await?;
    let namespace = namespace.map_or(cluster.default_namespace(), Label::as_str);
    let mut look = Look { cluster: &cluster, report: Report::default(), namespace };
    look.at_everything(flags, meant, profile).await;
    Ok(look.report)
}

/// One examination.
struct Look<'a> {
    cluster: &'a Cluster,
    report: Report,
    namespace: &'a str,
}

/// What there is to enter, as far as it was found.
struct Found {
    target: ApiTarget,
    node: Option<String>,
    container_host: Option<wire::host::Reason>,
}

impl Look<'_> {
    async fn at_everything(
        &mut self,
        flags: &ClusterFlags,
        meant: Option<Meant<'_>>,
        profile: Option<Profile>,
    ) {
        // Who cannot be reached says nothing about the rest either.
        if !self.at_api_server(flags).await {
            return;
        }
        let home = self.at_api_service().await;
        let Some(Meant { place, container, query }) = meant else {
            self.at_rights(None, profile, &home).await;
            let text = "no pod is given, so no agent is checked: `doctor pod/NAME` checks the agent of the pod's node";
            return self.report.add(Verdict::Unknown, "agent", text);
        };
        let target = match self.cluster.resolve(place, self.namespace).await {
            Ok(target) => Some(target),
            Err(error) => {
                self.report.failed("target", &error);
                None
            }
        };
        let found = match target.clone() {
            Some(target) => self.at_target(target, container).await,
            None => None,
        };
        self.at_rights(found.as_ref(), profile, &home).await;
        if let Some(node) = found.as_ref().and_then(|found| found.node.as_ref()) {
            self.at_agent(node, &home).await;
        }
        if let Some(target) = target {
            self.at_session(&target, query).await;
        }
    }
}

/// Whether it was refused and not missing: then nothing is known.
fn is_hidden(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Status(status) if status.code == 403)
}
