//! From the words of a command line to pods: each of them once, and none if they are too many.
//!
//! The API server is asked once for each selector, and not at all for a pod that is named, unless more has to be known
//! of it than its name.

use std::collections::HashSet;
use std::num::NonZeroU16;

use futures_util::{StreamExt, stream};
use wire::{ApiTarget, Label, ObjectName};

use super::member::Member;
use crate::cli::UsageError;
use crate::error::Failure;
use crate::kubernetes::error::{ClusterError, TargetError};
use crate::kubernetes::{Cluster, ClusterTarget, ListedPod, PodQuery};
use crate::target::{Target, Workload};

/// Pods that are looked at side by side: each takes a connection, which its session then has.
const LOOKS: usize = 8;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) targets: Vec<Target>,
    /// Instead of targets.
    pub(crate) query: Option<PodQuery>,
    pub(crate) all_namespaces: bool,
    /// Of a workload, and not one.
    pub(crate) all_pods: bool,
    pub(crate) container: Option<Label>,
    pub(crate) namespace: Option<Label>,
    pub(crate) most: NonZeroU16,
    /// Whether node, container and workload of a named pod have to be known, which takes a request and a right more.
    pub(crate) detailed: bool,
}

/// The pods and nodes of `wish`, in the order in which they are named or listed, and what more of them are found by.
pub(crate) async fn select(
    cluster: &Cluster,
    wish: &Wish,
) -> Result<(Vec<Member>, Vec<Followed>), Failure> {
    let namespace = wish.namespace.as_ref().map_or(cluster.default_namespace(), Label::as_str);
    let mut selection = Selection::of(wish);
    if let Some(query) = &wish.query {
        let place = (!wish.all_namespaces).then_some(namespace);
        selection.list(cluster, place, query, &query.to_string()).await?;
    }
    for target in &wish.targets {
        match target {
            Target::Workload { kind, name } if wish.all_pods => {
                selection.all_of(cluster, *kind, name, namespace).await?;
            }
            target => selection.one_of(cluster, target, namespace).await?,
        }
    }
    if selection.found > usize::from(wish.most.get()) {
        return Err(UsageError::TooMany { found: selection.found, most: wish.most }.into());
    }
    let followed = std::mem::take(&mut selection.followed);
    let members = if wish.detailed { selection.detailed(cluster).await } else { selection.members };
    Ok((members, followed))
}

/// Pods that are found by what they have.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    /// Or all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) query: PodQuery,
}

struct Selection<'a> {
    wish: &'a Wish,
    members: Vec<Member>,
    known: HashSet<String>,
    followed: Vec<Followed>,
    /// All that were found: members are kept only as far as they may be entered.
    found: usize,
}

impl<'a> Selection<'a> {
    fn of(wish: &'a Wish) -> Self {
        Self { wish, members: Vec::new(), known: HashSet::new(), followed: Vec::new(), found: 0 }
    }

    fn add(&mut self, member: Member) {
        if self.found <= usize::from(self.wish.most.get()) {
            if !self.known.insert(member.target.path()) {
                return;
            }
            self.members.push(member);
        }
        self.found += 1;
    }

    async fn list(
        &mut self,
        cluster: &Cluster,
        place: Option<&str>,
        query: &PodQuery,
        what: &str,
    ) -> Result<(), Failure> {
        let namespace = place.map(str::to_owned);
        self.followed.push(Followed { namespace, query: query.clone() });
        let before = self.found;
        let container = self.wish.container.clone();
        let listing = cluster.list(place, query, |pod| {
            if !is_over(&pod)
                && let Some(member) = Member::listed(pod, container.as_ref())
            {
                self.add(member);
            }
        });
        listing.await?;
        if self.found == before && self.members.is_empty() {
            return Err(none(what, place).into());
        }
        Ok(())
    }

    async fn all_of(
        &mut self,
        cluster: &Cluster,
        kind: Workload,
        name: &ObjectName,
        namespace: &str,
    ) -> Result<(), Failure> {
        let query = cluster.pods_of(kind, name, namespace).await?;
        let what = format!("{}/{name}", kind.names()[0]);
        self.list(cluster, Some(namespace), &query, &what).await
    }

    async fn one_of(
        &mut self,
        cluster: &Cluster,
        target: &Target,
        namespace: &str,
    ) -> Result<(), Failure> {
        let place = match target.clone() {
            Target::Pod(name) => ClusterTarget::Pod(name),
            Target::Node(name) => ClusterTarget::Node(name),
            Target::Workload { kind, name } => ClusterTarget::Workload { kind, name },
            Target::Container(_) => {
                return Err(UsageError::NotOfCluster { target: target.to_string() }.into());
            }
        };
        if self.wish.container.is_some() && matches!(place, ClusterTarget::Node(_)) {
            return Err(UsageError::ContainerOfNoPod.into());
        }
        let resolved = cluster.resolve(&place, namespace).await?;
        self.add(Member::named(resolved, self.wish.container.as_ref()));
        Ok(())
    }

    /// The members with what the API server says of those that were only named. One that the user may not read, or
    /// that is not there, stays as it is: its session says why.
    async fn detailed(self, cluster: &Cluster) -> Vec<Member> {
        let container = self.wish.container.as_ref();
        let look = async |member: Member| match &member.target {
            ApiTarget::Pod { namespace, name } if member.node.is_none() => {
                let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
                let pod = cluster.get::<ListedPod>(&path).await.ok();
                pod.and_then(|pod| Member::listed(pod, container)).unwrap_or(member)
            }
            _ => member,
        };
        stream::iter(self.members).map(look).buffered(LOOKS).collect().await
    }
}

/// A pod that has ended has no namespaces to enter.
fn is_over(pod: &ListedPod) -> bool {
    matches!(pod.status.phase.as_str(), "Succeeded" | "Failed")
}

fn none(what: &str, place: Option<&str>) -> ClusterError {
    let what = what.to_owned();
    ClusterError::Target(match place {
        Some(namespace) => TargetError::NoPods { what, namespace: namespace.to_owned() },
        None => TargetError::NoPodsAtAll { what },
    })
}
