//! The rights that a session takes, each asked of the API server as the gateway asks it.

use serde_json::{Value, json};
use wire::api::GROUP;
use wire::host;
use wire::{ApiTarget, Profile};

use super::report::Verdict;
use super::{Found, Look, pod_name};
use crate::kubernetes::error::ClusterError;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const KUBE_SYSTEM: &str = "kube-system";

/// What a session is to enter.
enum Entered<'a> {
    /// Who may do that needs no right to what is worth as much.
    Node,
    Pod {
        node: Option<&'a str>,
    },
}

impl Entered<'_> {
    /// What a person should know of `profile` besides: which right it takes, where it does and why.
    fn beside(&self, profile: Profile) -> String {
        let (Self::Pod { node }, Some(why)) = (self, by_profile(profile)) else {
            return String::new();
        };
        let unless = if host::by_profile(profile, true).is_none() {
            "; unless the gateway is told --netadmin-reaches-node-network"
        } else {
            ""
        };
        match node {
            Some(_) => format!(" (the container {why}{unless})"),
            None => format!(
                ": takes {} too, of the pod's node{unless}",
                using("hosttargets", "", "").said()
            ),
        }
    }
}

/// What the gateway would say of it, as it is unless it is told otherwise.
fn by_profile(profile: Profile) -> Option<host::Reason> {
    host::by_profile(profile, false)
}

/// One thing that one may do; without a name, to all of them.
struct Right<'a> {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    namespace: &'a str,
    name: &'a str,
}

impl Right<'_> {
    fn review(&self) -> Value {
        let Self { verb, group, resource, subresource, namespace, name } = self;
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "namespace": namespace, "name": name,
            }},
        })
    }

    fn said(&self) -> String {
        let Self { verb, group, resource, subresource, namespace, name } = self;
        let mut said = format!("{verb} {resource}");
        if !group.is_empty() {
            said = format!("{said}.{group}");
        }
        if !subresource.is_empty() {
            said = format!("{said}/{subresource}");
        }
        if !name.is_empty() {
            said = format!("{said} \"{name}\"");
        }
        if !namespace.is_empty() {
            said = format!("{said} in the namespace \"{namespace}\"");
        }
        said
    }
}

impl Look<'_> {
    pub(super) async fn at_rights(
        &mut self,
        found: Option<&Found>,
        profile: Option<Profile>,
        home: &str,
    ) {
        let target = found.map(|found| &found.target);
        let is_node = matches!(target, Some(ApiTarget::Node { .. }));
        let name = match target {
            Some(ApiTarget::Node { name }) => name.as_str(),
            Some(target) => pod_name(target).map_or("", |name| name.as_str()),
            None => "",
        };
        let namespace = if is_node { "" } else { self.namespace };
        let resource = if is_node { "nodes" } else { "pods" };
        for verb in ["get", "create"] {
            let right =
                Right { verb, group: GROUP, resource, subresource: "exec", namespace, name };
            self.need(&right, "").await;
        }
        if !is_node {
            let (verb, subresource) = ("create", "exec");
            let right = Right { verb, group: "", resource, subresource, namespace, name };
            self.need(&right, " (unless the gateway is told not to ask for it)").await;
            if [KUBE_SYSTEM, home].contains(&namespace) {
                self.need(&using("systemnamespaces", "", namespace), "").await;
            }
        }
        let node = found.filter(|_| !is_node).and_then(|found| found.node.as_deref());
        self.at_profiles(
            namespace,
            profile,
            if is_node { Entered::Node } else { Entered::Pod { node } },
        )
        .await;
        if let Some((why, node)) =
            found.and_then(|found| found.container_host.as_ref().zip(found.node.as_deref()))
        {
            let because = format!(" (the container {why})");
            self.need(&using("hosttargets", "", node), &because).await;
        }
    }

    /// The one that is wanted, or any at all.
    async fn at_profiles(
        &mut self,
        namespace: &str,
        wanted: Option<Profile>,
        entered: Entered<'_>,
    ) {
        let mut any = false;
        for profile in Profile::ALL {
            let missing = match self.missing(namespace, profile, &entered).await {
                Ok(missing) => missing,
                Err(error) => return self.report.failed("profile", &error),
            };
            let Some(missing) = missing else {
                any = true;
                let beside = entered.beside(profile);
                self.report.add(Verdict::Ok, "profile", format!("{profile}{beside}"));
                continue;
            };
            let verdict = if wanted == Some(profile) { Verdict::No } else { Verdict::Without };
            self.report.add(verdict, "profile", format!("{profile}: cannot {missing}"));
        }
        if !any {
            self.report.add(Verdict::No, "profile", "a session needs one, and there is none");
        }
    }

    /// What one lacks for a session of `profile`, in words.
    async fn missing(
        &self,
        namespace: &str,
        profile: Profile,
        entered: &Entered<'_>,
    ) -> Result<Option<String>, ClusterError> {
        let right = using("profiles", namespace, profile.as_str());
        if !self.may(&right).await? {
            return Ok(Some(right.said()));
        }
        let (Entered::Pod { node: Some(node) }, Some(_)) = (entered, by_profile(profile)) else {
            return Ok(None);
        };
        let right = using("hosttargets", "", node);
        let may = self.may(&right).await?;
        Ok((!may).then(|| format!("{}{}", right.said(), entered.beside(profile))))
    }

    async fn need(&mut self, right: &Right<'_>, because: &str) {
        match self.may(right).await {
            Ok(true) => self.report.add(Verdict::Ok, "right", format!("{}{because}", right.said())),
            Ok(false) => {
                let text = format!("cannot {}{because}", right.said());
                self.report.add(Verdict::No, "right", text);
            }
            Err(error) => self.report.failed("right", &error),
        }
    }

    async fn may(&self, right: &Right<'_>) -> Result<bool, ClusterError> {
        let answer = self.cluster.create(REVIEWS, &right.review()).await?;
        let status = &answer["status"];
        Ok(status["allowed"] == true && status["denied"] != true)
    }
}

fn using<'a>(resource: &'static str, namespace: &'a str, name: &'a str) -> Right<'a> {
    Right { verb: "use", group: GROUP, resource, subresource: "", namespace, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_said_so_that_a_role_can_be_written_from_it() {
        let exec = Right {
            verb: "create",
            group: GROUP,
            resource: "pods",
            subresource: "exec",
            namespace: "shop",
            name: "api",
        };
        assert_eq!(exec.said(), "create pods.nsdebug.dev/exec \"api\" in the namespace \"shop\"");
        assert_eq!(
            Right { group: "", name: "", ..exec }.said(),
            "create pods/exec in the namespace \"shop\""
        );
        assert_eq!(using("hosttargets", "", "n1").said(), "use hosttargets.nsdebug.dev \"n1\"");
    }
}
