//! Where on an agent a session is asked for.

use crate::name::{ContainerPrefix, Label, ObjectName};

/// What a session enters, as the path of its request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionTarget {
    /// A container of any containerd namespace, by a unique beginning of its ID.
    Container(ContainerPrefix),
    /// A container of a pod on this node; which one is said in the query.
    Pod { namespace: Label, name: ObjectName },
    /// The node that the agent is on.
    Node,
}

impl SessionTarget {
    /// The route of [`Self::Container`], in the spelling of axum.
    pub const CONTAINER_ROUTE: &str = "/v1/containers/{id}/exec";
    /// The route of [`Self::Pod`], in the spelling of axum.
    pub const POD_ROUTE: &str = "/v1/namespaces/{namespace}/pods/{name}/exec";

    /// The route of [`Self::Node`].
    pub const NODE_ROUTE: &str = "/v1/node/exec";

    /// The path to `GET`. No name can hold a character that needs encoding.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Container(id) => format!("/v1/containers/{id}/exec"),
            Self::Pod { namespace, name } => format!("/v1/namespaces/{namespace}/pods/{name}/exec"),
            Self::Node => Self::NODE_ROUTE.to_owned(),
        }
    }
}
