//! The paths of the aggregated API, read in one way only.
//!
//! kube-apiserver trims slashes and ignores what follows a subresource; a program that read a path more
//! kindly than it is written could be asked about one thing and do another.

use crate::name::{Label, ObjectName};

/// The API group.
pub const GROUP: &str = "nsdebug.dev";

/// Its only version.
pub const VERSION: &str = "v1alpha1";

/// What a gateway calls itself in the header `Server` of discovery, with `/` and its version behind it:
/// kube-apiserver hands on what it says, while its copies of documents on an API come some time later.
pub const SERVER: &str = "nsdebug-gateway";

/// What a session is asked for at the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiTarget {
    Pod { namespace: Label, name: ObjectName },
    Node { name: ObjectName },
}

impl ApiTarget {
    /// The path to `GET`. No name can hold a character that needs encoding.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Pod { namespace, name } => {
                format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/pods/{name}/exec")
            }
            Self::Node { name } => format!("/apis/{GROUP}/{VERSION}/nodes/{name}/exec"),
        }
    }

    /// What `path` asks for, if it is written exactly as [`Self::path`] writes it.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').collect();
        match segments[..] {
            ["", "apis", GROUP, VERSION, "namespaces", namespace, "pods", name, "exec"] => {
                let (namespace, name) = (namespace.parse().ok()?, name.parse().ok()?);
                Some(Self::Pod { namespace, name })
            }
            ["", "apis", GROUP, VERSION, "nodes", name, "exec"] => {
                Some(Self::Node { name: name.parse().ok()? })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api-0.x/exec";

    #[test]
    fn a_path_survives_being_read() {
        for path in [POD, "/apis/nsdebug.dev/v1alpha1/nodes/n1.example/exec"] {
            assert_eq!(ApiTarget::parse(path).expect("a target").path(), path);
        }
    }

    #[test]
    fn every_other_spelling_is_nothing() {
        let long = format!("/apis/nsdebug.dev/v1alpha1/nodes/{}/exec", "n".repeat(300));
        let bad = [
            "",
            "/",
            "apis/nsdebug.dev/v1alpha1/nodes/n/exec",
            "//apis/nsdebug.dev/v1alpha1/nodes/n/exec",
            "/apis/nsdebug.dev/v1alpha1/nodes/n/exec/",
            "/apis/nsdebug.dev/v1alpha1/nodes/n/exec/x",
            "/apis/nsdebug.dev/v1alpha1/nodes//exec",
            "/apis/nsdebug.dev/v1alpha1/nodes/n%2Fm/exec",
            "/apis/nsdebug.dev/v1alpha1/nodes/n/%65xec",
            "/apis/nsdebug.dev/v1alpha1/nodes/../exec",
            "/apis/nsdebug.dev/v1alpha1/nodes/N/exec",
            "/apis/nsdebug.dev/v1alpha1/watch/nodes/n/exec",
            "/apis/nsdebug.dev/v1alpha1/proxy/nodes/n/exec",
            "/APIS/nsdebug.dev/v1alpha1/nodes/n/exec",
            "/apis/nsdebug.dev/v1/nodes/n/exec",
            "/apis/nsdebug.dev/v1alpha1/pods/p/exec",
            "/apis/nsdebug.dev/v1alpha1/namespaces/a.b/pods/p/exec",
            "/apis/nsdebug.dev/v1alpha1/namespaces/a/pods/p/attach",
            "/apis/nsdebug.dev/v1alpha1/namespaces/a/pods/../pods/p/exec",
            &long,
        ];
        for path in bad {
            assert_eq!(ApiTarget::parse(path), None, "{path}");
        }
    }
}
