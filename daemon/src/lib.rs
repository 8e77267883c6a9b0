//! What the long-running programs of nsdebug do alike: let strangers connect, log, hear signals, stop in
//! steps, write an audit log, and say why they failed.
//!
//! Neither Kubernetes, containerd nor HTTP is known here, and no session: what is logged, stopped
//! and written down is each program's own. Nothing here logs, because people choose what to log by
//! the crate that a line is of.

pub mod admission;
pub mod audit;
mod failure;
pub mod logging;
mod printable;
mod quota;
pub mod shutdown;
mod signals;

pub use failure::{OWN_FAILURE, USAGE, failed, hint};
pub use printable::printable_json;
pub use quota::{Quota, QuotaFull, QuotaPlace};
pub use signals::Signals;
