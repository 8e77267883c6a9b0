//! The gateway between an API server and an agent, in one process: who gets through, and what gets
//! across.
//!
//! What only a real kube-apiserver does is tried on a real cluster.

mod apiserver;
mod authority;
mod rig;

mod certificates;
mod discovery;
mod door;
mod dry_run;
mod node;
mod rights;
mod strangers;
mod stream;
mod tokens;
