//! What a user can do about a session that did not start: a line of its own, after the cause.

use std::error::Error;
use std::io;

use entry::{Capability, PlanError, TargetError, probe};

use super::apparmor;
use crate::session::StartError;

impl StartError {
    /// What to do, where that does not follow from the cause.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Traceable { .. } => {
                "end that process (a container of `kubectl debug` ends with its shell), or use --namespaces net, \
                 which leaves out the target's processes, or get the right to host targets"
            }
            Self::NotAlone { .. } => {
                "another --profile, another --run-as, or --namespaces net, which leaves out the target's processes"
            }
            Self::NoCanary | Self::Exposed { .. } | Self::Plan(PlanError::HostTarget { .. }) => {
                "--allow-host-targets (chart: hostTargets); in a cluster the user needs that right too"
            }
            Self::HostTarget { hint, .. } => hint,
            Self::NoToolbox { .. } => {
                "build one with `make image`, and give its directory with --toolbox"
            }
            Self::Permission { .. } | Self::Target(TargetError::Denied { .. }) => {
                return apparmor::hint().or_else(privilege);
            }
            error if error.is_denied() => return apparmor::hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn is_denied(&self) -> bool {
        let denied = |error: &(dyn Error + 'static)| {
            let io = error.downcast_ref::<io::Error>();
            io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        let mut causes = std::iter::successors(self.source(), |error| (**error).source());
        causes.any(denied)
    }
}

/// Which privilege this process lacks to enter a target, or none.
fn privilege() -> Option<String> {
    let user = rustix::process::geteuid();
    if !user.is_root() {
        let user = user.as_raw();
        return Some(format!("run as root: this process has uid {user}"));
    }
    let held = probe::held().ok()?;
    let needed = [Capability::SysAdmin, Capability::SysPtrace];
    let lacking: Vec<_> = needed.into_iter().filter(|needed| !held.contains(*needed)).collect();
    if lacking.is_empty() {
        let hint = "root and its capabilities count only in the node's user namespace: \
                    run outside of a container that has its own";
        return Some(hint.to_owned());
    }
    let lacking: Vec<_> = lacking.iter().map(|one| format!("CAP_{}", one.as_str())).collect();
    Some(format!("run with {}, which this process lacks", lacking.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_permission_has_nothing_to_do_with_has_no_hint() {
        assert_eq!(StartError::TargetExited.hint(), None);
        assert!(!StartError::Streams { source: io::ErrorKind::NotFound.into() }.is_denied());
        assert!(StartError::Streams { source: io::ErrorKind::PermissionDenied.into() }.is_denied());
    }

    #[test]
    fn a_process_that_may_trace_has_two_ways_round_it() {
        let hint = StartError::Traceable { container: None }.hint().unwrap_or_default();
        assert!(hint.contains("kubectl debug") && hint.contains("--namespaces net"), "{hint}");
    }
}
