//! `AppArmor` around the agent itself: sessions inherit its profile, and the one that containers usually have
//! forbids to mount and to look at processes under any other.

use std::error::Error;
use std::fs;
use std::io;

use entry::TargetError;

use crate::session::StartError;

/// The label of this process; the second is where kernels before 5.1 have it, or another module.
const LABEL: [&str; 2] = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];

impl StartError {
    /// What may be the reason, where the failure itself cannot know it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if !self.is_denied() {
            return None;
        }
        let profile = profile()?;
        Some(format!(
            "AppArmor confines the agent to the profile `{profile}`; it has to run unconfined (in a pod: appArmorProfile: type: Unconfined)"
        ))
    }

    fn is_denied(&self) -> bool {
        let denied = |error: &(dyn Error + 'static)| {
            let io = error.downcast_ref::<io::Error>();
            io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        let mut causes = std::iter::successors(self.source(), |error| (**error).source());
        matches!(self, Self::Permission { .. } | Self::Target(TargetError::Denied { .. }))
            || causes.any(denied)
    }
}

/// The profile that this process is under.
fn profile() -> Option<String> {
    let label = LABEL.iter().find_map(|file| fs::read(file).ok())?;
    enforced(&String::from_utf8_lossy(&label)).map(|name| name.escape_debug().to_string())
}

/// `NAME (enforce)`: any other mode, and no profile at all, forbids nothing.
fn enforced(label: &str) -> Option<&str> {
    label.trim_end_matches(['\0', '\n']).strip_suffix(" (enforce)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_enforced_profile_confines() {
        assert_eq!(
            enforced("cri-containerd.apparmor.d (enforce)\n"),
            Some("cri-containerd.apparmor.d")
        );
        for label in ["unconfined\n", "docker-default (complain)\n", "kernel\0", ""] {
            assert_eq!(enforced(label), None, "{label:?}");
        }
    }

    #[test]
    fn what_permission_has_nothing_to_do_with_has_no_hint() {
        assert_eq!(StartError::TargetExited.hint(), None);
        assert!(!StartError::Streams { source: io::ErrorKind::NotFound.into() }.is_denied());
        assert!(StartError::Streams { source: io::ErrorKind::PermissionDenied.into() }.is_denied());
    }
}
