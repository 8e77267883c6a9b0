//! `AppArmor` around the agent itself: sessions inherit its profile, and the one that containers usually have
//! forbids to mount and to look at processes under any other.

use std::fs;

/// The label of this process; the second is where kernels before 5.1 have it, or another module.
const LABEL: [&str; 2] = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];

/// What to do, where `AppArmor` confines this process.
pub(super) fn hint() -> Option<String> {
    let profile = profile()?;
    Some(format!(
        "AppArmor confines the agent to the profile `{profile}`; it has to run unconfined (in a pod: appArmorProfile: type: Unconfined)"
    ))
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
}
