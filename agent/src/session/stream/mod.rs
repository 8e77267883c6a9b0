//! Between a client's websocket and the tool's streams.

mod frame;
mod input;
mod output;
mod pump;
pub(super) mod readiness;
mod socket;
mod stdio;
mod streams;
pub(crate) mod traffic;

pub use pump::{Finished, pump};
pub use socket::Socket;
pub use stdio::{Ends, Wanted};
