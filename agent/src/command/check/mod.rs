//! `check`: whether a session could work on this node, by trying what one does, without effect.
//!
//! A line each: `ok`, `warn` where some sessions could not work or work worse, `MISSING` where none
//! of a daemon could. Probes of the kernel are `entry::probe`; here is what their failures mean.

mod cgroup;
mod finding;
mod security;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use entry::{Capabilities, Profile, probe};

use crate::config::{CONTAINERD_SOCKET, TOOLBOX};
use crate::kernel::CollectsAtClose;
use crate::profile::planned;
use crate::runtime::{ContainerRuntime, Containerd};
use crate::tools::Tools;
use finding::{Finding, Severity};

/// Check what this node supports, and name what is missing.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// containerd's socket
    #[arg(long, env = "NSDEBUG_CONTAINERD", value_name = "SOCKET", default_value = CONTAINERD_SOCKET)]
    containerd: PathBuf,

    /// Which tools sessions would run
    #[arg(long, env = "NSDEBUG_TOOLS", value_enum, default_value = "host")]
    tools: Tools,

    /// The directory of the toolbox, for --tools toolbox
    #[arg(long, env = "NSDEBUG_TOOLBOX", value_name = "DIR", default_value = TOOLBOX)]
    toolbox: PathBuf,
}

#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let CheckArgs { containerd, tools, toolbox } = args;
    let mut findings = kernel();
    findings.extend(privileges(*tools));
    findings.push(cgroup::finding());
    findings.extend(security::findings());
    findings.push(ask(containerd));
    if *tools == Tools::Toolbox {
        findings.extend(confinement(toolbox));
    }
    let lines: Vec<_> = findings.iter().map(|finding| finding.to_string() + "\n").collect();
    // Nothing to do where stdout is closed: the exit code says it too.
    let _ = io::stdout().write_all(lines.concat().as_bytes());
    ExitCode::from(u8::from(findings.iter().any(|found| found.severity == Severity::Missing)))
}

fn kernel() -> Vec<Finding> {
    let root = rustix::process::geteuid();
    let mut findings = vec![
        if root.is_root() {
            Finding::ok("root", "")
        } else {
            let text = format!("this process has uid {}: run as root", root.as_raw());
            Finding::missing("root", text)
        },
        Finding::needed(
            "pidfd_open",
            probe::pidfd(),
            "the pid of a target could be reused before it is entered",
        ),
        Finding::needed("join by pidfd", probe::join_by_pidfd(), "a target cannot be entered"),
        Finding::needed(
            "new mount of proc",
            probe::new_mount("proc"),
            "ps shows the node's processes",
        ),
        Finding::needed(
            "private mounts",
            probe::private_mounts(),
            "mounts of a session appear on the node",
        ),
        Finding::needed(
            "sealed memory",
            probe::sealed_memory(),
            "a target could overwrite the helper program",
        ),
        Finding::needed(
            "close_range",
            probe::close_range(),
            "open files of the agent could leak to the helper",
        ),
    ];
    findings.push(match probe::children() {
        Ok(()) => Finding::ok("/proc/…/children", ""),
        Err(why) => {
            let means = "processes that a tool leaves behind are not all found";
            Finding::warn("/proc/…/children", format!("{why}: without it, {means}"))
        }
    });
    let what = "unix sockets";
    findings.push(CollectsAtClose::here().map_or_else(
        || Finding::ok(what, ""),
        |unbounded| Finding::warn(what, unbounded.to_string()),
    ));
    findings
}

/// What only a toolbox needs.
fn confinement(tree: &Path) -> Vec<Finding> {
    vec![
        Finding::needed(
            "new mount of tmpfs",
            probe::new_mount("tmpfs"),
            "a session has no writable /tmp",
        ),
        Finding::needed(
            "new mount of sysfs",
            probe::new_mount("sysfs"),
            "a session has no /sys of the target",
        ),
        Finding::needed(
            "mount_setattr",
            probe::restricted_clone(),
            "the toolbox and the mounts in it cannot be made read-only",
        ),
        Finding::needed(
            "pivot_root",
            probe::new_root(),
            "a session could still reach the node's files",
        ),
        Finding::needed(
            "seccomp filter",
            probe::filter(),
            "system calls of a tool are not limited",
        ),
        match probe::packet_rings() {
            Ok(()) => Finding::ok("packet rings", ""),
            Err(why) => {
                let means =
                    "packet captures are refused, because their memory could not be limited";
                Finding::warn("packet rings", format!("{why}: without it, {means}"))
            }
        },
        toolbox(tree),
    ]
}

fn toolbox(tree: &Path) -> Finding {
    let what = "toolbox";
    if !tree.join("usr/bin").is_dir() {
        let text = format!(
            "{} is not a toolbox: it has no usr/bin. Build one with `make image`, and give its directory with --toolbox",
            tree.display()
        );
        return Finding::missing(what, text);
    }
    match probe::missing_in(tree)[..] {
        [] => Finding::ok(what, tree.display().to_string()),
        ref missing => {
            let text = format!(
                "the toolbox {} has no {}: create them, a session needs them as mount points",
                tree.display(),
                missing.join(", ")
            );
            Finding::missing(what, text)
        }
    }
}

fn privileges(tools: Tools) -> Vec<Finding> {
    let held = match probe::held() {
        Ok(held) => held,
        Err(why) => return vec![Finding::missing("capabilities", why.to_string())],
    };
    let mut findings = Vec::new();
    for (capability, without) in probe::ENTERING {
        // A toolbox session takes all of it; the node's own tools only what enters.
        let enters = matches!(capability.as_str(), "SYS_ADMIN" | "SYS_PTRACE");
        if (enters || tools == Tools::Toolbox) && !held.contains(capability) {
            let what = format!("CAP_{}", capability.as_str());
            findings
                .push(Finding::missing(what, format!("capability missing: without it, {without}")));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("capabilities", "all that sessions need"));
    }
    if tools == Tools::Toolbox {
        findings.extend(wire::Profile::ALL.map(|profile| of_profile(planned(profile), held)));
    }
    findings
}

fn of_profile(profile: Profile, held: Capabilities) -> Finding {
    let what = format!("profile {profile}");
    let lacking = probe::lacking(profile, held);
    if !lacking.is_empty() {
        let text =
            format!("capability missing: {lacking}; sessions with this profile do not get it");
        return Finding::warn(what, text);
    }
    if !probe::has_canary(held) {
        let text = "the agent holds no capability that it can use as the canary, so the target's processes could trace the tool";
        return Finding::missing(what, text);
    }
    Finding::ok(what, "")
}

fn ask(socket: &Path) -> Finding {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = match runtime {
        Ok(runtime) => {
            runtime.block_on(Containerd::new(socket).probe()).map_err(|error| wire::chain(&error))
        }
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(version) => Finding::ok("containerd", version),
        Err(why) => {
            Finding::missing("containerd", format!("{why}: without it, only `exec --pid` works"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_missing_feature_means() {
        let missing = Finding::needed("pidfd_open", Err("Function not implemented"), "no target");
        assert_eq!(
            missing.to_string(),
            "MISSING  pidfd_open             Function not implemented: without it, no target"
        );
        assert_eq!(Finding::needed::<&str>("root", Ok(()), "nothing").to_string(), "ok       root");
    }

    #[test]
    fn a_profile_that_cannot_be_given_whole_is_a_warning() {
        let nothing = of_profile(Profile::General, Capabilities::NONE);
        assert_eq!(nothing.severity, Severity::Warn);
        assert!(nothing.text.contains("NET_RAW"), "{nothing}");
        assert_eq!(of_profile(Profile::General, Capabilities::ALL).severity, Severity::Ok);
    }

    #[test]
    fn a_tree_that_is_not_there_or_not_whole_is_named() {
        let tree = tempfile::tempdir().expect("a directory");
        assert!(toolbox(tree.path()).to_string().contains("is not a toolbox"));
        std::fs::create_dir_all(tree.path().join("usr/bin")).expect("directories");
        let found = toolbox(tree.path());
        assert_eq!(found.severity, Severity::Missing);
        assert!(found.text.contains("has no proc, sys"), "{found}");
    }
}
