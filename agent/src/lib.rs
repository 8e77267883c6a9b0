//! The node program of nsdebug: finds containers, and serves or runs sessions inside them.
//!
//! `runtime` knows containerd, `session` what a session is, `server` HTTP, `listen` sockets,
//! `command` the command line; entering itself is the crate `entry`. There is no credential here
//! and no Kubernetes API: who may ask is decided by the sockets.

mod chain;
pub mod command;
pub mod config;
pub mod limits;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod runtime;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod slots;

pub use chain::chain;
