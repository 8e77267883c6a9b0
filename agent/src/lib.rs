//! The node program of nsdebug: finds containers, and serves or runs sessions inside them.
//!
//! `runtime` knows containerd, `session` what a session is, `server` HTTP, `listen` sockets,
//! `command` the command line, `kernel` what some kernels let a tool do; entering itself is the crate `entry`. There is no credential here
//! and no Kubernetes API: who may ask is decided by the sockets.

pub mod audit;
pub mod command;
pub mod config;
pub mod kernel;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod peer;
pub mod profile;
pub mod registry;
pub mod runtime;
pub mod server;
pub mod session;
pub mod slots;
pub mod tools;
