//! A running session, as an agent tells of it.

use serde::{Deserialize, Serialize};

/// One element of the list at [`Self::LIST_ROUTE`]; also the answer to who ends one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    pub id: String,
    /// The container's ID; a pod's sandbox where it stands in for a container that does not run;
    /// `node` for a session on the node itself.
    pub container: String,
    /// `NAMESPACE/NAME/CONTAINER` of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The target's process, as its node numbers it.
    pub pid: u32,
    pub command: Vec<String>,
    pub caller: String,
    /// None where sessions run the node's own tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// RFC 3339.
    pub started: String,
    /// Since then, by the agent's clock.
    pub seconds: u64,
    pub stdin_bytes: u64,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
}

impl SessionInfo {
    /// Where to `GET` the sessions that the caller may see, as a JSON list.
    pub const LIST_ROUTE: &str = "/v1/sessions";
    /// Where to `DELETE` one of them, by any unique beginning of its ID; in the spelling of axum.
    pub const ONE_ROUTE: &str = "/v1/sessions/{id}";

    /// The path to `DELETE`.
    #[must_use]
    pub fn path(id: &str) -> String {
        format!("{}/{id}", Self::LIST_ROUTE)
    }
}
