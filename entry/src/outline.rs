//! What a session would be and hold, as far as its plan says it: for those who only ask.

use crate::capability::Capabilities;
use crate::kind::Kinds;
use crate::plan::Plan;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// User, group and supplementary groups; none where the tool is the agent's user.
    pub user: Option<(u32, u32, Vec<u32>)>,
    /// Besides one that is chosen when the session begins, to keep its neighbours out.
    pub capabilities: Option<Capabilities>,
    /// Kinds of which the tool is in the target's namespace.
    pub joined: Kinds,
    /// Kinds of which it stays where its target and the node are.
    pub shared: Kinds,
    /// Kinds of which it gets an empty one.
    pub own: Kinds,
}

impl Outline {
    /// Of the session that `plan` is for.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let confinement = plan.confinement.as_ref();
        Self {
            user: confinement.map(|one| (one.who.uid, one.who.gid, one.who.groups.clone())),
            capabilities: confinement.map(|one| one.profile.capabilities().union(one.gained)),
            joined: plan.join,
            shared: plan.stay,
            own: plan.make,
        }
    }
}
