//! Whether a caller may have a session: the asking. What is asked is in `wire::rights`.
//!
//! Nothing is cached and nothing is assumed: what the API server does not allow, or cannot say, is
//! refused.

mod review;

pub(crate) use review::{AccessError, Reviewer};
