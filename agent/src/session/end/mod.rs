//! The end of a session: what may end it, why it ended, and that nothing of it stays.

pub(super) mod cleanup;
pub(super) mod conditions;
pub(super) mod ending;
mod limits;
mod reaping;
pub(super) mod running;
pub(super) mod why;

pub use conditions::EndConditions;
pub use limits::{Lifetime, Limit};
pub use running::Running;
