//! A helper that waits, in a control group of its own: all of a session that needs no target.

use entry::{
    Cgroups, Child, Closed, HelperImage, Memory, Resources, SessionCgroup, Waiting, WaitingRelay,
};

use crate::session::StartError;

/// See the module. What `W`aits is a helper alone, or with a relay in front of it.
#[derive(Debug)]
pub(crate) struct Prepared<W> {
    pub(crate) waiting: W,
    pub(crate) rest: Rest,
}

/// What stays of a session when its supervisor is gone.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) helper: Child,
    /// Not in the control group, whose end comes before all output is passed on.
    pub(crate) relay: Option<Child>,
    pub(crate) cgroup: Option<SessionCgroup>,
}

impl Prepared<Waiting> {
    /// For a caller that has one session only. Takes a millisecond, and ten more after a quiet moment: see
    /// [`SessionCgroup::add`].
    pub(crate) fn direct(
        image: &HelperImage,
        cgroups: Option<&Cgroups>,
    ) -> Result<Self, StartError> {
        // The program loads while the groups are made.
        let (waiting, helper) = entry::start(image, rings(cgroups))?;
        let mut prepared = Self::within(cgroups, waiting, helper, None)?;
        // Without a group it is for the node's own tools, for which nothing can be done ahead.
        if cgroups.is_some() {
            prepared.waiting.ready();
        }
        Ok(prepared)
    }
}

impl Prepared<WaitingRelay> {
    /// For a caller that has many. Takes as long.
    pub(crate) fn relayed(
        image: &HelperImage,
        cgroups: Option<&Cgroups>,
    ) -> Result<Self, StartError> {
        let (waiting, [helper, relay]) = entry::start_relayed(image, rings(cgroups))?;
        let mut prepared = Self::within(cgroups, waiting, helper, Some(relay))?;
        prepared.waiting.ready();
        Ok(prepared)
    }
}

/// Packet rings are charged to no control group: a session may have as much of them as of other memory.
fn rings(cgroups: Option<&Cgroups>) -> Memory {
    cgroups.and_then(Cgroups::memory).unwrap_or(Resources::MEMORY)
}

impl<W> Prepared<W> {
    fn within(
        cgroups: Option<&Cgroups>,
        waiting: W,
        helper: Child,
        relay: Option<Child>,
    ) -> Result<Self, StartError> {
        let (cgroup, moved) = match cgroups.map(Cgroups::create).transpose() {
            Ok(cgroup) => {
                let moved = cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.add(&helper));
                (cgroup, moved)
            }
            Err(error) => (None, Err(error)),
        };
        let prepared = Self { waiting, rest: Rest { helper, relay, cgroup } };
        match moved {
            Ok(()) => Ok(prepared),
            Err(error) => {
                let _ = prepared.discard();
                Err(error.into())
            }
        }
    }

    /// Ends the helper, which nobody needs.
    pub(crate) fn discard(self) -> Result<Closed, entry::CgroupError> {
        let Self { waiting, rest } = self;
        drop(waiting);
        rest.close()
    }
}

impl Rest {
    /// Kills whatever runs. [`Self::close`] follows.
    pub(crate) fn kill(&self) -> Result<(), entry::CgroupError> {
        if let Some(cgroup) = &self.cgroup {
            return cgroup.kill();
        }
        self.helper.kill_session();
        Ok(())
    }

    /// Whether helper or relay has ended before there was anything to do: one that is killed while it waits is seen
    /// by nobody, as each end of the other's connection is open still.
    pub(crate) fn is_gone(&self) -> bool {
        let has_ended = |child: &Child| child.try_wait().unwrap_or(true);
        has_ended(&self.helper) || self.relay.as_ref().is_some_and(has_ended)
    }

    /// Waits for the helper, kills what is left, and removes the control group.
    pub(crate) fn close(self) -> Result<Closed, entry::CgroupError> {
        let Self { helper, relay, cgroup } = self;
        let _ = helper.wait();
        let _ = relay.map(|relay| relay.wait());
        cgroup.map_or(Ok(Closed::default()), |mut cgroup| cgroup.close())
    }
}
