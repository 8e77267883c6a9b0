//! What nsdebug's programs say to each other, as pure data.
//!
//! A session is one websocket. The client asks for it with a path ([`SessionTarget`]) and a query
//! ([`ExecRequest`]); a refusal is an ordinary HTTP error whose body is a [`Status`]. After
//! `101 Switching Protocols` both sides exchange binary messages ([`frame`]) of the Kubernetes exec
//! protocol `v5.channel.k8s.io`, or of `v5.channel.nsdebug.dev`, which adds signals and a bound for stdin on its
//! way, and the server ends with one `Status` and a close with code 1000.
//! Nothing here reads a socket or a clock: see `agent` and `kubectl-plugin` for both ends.

pub mod api;
mod audit_id;
mod chain;
mod container;
pub mod dry_run;
pub mod forward;
pub mod frame;
pub mod header;
pub mod host;
pub mod limits;
mod name;
mod path;
mod profile;
mod reason;
mod request;
pub mod rights;
mod session;
mod shown;
mod signal;
mod span;
mod status;

pub use api::ApiTarget;
pub use audit_id::{AuditId, BadAuditId};
pub use chain::chain;
pub use container::{DEFAULT_CONTAINER, DefaultContainer};
pub use dry_run::DryRun;
pub use forward::{Forwarded, Withdrawal};
pub use name::{BadName, ContainerPrefix, Label, ObjectName};
pub use path::SessionTarget;
pub use profile::{NoSuchProfile, Profile};
pub use reason::StatusReason;
pub use request::{BadRequest, ExecRequest};
pub use session::SessionInfo;
pub use shown::shown;
pub use signal::Signal;
pub use span::{BadTimeSpan, TimeSpan};
pub use status::{Cause, Details, Ending, Exit, Status, StatusKind, signal_name};
