//! What this agent gives whom: the node's tools, or a toolbox under a profile that has a maximum.
//!
//! The last word is here, for every caller and whatever was decided before.

use std::ffi::OsString;
use std::path::PathBuf;

use entry::{ConfinementRequest, HostSigns, Profile, RunAs};

use super::own::{OwnPaths, UnknownMounts, host_signs};
use crate::profile::planned;
use crate::tools::Tools;

/// Which tools sessions run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The node's, with all that the agent holds.
    Host,
    /// Those of a tree, with no more than a profile.
    Toolbox {
        tree: PathBuf,
        /// The profile that no session exceeds.
        most: Profile,
        /// Whether targets may be entered that are worth as much as the node.
        host_targets: bool,
        /// Whether `netadmin` is given to who may not enter those.
        node_network: bool,
        /// What the agent itself uses.
        own: OwnPaths,
    },
}

/// What a caller may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub profile: Option<Profile>,
    pub run_as: Option<RunAs>,
    pub write: bool,
    /// The node itself, not a container.
    pub node: bool,
}

/// Why a session is not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error(transparent)]
    UnknownMounts(#[from] UnknownMounts),
    #[error("{what} needs --tools toolbox")]
    OnlyInToolbox { what: &'static str },
    #[error(
        "the profile `{asked}` is above `{most}`, the highest that this agent gives (--max-profile; chart: maxProfile)"
    )]
    AboveMaximum { asked: Profile, most: Profile },
    #[error(
        "the profile `netadmin` is not allowed here: NET_ADMIN reaches the node's network, so it needs the right to host targets (agent: --allow-host-targets, or --netadmin-reaches-node-network to give it without; chart: hostTargets, netadminReachesNodeNetwork)"
    )]
    NodeNetwork,
    #[error(
        "--run-as cannot be used with the profile `{profile}`, which has a user of its own: use `general` or higher, or `restricted` to run as the target's user"
    )]
    NotItsChoice { profile: Profile },
}

/// What a person may want to know who looks for what processes of `users` have open: it is not shown, and no tool
/// says so.
#[must_use]
pub fn unseen(users: &[u32]) -> Option<String> {
    let (first, rest) = users.split_first()?;
    let users = rest.iter().fold(first.to_string(), |users, uid| format!("{users}, {uid}"));
    Some(format!(
        "the tool cannot inspect processes of uid {users} (open files, sockets, tracing): they run as another user (--run-as UID:GID may help, if the target could become that user), or hold more capabilities than the runtime's default set (only a session with the right to host targets can inspect those)"
    ))
}

impl Policy {
    #[must_use]
    pub fn tools(&self) -> Tools {
        match self {
            Self::Host => Tools::Host,
            Self::Toolbox { .. } => Tools::Toolbox,
        }
    }

    /// Whether there are sessions in what is worth as much as the node.
    #[must_use]
    pub fn enters_host_targets(&self) -> bool {
        matches!(self, Self::Host | Self::Toolbox { host_targets: true, .. })
    }

    /// What makes a target worth as much as the node.
    #[must_use]
    pub fn signs(&self) -> HostSigns {
        match self {
            Self::Host => host_signs(),
            Self::Toolbox { own, .. } => own.signs(),
        }
    }

    /// The limits of a session, or none for the node's own tools.
    pub fn limits(&self, choice: Choice) -> Result<Option<ConfinementRequest>, PolicyError> {
        let Choice { profile, run_as, write, node } = choice;
        let Self::Toolbox { tree, most, host_targets, node_network, .. } = self else {
            return match choice {
                Choice { profile: Some(_), .. } => {
                    Err(PolicyError::OnlyInToolbox { what: "--profile" })
                }
                Choice { run_as: Some(_), .. } => {
                    Err(PolicyError::OnlyInToolbox { what: "--run-as" })
                }
                Choice { node: true, .. } => {
                    Err(PolicyError::OnlyInToolbox { what: "a session on the node itself" })
                }
                Choice { write: true, .. } => Err(PolicyError::OnlyInToolbox { what: "--write" }),
                _ => Ok(None),
            };
        };
        // Nobody who did not choose is refused for it.
        let profile = profile.unwrap_or(planned(wire::Profile::default()).min(*most));
        if profile > *most {
            return Err(PolicyError::AboveMaximum { asked: profile, most: *most });
        }
        if profile == Profile::Netadmin && !host_targets && !node_network {
            return Err(PolicyError::NodeNetwork);
        }
        // `baseline` as the target's user would be `restricted`, for which the caller was not reviewed.
        let chooses_user = run_as.is_some_and(|user| user != profile.run_as());
        if chooses_user && !profile.looks_into_processes() {
            return Err(PolicyError::NotItsChoice { profile });
        }
        let (tree, host_targets, signs) = (tree.clone(), *host_targets, self.signs());
        Ok(Some(ConfinementRequest { tree, profile, run_as, write, host_targets, signs, node }))
    }

    /// What tools are told of the world. The caller's own environment stays outside.
    #[must_use]
    pub fn environment(&self, term: Option<OsString>) -> Vec<(OsString, OsString)> {
        let path = match self {
            Self::Host => "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            Self::Toolbox { .. } => "/usr/sbin:/usr/bin:/sbin:/bin",
        };
        let fixed = [("PATH", path), ("LANG", "C.UTF-8"), ("HOME", "/root")];
        let fixed = fixed.map(|(name, value)| (name.into(), value.into()));
        fixed.into_iter().chain(term.map(|term| ("TERM".into(), term))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entry::{Capabilities, Capability, OfNode, Reached, Target};
    use serde_json::json;
    use wire::host;

    fn toolbox(most: Profile) -> Policy {
        Policy::Toolbox {
            tree: "/toolbox".into(),
            most,
            host_targets: false,
            node_network: most > Profile::General,
            own: OwnPaths::default(),
        }
    }

    fn choice(profile: Profile) -> Choice {
        Choice { profile: Some(profile), ..Choice::default() }
    }

    #[test]
    fn no_caller_exceeds_the_maximum() {
        let refused =
            toolbox(Profile::General).limits(choice(Profile::Netadmin)).expect_err("above");
        assert!(refused.to_string().contains("`netadmin` is above `general`"), "{refused}");
        assert!(toolbox(Profile::Netadmin).limits(choice(Profile::Netadmin)).is_ok());
    }

    #[test]
    fn netadmin_takes_the_right_to_the_node_that_it_reaches() {
        let policy = |host_targets, node_network| {
            let (tree, most) = ("/toolbox".into(), Profile::Sysadmin);
            Policy::Toolbox { tree, most, host_targets, node_network, own: OwnPaths::default() }
        };
        let refused = policy(false, false).limits(choice(Profile::Netadmin));
        let refused = refused.expect_err("it reaches the node").to_string();
        assert!(
            refused.contains("the node's network") && refused.contains("right to host targets")
        );
        assert!(policy(true, false).limits(choice(Profile::Netadmin)).is_ok());
        assert!(policy(false, true).limits(choice(Profile::Netadmin)).is_ok());
        assert!(policy(false, false).limits(choice(Profile::General)).is_ok());
    }

    #[test]
    fn every_power_of_the_list_is_a_capability() {
        let signs = host_signs();
        assert_eq!(signs.powers.iter().count(), host::CAPABILITIES.len());
        assert_eq!(signs.with_open_devices.iter().count(), 1);
        for power in [Capability::SysAdmin, Capability::SysPtrace, Capability::Bpf] {
            assert!(signs.powers.contains(power), "{power:?}");
        }
    }

    /// Whether who has `path` of the node mounted is a host target, to the gateway by a pod's spec and to the
    /// agent by what it observes.
    fn judged(path: &str, read_only: bool) -> (bool, bool) {
        let spec = json!({
            "containers": [{"name": "app", "volumeMounts": [{"name": "v", "readOnly": read_only}]}],
            "volumes": [{"name": "v", "hostPath": {"path": path}}],
        });
        let declared = host::reason(&spec, "app").is_some();
        let mut facts = Target::open(std::process::id()).expect("this").facts().expect("facts");
        let what = OfNode::File { path: path.to_owned(), read_only };
        facts.shared_with_node.clear();
        (facts.capabilities, facts.namespaces) = (Capabilities::NONE, Vec::new());
        facts.reached = vec![Reached { what, place: "/host".to_owned() }];
        (declared, facts.host_target(&host_signs()).is_some())
    }

    #[test]
    fn gateway_and_agent_judge_what_is_mounted_by_one_list() {
        let sockets = host::RUNTIME_SOCKETS.map(str::to_owned);
        let elsewhere = sockets.clone().map(|socket| {
            format!("/srv/{}", socket.rsplit('/').next().expect("the name of a file"))
        });
        let folders = host::FOLDERS.map(str::to_owned);
        for path in sockets.iter().chain(&elsewhere).chain(&folders).chain([&"/".to_owned()]) {
            assert_eq!(judged(path, false), (true, true), "{path}");
            let is_harmless = host::HARMLESS_TO_READ.contains(&path.as_str());
            assert_eq!(judged(path, true), (!is_harmless, !is_harmless), "{path}, to read");
        }
        for path in host::HARMLESS_TO_READ {
            assert_eq!(judged(path, true), (false, false), "{path}");
        }
        // A spec names none of it, but each container has such mounts.
        for pattern in host::OF_CONTAINERS {
            let path = format!("{}/x", pattern.replace('*', "x"));
            assert!(!judged(&path, false).1 && !judged(&path, true).1, "{path}");
        }
    }

    #[test]
    fn a_caller_that_does_not_choose_gets_general_or_the_maximum() {
        for (most, given) in
            [(Profile::Sysadmin, Profile::General), (Profile::Baseline, Profile::Baseline)]
        {
            let limits =
                toolbox(most).limits(Choice::default()).expect("limits").expect("a toolbox");
            assert_eq!(limits.profile, given);
        }
    }

    #[test]
    fn whose_files_are_not_shown_is_said() {
        assert_eq!(unseen(&[]), None);
        let said = unseen(&[0, 33]).expect("a word");
        assert!(said.contains("cannot inspect processes of uid 0, 33 "), "{said}");
    }

    #[test]
    fn who_may_not_trace_may_not_choose_whose_files_to_read() {
        let root = Some(RunAs::Ids { uid: 0, gid: 0 });
        let asked = Choice { run_as: root, ..choice(Profile::Baseline) };
        assert!(toolbox(Profile::Sysadmin).limits(asked).is_err());
        let target = Choice { run_as: Some(RunAs::Target), ..choice(Profile::Baseline) };
        assert!(toolbox(Profile::Sysadmin).limits(target).is_err(), "that is another profile");
        let its_own = Choice { run_as: Some(RunAs::Target), ..choice(Profile::Restricted) };
        assert!(toolbox(Profile::Sysadmin).limits(its_own).is_ok());
        let asked = Choice { run_as: root, ..choice(Profile::General) };
        assert!(toolbox(Profile::Sysadmin).limits(asked).is_ok());
    }

    #[test]
    fn the_node_s_own_tools_have_no_profile() {
        assert_eq!(Policy::Host.limits(Choice::default()), Ok(None));
        assert!(Policy::Host.limits(choice(Profile::General)).is_err());
        assert!(Policy::Host.limits(Choice { node: true, ..Choice::default() }).is_err());
    }
}
