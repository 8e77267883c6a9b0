//! The start of a session: a helper ahead of need, and what it holds until it is over.

mod apparmor;
pub(super) mod held;
mod hint;
mod launcher;
pub(super) mod prepared;
mod rehearsal;

pub use held::Held;
pub use launcher::Launcher;
