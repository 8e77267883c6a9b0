//! A helper that waits, in a control group of its own: all of a session that needs no target.

use entry::{Cgroups, Closed, Helper, HelperImage, SessionCgroup, Waiting};

use super::StartError;

/// See the module.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) waiting: Waiting,
    pub(super) rest: Rest,
}

/// What stays of a session when its supervisor is gone.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) helper: Helper,
    pub(super) cgroup: Option<SessionCgroup>,
}

impl Prepared {
    /// Takes a millisecond, and ten more after a quiet moment: see [`SessionCgroup::add`].
    pub(super) fn new(image: &HelperImage, cgroups: Option<&Cgroups>) -> Result<Self, StartError> {
        // The program loads while the groups are made.
        let (waiting, helper) = entry::start(image)?;
        let (cgroup, moved) = match cgroups.map(Cgroups::create).transpose() {
            Ok(cgroup) => {
                let moved = cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.add(&helper));
                (cgroup, moved)
            }
            Err(error) => (None, Err(error)),
        };
        let prepared = Self { waiting, rest: Rest { helper, cgroup } };
        match moved {
            Ok(()) => Ok(prepared),
            Err(error) => {
                let _ = prepared.discard();
                Err(error.into())
            }
        }
    }

    /// Ends the helper, which nobody needs.
    pub(super) fn discard(self) -> Result<Closed, entry::CgroupError> {
        let Self { waiting, rest } = self;
        drop(waiting);
        rest.close()
    }
}

impl Rest {
    /// Kills whatever runs. [`Self::close`] follows.
    pub(super) fn kill(&self) -> Result<(), entry::CgroupError> {
        if let Some(cgroup) = &self.cgroup {
            return cgroup.kill();
        }
        self.helper.kill_session();
        Ok(())
    }

    /// Waits for the helper, kills whoever is left, and removes the control group.
    pub(super) fn close(self) -> Result<Closed, entry::CgroupError> {
        let Self { helper, cgroup } = self;
        let _ = helper.wait();
        cgroup.map_or(Ok(Closed::default()), SessionCgroup::close)
    }
}
