//! Pods, listed page by page, and what of each of them is kept: fifty pages of all that pods say of themselves
//! would be held otherwise.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// Pods of one page, as kubectl asks for them.
pub(super) const PAGE: usize = 500;

/// Which pods are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodQuery {
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
}

impl PodQuery {
    /// Where they are listed: in one namespace, or in all.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let place = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let terms = [("labelSelector", &self.labels), ("fieldSelector", &self.fields)];
        let terms = terms.into_iter().filter_map(|(name, selector)| {
            selector.as_ref().map(|selector| format!("{name}={}", encode(selector)))
        });
        format!("/api/v1{place}/pods?{}", terms.collect::<Vec<_>>().join("&"))
    }
}

impl fmt::Display for PodQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.labels, &self.fields) {
            (Some(labels), Some(fields)) => {
                write!(f, "the labels `{labels}` and the fields `{fields}`")
            }
            (Some(labels), None) => write!(f, "the labels `{labels}`"),
            (None, Some(fields)) => write!(f, "the fields `{fields}`"),
            (None, None) => f.write_str("no selector"),
        }
    }
}

/// What is kept of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ListedPod {
    pub(crate) metadata: ListedMetadata,
    #[serde(default)]
    pub(crate) spec: ListedSpec,
    #[serde(default)]
    pub(crate) status: ListedStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListedMetadata {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) owner_references: Vec<ListedOwner>,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListedOwner {
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListedSpec {
    pub(crate) node_name: String,
    pub(crate) containers: Vec<ListedContainer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListedContainer {
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListedStatus {
    pub(crate) phase: String,
    pub(crate) container_statuses: Vec<ListedRun>,
    pub(crate) init_container_statuses: Vec<ListedRun>,
    pub(crate) ephemeral_container_statuses: Vec<ListedRun>,
}

/// What a container does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListedRun {
    name: String,
    restart_count: i32,
    state: ListedState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ListedState {
    running: Option<serde::de::IgnoredAny>,
}

impl ListedStatus {
    /// How often `container` was restarted, if it runs.
    pub(crate) fn runs(&self, container: &str) -> Option<i32> {
        let all = [
            &self.container_statuses,
            &self.init_container_statuses,
            &self.ephemeral_container_statuses,
        ];
        let one = all.into_iter().flatten().find(|one| one.name == container)?;
        one.state.running.map(|_| one.restart_count)
    }
}

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    pub(super) items: Vec<ListedPod>,
}

impl Page {
    /// What a watch goes on from.
    pub(super) fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Where the page after this is, if the first one is at `path`.
    pub(super) fn next(&self, path: &str) -> Option<String> {
        let rest = Some(&self.metadata.rest).filter(|rest| !rest.is_empty())?;
        Some(format!("{path}&continue={}", utf8_percent_encode(rest, NON_ALPHANUMERIC)))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    rest: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_asked_for_and_named() {
        let query = |labels: Option<&str>, fields: Option<&str>| PodQuery {
            labels: labels.map(str::to_owned),
            fields: fields.map(str::to_owned),
        };
        let both = query(Some("a=b"), Some("spec.nodeName=n1"));
        assert_eq!(
            both.path(Some("shop")),
            "/api/v1/namespaces/shop/pods?labelSelector=a%3Db&fieldSelector=spec%2EnodeName%3Dn1"
        );
        assert_eq!(query(None, Some("a=b")).path(None), "/api/v1/pods?fieldSelector=a%3Db");
        assert_eq!(both.to_string(), "the labels `a=b` and the fields `spec.nodeName=n1`");
        assert_eq!(query(Some("a"), None).to_string(), "the labels `a`");
    }
}
