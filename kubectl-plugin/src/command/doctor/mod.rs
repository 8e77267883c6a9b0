//! `kubectl nsdebug doctor [TARGET]`: what would work for this user and this pod, a line each.
//!
//! Asks what a session would ask, and opens none. What cannot be seen is called so and never guessed;
//! what a session cannot do without decides the exit code.

mod api;
mod pod;
mod report;
mod rights;

use wire::{ApiTarget, Label, Profile};

use super::run::place;
use crate::cli::{Arguments, ClusterFlags};
use crate::error::Failure;
use crate::kubernetes::Cluster;
use crate::kubernetes::error::ClusterError;
use crate::outcome::Outcome;
use crate::target::Target;
use crate::{output, runtime};
use report::{Report, Verdict};

pub(super) fn run(arguments: Arguments, target: Option<Target>) -> Result<Outcome, Failure> {
    let place = target.map(|target| place(Some(target), None)).transpose()?;
    let Arguments { cluster: flags, certificates, namespace, container, choice, .. } = arguments;
    let report = runtime::run(async {
        let cluster = Cluster::open(&flags, &certificates).await?;
        let namespace = namespace.as_ref().map_or(cluster.default_namespace(), Label::as_str);
        let mut look = Look { cluster: &cluster, report: Report::default(), namespace };
        let wanted = choice.profile;
        let container = container.as_ref();
        look.at_everything(&flags, place.as_ref(), container, wanted).await;
        Ok(look.report)
    })?;
    for line in report.lines() {
        output::line(&line);
    }
    Ok(Outcome::of(u8::from(!report.works())))
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
        place: Option<&crate::kubernetes::ClusterTarget>,
        container: Option<&Label>,
        profile: Option<Profile>,
    ) {
        // A server that cannot be reached or does not know us has no answer about the rest either.
        if !self.at_api_server(flags).await {
            return;
        }
        let home = self.at_api_service().await;
        let found = match place {
            None => None,
            Some(place) => match self.cluster.resolve(place, self.namespace).await {
                Ok(target) => self.at_target(target, container).await,
                Err(error) => {
                    self.report.failed("target", &error);
                    None
                }
            },
        };
        self.at_rights(found.as_ref(), profile, &home).await;
        match found.as_ref().and_then(|found| found.node.as_ref()) {
            Some(node) => self.at_agent(node, &home).await,
            None if place.is_none() => {
                self.report.add(
                    Verdict::Unseen,
                    "agent",
                    "no pod is given: `doctor pod/NAME` looks at its node's",
                );
            }
            None => {}
        }
    }
}

/// Whether it was refused and not missing: then nothing is known.
fn is_hidden(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Status(status) if status.code == 403)
}
