//! Header fields of ours, by the names that HTTP libraries compare: lower case.

/// On `101`: something that the person should know before the tool's output, in ASCII.
pub const NOTE: &str = "nsdebug-note";

/// On a request: what joins the records of everybody it passed, as Kubernetes names it.
pub const AUDIT_ID: &str = "audit-id";
