//! What one session can do to a node: nothing. Bombs, losses and what is left of a killed agent, each
//! with a real container and the agent as a daemon.
//!
//! Every session here is in a toolbox, and so in a control group of its own.

mod bombs;
mod losses;
mod stage;
