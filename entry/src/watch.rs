//! What a helper sees of a target's mounts and its agent did not.
//!
//! `/proc/PID/mountinfo` leaves out what is not below the root of that process, which may change its root. A
//! helper that has joined the mount namespace is at the root of that, where nothing is left out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;

use serde::{Deserialize, Serialize};

use crate::mounts;
use crate::signs::HostSigns;

/// What an agent has judged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The numbers of the mounts that it has seen.
    pub(crate) seen: BTreeSet<u32>,
    /// What makes a host target, where those are not allowed and this one could be one by its mounts.
    pub(crate) signs: Option<HostSigns>,
    /// Whether Secrets and tokens are to be covered.
    pub(crate) covers: bool,
}

impl Watch {
    /// The places that are to be covered among `mounts`, the whole `mountinfo`; or why it is a host target. Of
    /// what the agent has seen it has said so itself, and then nobody needs `nodes`.
    pub(crate) fn judge(
        &self,
        mounts: &str,
        nodes: impl FnOnce() -> io::Result<String>,
    ) -> io::Result<Result<Vec<OsString>, String>> {
        if mounts::numbers(mounts).is_subset(&self.seen) {
            return Ok(Ok(Vec::new()));
        }
        let nodes = nodes()?;
        let signs = self.signs.as_ref();
        Ok(match signs.and_then(|signs| signs.find(&mounts::reached(mounts, &nodes))) {
            Some(why) => Err(why),
            None if self.covers => Ok(mounts::secrets(mounts, &nodes)),
            None => Ok(Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "22 1 254:0 / / rw - ext4 /dev/root rw";
    const MOUNTS: &str = "900 800 0:90 / / rw - overlay overlay rw\n\
                          901 900 254:0 /etc /host rw - ext4 /dev/root rw\n\
                          902 900 0:91 / /run/secrets/kubernetes.io ro - tmpfs tmpfs rw";

    fn watch(seen: &[u32], folders: Option<&str>) -> Watch {
        let list =
            |folder: &str| HostSigns { folders: vec![folder.into()], ..HostSigns::default() };
        Watch { seen: seen.iter().copied().collect(), signs: folders.map(list), covers: true }
    }

    #[test]
    fn what_the_agent_did_not_see_is_judged_as_it_would_have() {
        let why = watch(&[900, 902], Some("/etc")).judge(MOUNTS, || Ok(NODE.to_owned()));
        assert_eq!(
            why.expect("the node's"),
            Err("it has /etc of the node, writable, at /host".to_owned())
        );
        let allowed = watch(&[900], None).judge(MOUNTS, || Ok(NODE.to_owned()));
        let covered = Ok(vec!["/run/secrets/kubernetes.io".into()]);
        assert_eq!(allowed.expect("the node's"), covered);
    }

    #[test]
    fn where_the_nodes_mounts_cannot_be_read_nothing_is_judged() {
        let unread = || Err(io::ErrorKind::InvalidData.into());
        assert!(watch(&[900], Some("/etc")).judge(MOUNTS, unread).is_err());
    }

    #[test]
    fn what_the_agent_saw_is_not_judged_again() {
        let all = watch(&[900, 901, 902], Some("/etc"));
        assert_eq!(all.judge(MOUNTS, || panic!("nobody asks")).expect("none"), Ok(Vec::new()));
        // One that is gone meanwhile leads nowhere.
        let more = watch(&[7, 900, 901, 902], Some("/etc"));
        assert_eq!(more.judge(MOUNTS, || panic!("nobody asks")).expect("none"), Ok(Vec::new()));
    }
}
