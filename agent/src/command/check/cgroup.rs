//! Control groups: which version, and whether a session can be limited and killed as one.

use std::fs;
use std::path::Path;

use entry::probe;

use super::finding::Finding;

/// What a session is limited by.
const WANTED: [&str; 4] = ["memory", "pids", "cpu", "devices"];

/// Of version 2 a program, and no controller.
const DEVICES: &str = "devices";

/// Where the hierarchies are mounted everywhere.
const ROOT: &str = "/sys/fs/cgroup";

pub(super) fn finding() -> Finding {
    let root = Path::new(ROOT);
    let unified = fs::read_to_string(root.join("cgroup.controllers"));
    let (version, mut has) = if let Ok(controllers) = unified {
        ("v2", controllers)
    } else {
        let enabled = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        ("v1", mounted(root, &enabled))
    };
    let beside = root.join("unified/cgroup.procs").exists();
    if (version == "v2" || beside) && probe::device_filter().is_ok() {
        has.push(' ');
        has.push_str(DEVICES);
    }
    let missing = missing(&has);
    judge(version, &missing, can_kill(root, version))
}

/// The controllers of v1 that are enabled, and mounted where they can be used.
fn mounted(root: &Path, enabled: &str) -> String {
    let enabled = enabled.lines().filter(|line| line.ends_with("\t1"));
    let names = enabled.filter_map(|line| line.split('\t').next());
    let mounted = names.filter(|name| root.join(name).join("cgroup.procs").exists());
    mounted.collect::<Vec<_>>().join(" ")
}

fn missing(controllers: &str) -> Vec<&'static str> {
    let has = |wanted: &&str| controllers.split_whitespace().any(|name| name == *wanted);
    WANTED.into_iter().filter(|wanted| !has(wanted)).collect()
}

/// `cgroup.kill` is in every group but the root, since Linux 5.14; v1 freezes and kills.
fn can_kill(root: &Path, version: &str) -> bool {
    if version == "v1" {
        return root.join("freezer/cgroup.procs").exists();
    }
    let groups = fs::read_dir(root).into_iter().flatten().flatten();
    groups.map(|group| group.path().join("cgroup.kill")).any(|kill| kill.exists())
}

fn judge(version: &str, missing: &[&str], can_kill: bool) -> Finding {
    let what = "control groups";
    if !missing.is_empty() {
        let names = missing.join(", ");
        let means = if *missing == ["cpu"] {
            "the processor time of sessions is not limited"
        } else {
            "sessions in a toolbox work only with --no-session-cgroup: they have no limits, and can open every device file in the target's image"
        };
        return Finding::warn(what, format!("{version} without {names}: {means}"));
    }
    if !can_kill {
        let file = if version == "v1" { "the freezer" } else { "cgroup.kill" };
        let text = format!(
            "{version} without {file}: a process that outlives its supervisor is not killed"
        );
        return Finding::warn(what, text);
    }
    Finding::ok(what, format!("{version} with {}", WANTED.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Severity;

    #[test]
    fn what_cannot_be_limited_is_named() {
        assert_eq!(missing("cpuset cpu io memory pids\n devices"), [""; 0]);
        assert_eq!(missing("cpuset memory"), ["pids", "cpu", "devices"]);
        let found = judge("v2", &["pids"], true);
        assert_eq!(found.severity, Severity::Warn);
        assert!(
            found.text.contains("without pids: sessions in a toolbox work only with --no-"),
            "{found}"
        );
        assert!(
            judge("v2", &["cpu"], true).text.contains("processor time of sessions is not limited")
        );
        assert_eq!(judge("v1", &[], true).severity, Severity::Ok);
        assert_eq!(judge("v1", &[], false).severity, Severity::Warn);
    }

    #[test]
    fn a_controller_of_v1_counts_where_it_is_enabled_and_mounted() {
        let root = tempfile::tempdir().expect("a directory");
        for name in ["memory", "cpu"] {
            fs::create_dir(root.path().join(name)).expect("a directory");
            fs::write(root.path().join(name).join("cgroup.procs"), "").expect("a file");
        }
        let enabled = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t0\npids\t3\t1\t1\n";
        assert_eq!(mounted(root.path(), enabled), "cpu");
    }
}
