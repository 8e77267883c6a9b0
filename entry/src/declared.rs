//! What a container was made with, as its runtime keeps it: what its processes have done since changes none of it.

use crate::capability::Capabilities;
use crate::signs::Reached;

/// What of that may make it worth as much as its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// What of the node is mounted.
    pub reached: Vec<Reached>,
    /// What each program that is started in it may come to hold.
    pub capabilities: Capabilities,
    /// Whether its control group lets it open any device, which a process would have to make.
    pub opens_devices: bool,
    /// Whether it was given a user namespace of its own.
    pub own_users: bool,
}
