//! What a session would be: the answer to a request that is only to be judged.
//!
//! A request with `dryRun=All`, Kubernetes' own word, is reviewed, looked up and planned like any other,
//! and no tool starts. It asks for no websocket: a server that does not know the parameter refuses it for
//! that alone. The answer is this, or the refusal that the session would get; either has [`DRY_RUN`].

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::api::{GROUP, VERSION};

/// The parameter of the query, and its only value.
pub const PARAMETER: &str = "dryRun";
pub const ALL: &str = "All";

/// Both as the end of a query.
pub(crate) const SUFFIX: &str = "&dryRun=All";

/// On each answer to such a request, with [`ALL`]: who answers without it does not know dry runs.
pub const DRY_RUN: &str = "nsdebug-dry-run";

/// A session as it would begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    pub kind: String,
    pub api_version: String,
    /// The agent itself does not say which node it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `NAMESPACE/NAME`, where the target is of a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    pub entered: Entered,
    /// The container's name in its pod, and its ID; of a sandbox, the sandbox's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// None where sessions run the node's own tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    #[serde(default)]
    pub capabilities: Vec<String>,
    #[serde(default)]
    pub namespaces: Namespaces,
    /// Whether `/target` would be writable.
    #[serde(default)]
    pub write: bool,
    /// Why the target is worth as much as its node, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_target: Option<String>,
    /// For the person.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What a session would be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Entered {
    Container,
    /// The pod's own namespaces: the container that is meant does not run.
    Sandbox,
    Node,
}

/// Who the tool would be, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    #[serde(default)]
    pub groups: Vec<u32>,
}

/// Kinds of namespaces, by what the tool would have of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// The target's.
    #[serde(default)]
    pub joined: Vec<String>,
    /// What the target shares with the node.
    #[serde(default)]
    pub shared: Vec<String>,
    /// Empty ones of its own.
    #[serde(default)]
    pub own: Vec<String>,
}

impl DryRun {
    /// One of which nothing is said yet.
    #[must_use]
    pub fn new(entered: Entered) -> Self {
        Self {
            kind: "DryRun".to_owned(),
            api_version: format!("{GROUP}/{VERSION}"),
            node: None,
            pod: None,
            entered,
            container: None,
            container_id: None,
            profile: None,
            user: None,
            capabilities: Vec::new(),
            namespaces: Namespaces::default(),
            write: false,
            host_target: None,
            notes: Vec::new(),
        }
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // strings and numbers always serialise
    }
}

/// Whether `query` has the parameter, whatever else is wrong with it.
#[must_use]
pub fn is_in(query: &str) -> bool {
    let is_it = |name: &str| percent_decode_str(name).eq(PARAMETER.bytes());
    query.split('&').any(|pair| is_it(pair.split_once('=').map_or(pair, |(name, _)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_survives_the_way_and_what_is_not_said_is_left_out() {
        let bare = DryRun::new(Entered::Node);
        let full = DryRun {
            node: Some("n1".to_owned()),
            container: Some("app".to_owned()),
            user: Some(User { uid: 1000, gid: 0, groups: vec![5] }),
            capabilities: vec!["NET_RAW".to_owned()],
            namespaces: Namespaces { joined: vec!["net".to_owned()], ..Namespaces::default() },
            notes: vec!["a note".to_owned()],
            ..DryRun::new(Entered::Sandbox)
        };
        for dry_run in [bare.clone(), full] {
            assert_eq!(serde_json::from_slice(&dry_run.to_json()).ok(), Some(dry_run));
        }
        let text = String::from_utf8(bare.to_json()).expect("text");
        assert!(
            text.starts_with(
                r#"{"kind":"DryRun","apiVersion":"nsdebug.dev/v1alpha1","entered":"node""#
            ),
            "{text}"
        );
    }

    #[test]
    fn the_parameter_is_seen_in_a_query_that_is_wrong_otherwise() {
        assert!(is_in("command=ps&dryRun=All") && is_in("dryRun=&x"));
        assert!(is_in("dryRun") && is_in("%64ryRun=All"));
        assert!(!is_in("command=dryRun=All") && !is_in("dryrun=All") && !is_in(""));
    }
}
