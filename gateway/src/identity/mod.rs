//! Who is at the other end of the API port, and on whose behalf.
//!
//! The chain has no gap: a [`Caller`] needs a [`Verified`] connection, that needs a [`front_proxy::FrontProxy`],
//! and that is read from what kube-apiserver publishes. Headers alone are nobody.

mod caller;
mod front_proxy;
mod trust;

pub(crate) use caller::{Caller, CallerError};
pub(crate) use front_proxy::Verified;
pub(crate) use trust::{Trust, keep_current};
