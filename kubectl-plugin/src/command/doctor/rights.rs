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
        None => "unless the gateway runs with --netadmin-reaches-node-network",
        Some(_) => "",
    };
    match (node, unless) {
        (Some(_), "") => format!(" (the container {why})"),
        (Some(_), unless) => format!(" (the container {why}; {unless})"),
        (None, unless) => {
            let unless = if unless.is_empty() { String::new() } else { format!(" ({unless})") };
            format!(": also needs {}, for the pod's node{unless}", right.in_a_role())
        }
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
            self.need(&right, " (unless the gateway runs with --insecure-skip-core-exec-review)")
                .await;
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
            let verdict = if wanted == Some(profile) { Verdict::No } else { Verdict::Note };
            self.report.add(verdict, "profile", format!("{profile}: cannot {missing}"));
        }
        if !any {
            self.report.add(
                Verdict::No,
                "profile",
                "a session needs the right to a profile, and you have none",
            );
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
            return Ok(Some(right.in_a_role()));
        }
        let why = usual(home).worth_the_node(profile);
        // The right to what is worth as much as a node is asked for where the node is known.
        let right = node.and_then(|node| entered.host_target(Some(node), why.as_ref()));
        let Some(right) = right else { return Ok(None) };
        let may = self.may(&right).await?;
        Ok((!may).then(|| format!("{}{}", right.in_a_role(), beside(entered, node, profile, home))))
    }

    async fn need(&mut self, right: &Right, because: &str) {
        match self.may(right).await {
            Ok(true) => {
                self.report.add(Verdict::Ok, "right", format!("{}{because}", right.in_a_role()));
            }
            Ok(false) => {
                let text = format!("cannot {}{because}", right.in_a_role());
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
