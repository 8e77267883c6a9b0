//! `nsdebug-agent exec --tools host`: the node's tools in real containers, by the command line and without a daemon.
//!
//! One program, so that its tests can share a containerd; a module for each thing that is shown.

mod docker;
mod endings;
mod recycled;
mod refusals;
mod seen;
mod stage;
mod targets;
mod terminal;
mod tidiness;
