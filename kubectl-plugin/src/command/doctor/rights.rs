//! The rights that a session takes, each asked of the API server as the gateway asks it.

use serde_json::{Value, json};
use wire::Profile;
use wire::rights::{ReviewPolicy, ReviewedTarget, Right};

use super::report::Verdict;
use super::{Found, Look};
use crate::kubernetes::error::ClusterError;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// Which right `profile` takes besides, where it does, and why.
fn beside(entered: ReviewedTarget<'_>, node: Option<&str>, profile: Profile, home: &str) -> String {
    let policy = usual(home);
    let why = policy.worth_the_node(profile);
    let (Some(right), Some(why)) = (entered.host_target(node, why.as_ref()), why) else {
        return String::new();
    };
    let given_away = ReviewPolicy { netadmin_without_host_target: true, ..policy };
    let unless = match given_away.worth_the_node(profile) {
        None => "; unless the gateway is told --netadmin-reaches-node-network",
        Some(_) => "",
    };
    match node {
        Some(_) => format!(" (the container {why}{unless})"),
        None => format!(": takes {} too, of the pod's node{unless}", said(&right)),
    }
}

/// What a gateway in the namespace `home` has reviewed unless it is told otherwise.
fn usual(home: &str) -> ReviewPolicy {
    let own_namespace = home.to_owned();
    ReviewPolicy { core_exec: true, netadmin_without_host_target: false, own_namespace }
}

fn review(right: &Right) -> Value {
    let Right { verb, group, resource, subresource, namespace, name } = right;
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            "namespace": namespace, "name": name,
        }},
    })
}

/// As a role is written from it.
fn said(right: &Right) -> String {
    let Right { verb, group, resource, subresource, namespace, name } = right;
    let mut said = format!("{verb} {resource}");
    if !group.is_empty() {
        said = format!("{said}.{group}");
    }
    if let Some(subresource) = subresource {
        said = format!("{said}/{subresource}");
    }
    if let Some(name) = name {
        said = format!("{said} \"{name}\"");
    }
    if let Some(namespace) = namespace {
        said = format!("{said} in the namespace \"{namespace}\"");
    }
    said
}

impl Look<'_> {
    pub(super) async fn at_rights(
        &mut self,
        found: Option<&Found>,
        profile: Option<Profile>,
        home: &str,
    ) {
        let policy = usual(home);
        let any = ReviewedTarget::Pod { namespace: self.namespace, name: None };
        let entered = found.map_or(any, |found| ReviewedTarget::from(&found.target));
        let node = found.and_then(|found| found.node.as_deref());
        self.need(&entered.for_api_server(), "").await;
        self.need(&entered.exec(), "").await;
        if let Some(right) = entered.core_exec(&policy) {
            self.need(&right, " (unless the gateway is told not to ask for it)").await;
        }
        if let Some(right) = entered.system_namespace(&policy) {
            self.need(&right, "").await;
        }
        self.at_profiles(entered, node, profile, home).await;
        if let Some((why, node)) = found.and_then(|found| found.container_host.as_ref()).zip(node)
            && let Some(right) = entered.host_target(Some(node), Some(why))
        {
            self.need(&right, &format!(" (the container {why})")).await;
        }
    }

    /// The one that is wanted, or any at all.
    async fn at_profiles(
        &mut self,
        entered: ReviewedTarget<'_>,
        node: Option<&str>,
        wanted: Option<Profile>,
        home: &str,
    ) {
        let mut any = false;
        for profile in Profile::ALL {
            let missing = match self.missing(entered, node, profile, home).await {
                Ok(missing) => missing,
                Err(error) => return self.report.failed("profile", &error),
            };
            let Some(missing) = missing else {
                any = true;
                let beside = beside(entered, node, profile, home);
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
        entered: ReviewedTarget<'_>,
        node: Option<&str>,
        profile: Profile,
        home: &str,
    ) -> Result<Option<String>, ClusterError> {
        let right = entered.profile(profile);
        if !self.may(&right).await? {
            return Ok(Some(said(&right)));
        }
        let why = usual(home).worth_the_node(profile);
        // The right to what is worth as much as a node is asked for where the node is known.
        let right = node.and_then(|node| entered.host_target(Some(node), why.as_ref()));
        let Some(right) = right else { return Ok(None) };
        let may = self.may(&right).await?;
        Ok((!may).then(|| format!("{}{}", said(&right), beside(entered, node, profile, home))))
    }

    async fn need(&mut self, right: &Right, because: &str) {
        match self.may(right).await {
            Ok(true) => self.report.add(Verdict::Ok, "right", format!("{}{because}", said(right))),
            Ok(false) => {
                let text = format!("cannot {}{because}", said(right));
                self.report.add(Verdict::No, "right", text);
            }
            Err(error) => self.report.failed("right", &error),
        }
    }

    async fn may(&self, right: &Right) -> Result<bool, ClusterError> {
        let answer = self.cluster.create(REVIEWS, &review(right)).await?;
        let status = &answer["status"];
        Ok(status["allowed"] == true && status["denied"] != true)
    }
}

#[cfg(test)]
mod tests {
    use wire::host::Reason;

    use super::*;

    #[test]
    fn a_right_is_said_so_that_a_role_can_be_written_from_it() {
        let right = |name| ReviewedTarget::Pod { namespace: "shop", name }.exec();
        let exec = right(Some("api"));
        assert_eq!(said(&exec), "create pods.nsdebug.dev/exec \"api\" in the namespace \"shop\"");
        let core = Right { group: "", ..right(None) };
        assert_eq!(said(&core), "create pods/exec in the namespace \"shop\"");
        let pod = ReviewedTarget::Pod { namespace: "shop", name: Some("api") };
        let host = pod.host_target(Some("n1"), Some(&Reason::Network)).expect("a right");
        assert_eq!(said(&host), "use hosttargets.nsdebug.dev \"n1\"");
    }
}
