//! What the root of each session has, whatever its target: made before there is an order, and attached after it.
//!
//! Mounts without a place are in no mount namespace, and they end with the process that holds them. So a helper
//! that waits keeps nothing of the node from being unmounted.

use std::io;
use std::os::fd::BorrowedFd;

use super::detached::{DATA, Detached, INERT};
use super::device::DeviceTree;
use crate::message::{During, Failure, Step};
use crate::privilege::Identity;

/// Writable places, with the bytes they may hold. All of it is memory of the session.
const WRITABLE: [(&str, &str, &str); 3] =
    [("tmp", "1777", "64m"), ("run", "755", "16m"), ("root", "700", "16m")];

type Writable = Vec<(&'static str, Detached)>;

/// Mounts that belong to the session that takes them.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Those of uid 0 and gid 0. A file system's owner is chosen when it is made.
    writable: Writable,
    device: DeviceTree,
}

impl Parts {
    pub(crate) fn new() -> Result<Self, Failure> {
        let writable = writable(0, 0)?;
        let device = DeviceTree::new().during(Step::MountToolbox);
        Ok(Self { writable, device: device.map_err(|failure| failure.about("dev"))? })
    }

    /// Mounts them in the root that `root` holds, for a tool that is `who`; with these `terminals` if there are any.
    pub(super) fn attach(
        self,
        root: BorrowedFd<'_>,
        who: &Identity,
        terminals: Option<Detached>,
    ) -> Result<(), Failure> {
        let is_root = (who.uid, who.gid) == (0, 0);
        let writable = if is_root { self.writable } else { writable(who.uid, who.gid)? };
        for (place, memory) in writable {
            let attached = memory.attach(root, place).during(Step::MountToolbox);
            attached.map_err(|failure| failure.about(place))?;
        }
        let attached = self.device.attach(root, terminals).during(Step::MountToolbox);
        attached.map_err(|failure| failure.about("dev"))
    }
}

fn writable(uid: u32, gid: u32) -> Result<Writable, Failure> {
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let of = |(place, mode, size): (&'static str, &str, &str)| {
        let options = [("mode", mode), ("size", size), ("uid", &uid), ("gid", &gid)];
        let attributes = if place == "tmp" { INERT } else { DATA };
        let memory: io::Result<_> = Detached::new("tmpfs", &options, attributes);
        let memory = memory.during(Step::MountToolbox).map_err(|failure| failure.about(place))?;
        Ok((place, memory))
    };
    WRITABLE.into_iter().map(of).collect()
}
