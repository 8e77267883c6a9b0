//! Security modules: which are active, and what each takes away from a session.

use std::fs;

use super::finding::Finding;

/// What this node says of its security modules; `None` where it says nothing.
#[derive(Debug, Default)]
struct Modules {
    /// Those of the kernel, joined by commas; securityfs need not be mounted.
    active: Option<String>,
    /// Our own label, whichever module gave it.
    label: Option<String>,
    /// 0 to 3: who may trace whom.
    yama: Option<String>,
    /// 1 where `SELinux` refuses, 0 where it only logs.
    selinux: Option<String>,
}

pub(super) fn findings() -> Vec<Finding> {
    judge(&Modules::look())
}

impl Modules {
    fn look() -> Self {
        let read = |path: &str| {
            let text = fs::read(path).ok()?;
            let text = String::from_utf8_lossy(&text);
            let text = text.trim_end_matches(['\n', '\0']).escape_debug().to_string();
            Some(text).filter(|text| !text.is_empty())
        };
        Self {
            active: read("/sys/kernel/security/lsm"),
            label: read("/proc/self/attr/current"),
            yama: read("/proc/sys/kernel/yama/ptrace_scope"),
            selinux: read("/sys/fs/selinux/enforce"),
        }
    }
}

fn judge(modules: &Modules) -> Vec<Finding> {
    let Modules { active, label, yama, selinux } = modules;
    let mut findings = vec![match active {
        Some(active) => Finding::ok("security modules", active),
        None => Finding::ok("security modules", "unknown: securityfs is not mounted"),
    }];
    if let Some(enforce) = selinux {
        let label = label.as_deref().unwrap_or("unknown");
        findings.push(if enforce == "1" {
            let text = format!(
                "SELinux is enforcing and the agent runs as {label}: sessions need an unconfined type such as spc_t"
            );
            Finding::warn("SELinux", text)
        } else {
            Finding::ok("SELinux", "SELinux is permissive: it only logs")
        });
    } else if let Some(label) = label {
        findings.push(if label == "unconfined" {
            let text = "AppArmor does not confine the agent; the AppArmor profile of a target can still deny tracing and signals";
            Finding::ok("AppArmor", text)
        } else {
            let text = format!("AppArmor confines the agent to {label}, which can deny mounts and signals: run the agent unconfined");
            Finding::warn("AppArmor", text)
        });
    }
    findings.extend(yama.as_deref().map(ptrace_scope));
    findings
}

fn ptrace_scope(scope: &str) -> Finding {
    let what = "Yama";
    match scope {
        "0" => Finding::ok(what, "ptrace_scope 0: strace and gdb work from `general` on"),
        "1" | "2" => {
            let text = format!(
                "ptrace_scope {scope}: strace and gdb attach only in sessions with the right to host targets, because these hold SYS_PTRACE; the other tools work"
            );
            Finding::ok(what, text)
        }
        _ => {
            let text =
                format!("ptrace_scope {scope}: no process may trace: strace and gdb cannot work");
            Finding::warn(what, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Severity;

    fn worst(modules: &Modules) -> (Severity, String) {
        let found = judge(modules);
        let worst = found.iter().find(|finding| finding.severity != Severity::Ok);
        worst.map_or((Severity::Ok, String::new()), |found| (found.severity, found.text.clone()))
    }

    #[test]
    fn what_a_module_takes_away_is_said() {
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(worst(&Modules::default()).0, Severity::Ok);
        let confined =
            Modules { label: of("cri-containerd.apparmor.d (enforce)"), ..Modules::default() };
        let (severity, text) = worst(&confined);
        assert!(severity == Severity::Warn && text.contains("run the agent unconfined"), "{text}");
        let free = Modules { label: of("unconfined"), yama: of("1"), ..Modules::default() };
        assert_eq!(worst(&free).0, Severity::Ok);
        let untraceable = Modules { yama: of("3"), ..Modules::default() };
        assert!(worst(&untraceable).1.contains("gdb cannot work"));
        let enforcing = Modules {
            selinux: of("1"),
            label: of("system_u:system_r:container_t:s0"),
            ..Modules::default()
        };
        assert!(worst(&enforcing).1.contains("spc_t"));
    }

    #[test]
    fn this_node_can_be_looked_at() {
        assert!(!findings().is_empty());
    }
}
