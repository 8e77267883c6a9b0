//! Whether a caller may have a session: what has to be asked, and the asking.
//!
//! Nothing is cached and nothing is assumed: what the API server does not allow, or cannot say, is
//! refused.

mod review;
mod rights;

pub(crate) use review::{AccessError, Reviewer};
pub(crate) use rights::{Policy, Right, for_host_target, for_session, worth_the_node};
