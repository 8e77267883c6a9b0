//! Header fields of ours, by the names that HTTP libraries compare: lower case.

/// On `101`: something that the person should know before the tool's output, in ASCII.
pub const NOTE: &str = "nsdebug-note";

/// On a request: what joins the records of everybody it passed, as Kubernetes names it.
pub const AUDIT_ID: &str = "audit-id";

/// On a gateway's `101` to a client that named no container: the one that was taken and all that there
/// are, as `app; app, sidecar, migrate (init)`. Left out where there was no choice.
pub const DEFAULTED_CONTAINER: &str = "nsdebug-defaulted-container";
