//! From inside of every profile: what a tool is, holds and sees, and everything it must not have.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use harness::session_process::SUPERVISOR;
use harness::{Finished, may_skip, run};

use crate::stage::{PROFILES, Stage};

/// `WHAT VALUE` lines as they were said, by what comes first.
struct Said(Finished);

impl Said {
    /// The rest of each line that starts with `word`.
    fn all(&self, word: &str) -> Vec<String> {
        let text = self.0.out();
        let start = format!("{word} ");
        text.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
    }

    fn one(&self, word: &str) -> String {
        let mut all = self.all(word);
        assert_eq!(all.len(), 1, "lines of {word}: {}", self.0);
        all.remove(0)
    }

    /// A field of a `/proc/PID/status` that was printed behind `word`.
    fn status(&self, word: &str, field: &str) -> String {
        let start = format!("{field}:");
        let lines = self.all(word);
        let found = lines.iter().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("no {word} {field}: {}", self.0)).trim().to_owned()
    }
}

/// The mask of a profile on a container of root with the usual capabilities: its own, the canary, and of those that
/// look into processes what the container has.
fn held(profile: &str) -> &'static str {
    match profile {
        "restricted" | "baseline" => "0000000800000000",
        "general" => "00000008a80425fb",
        _ => "00000008a80435fb",
    }
}

fn user(profile: &str) -> &'static str {
    if profile == "baseline" { "65533" } else { "0" }
}

#[test]
fn a_tool_holds_its_profile_and_the_canary_and_was_given_nothing_else() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    let of_target = std::fs::read_to_string(format!("/proc/{}/status", site.pid()));
    let of_target = of_target.expect("the container runs");
    let groups = of_target.lines().find_map(|line| line.strip_prefix("Groups:"));
    let groups = groups.expect("a field that every process has").trim();
    for profile in PROFILES {
        let said = Said(stage.session(&site, profile, &["probe", "self"]).expect_success());
        let id = [user(profile); 4].join("\t");
        let capabilities = held(profile);
        let kept = if user(profile) == "0" { "0000000000000000" } else { capabilities };
        for (field, value) in [
            ("Uid", id.as_str()),
            ("Gid", &id),
            ("Groups", if profile == "baseline" { "" } else { groups }),
            ("CapPrm", capabilities),
            ("CapEff", capabilities),
            ("CapBnd", capabilities),
            ("CapInh", kept),
            ("CapAmb", kept),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ] {
            assert_eq!(said.status("status", field), value, "{field} under {profile}: {}", said.0);
        }
        assert_eq!(said.one("fds"), "0 1 2", "{}", said.0);
        let environment = "HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin";
        let given = said.one("environment");
        let given = given.split(' ').filter(|word| !word.starts_with("TERM=")).collect::<Vec<_>>();
        assert_eq!(given.join(" "), environment, "{}", said.0);
        assert_eq!(said.one("directory"), "/");
        let core =
            said.all("limit").into_iter().find(|line| line.starts_with("Max core file size"));
        let core = core.map(|line| line.split_whitespace().filter(|word| *word == "1").count());
        assert_eq!(core, Some(2), "{}", said.0);
        supervisor_has_nothing(&said, profile, &id);
    }
}

fn supervisor_has_nothing(said: &Said, profile: &str, id: &str) {
    for (field, value) in [
        ("Name", SUPERVISOR),
        ("Uid", id),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(said.status("parent", field), value, "{field} under {profile}: {}", said.0);
    }
    // Who may trace may trace it, and finds nothing there; others do not get in.
    if ["restricted", "baseline"].contains(&profile) {
        for reached in said.all("reach") {
            assert!(reached.ends_with("EACCES") || reached.ends_with("EPERM"), "{}", said.0);
        }
    }
    let names: BTreeSet<_> = said.all("process").into_iter().collect();
    let expected = ["target-app", SUPERVISOR, "probe"];
    assert_eq!(names.len(), expected.len(), "only those of the target: {}", said.0);
    for name in expected {
        assert!(names.iter().any(|line| line.ends_with(name)), "no {name}: {}", said.0);
    }
}

/// Mount point, what it may do, kind: everything there is but what the target brings, and what hides parts of
/// `/proc`, which kernels have more or less of.
const MOUNTS: &str = "\
/ ro,nosuid,nodev
/dev ro,nosuid,nodev,noexec tmpfs
/dev/full rw,nosuid,noexec
/dev/null rw,nosuid,noexec
/dev/pts rw,nosuid,noexec devpts
/dev/random rw,nosuid,noexec
/dev/shm rw,nosuid,nodev,noexec tmpfs
/dev/tty rw,nosuid,noexec
/dev/urandom rw,nosuid,noexec
/dev/zero rw,nosuid,noexec
/etc/hostname ro,nosuid,nodev,noexec tmpfs
/etc/hosts ro,nosuid,nodev,noexec tmpfs
/etc/resolv.conf ro,nosuid,nodev,noexec tmpfs
/proc ro,nosuid,nodev,noexec proc
/root rw,nosuid,nodev,noexec tmpfs
/run rw,nosuid,nodev,noexec tmpfs
/sys ro,nosuid,nodev,noexec sysfs
/tmp rw,nosuid,nodev tmpfs
";

const HIDDEN: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What of each processor is hidden, where there is such a thing.
fn is_heat(place: &str) -> bool {
    place.starts_with("/sys/devices/system/cpu/") && place.ends_with("/thermal_throttle")
}

/// Mount points of `/proc/PID/mountinfo` with their options, and the kind of file system.
fn mounts(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, (String, String)> {
    let parse = |line: String| {
        let words: Vec<_> = line.split(' ').collect();
        let dash = words.iter().position(|word| *word == "-").expect("a separator");
        let ours = ["ro", "rw", "nosuid", "nodev", "noexec"];
        let options: Vec<_> = words[5].split(',').filter(|option| ours.contains(option)).collect();
        (words[4].to_owned(), (options.join(","), words[dash + 1].to_owned()))
    };
    lines.into_iter().map(parse).collect()
}

/// As a line of [`MOUNTS`]: without the kind where it is whatever the node keeps its files and devices in.
fn shown(place: &str, options: &str, kind: &str) -> String {
    let device = place.starts_with("/dev/") && !options.contains("nodev") && kind != "devpts";
    if place == "/" || device {
        return format!("{place} {options}\n");
    }
    format!("{place} {options} {kind}\n")
}

#[test]
fn a_tool_sees_the_toolbox_and_the_target_and_no_other_mount() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    let of_target = std::fs::read_to_string(format!("/proc/{}/mountinfo", site.pid()));
    let of_target = mounts(of_target.expect("the container runs").lines().map(str::to_owned));
    // Other tests mount things elsewhere meanwhile.
    let of_node = || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("own mounts");
        let folder = stage.path().to_string_lossy().into_owned();
        let ours = mounts.lines().filter(|line| line.contains(&folder));
        ours.map(str::to_owned).collect::<Vec<_>>()
    };
    for (options, write) in [
        (&["--profile", "baseline"][..], false),
        (&["--profile", "general"], false),
        (&["--profile", "general", "--write"], true),
    ] {
        let before = of_node();
        let mut command = stage.exec(&site, options);
        let said = Said(run(command.args(["--", "probe", "self"])).expect_success());
        assert_eq!(before, of_node(), "the node's mounts");
        let seen = mounts(said.all("mount"));
        let mut own = Vec::new();
        for (place, (options, kind)) in &seen {
            if let Some(inside) = place.strip_prefix("/target") {
                let inside = if inside.is_empty() { "/" } else { inside };
                let (theirs, _) = &of_target[inside];
                let how = if write && theirs.starts_with("rw") { "rw" } else { "ro" };
                assert_eq!(*options, format!("{how},nosuid,nodev,noexec"), "{place}: {}", said.0);
            } else if HIDDEN.contains(&place.as_str()) || is_heat(place) {
                assert!(kind != "proc" && kind != "sysfs", "{place}: {}", said.0);
            } else {
                own.push(shown(place, options, kind));
            }
        }
        assert_eq!(own.concat(), MOUNTS, "{}", said.0);
        let targets = seen.keys().filter(|place| place.starts_with("/target")).count();
        assert_eq!(targets, of_target.len(), "{}", said.0);
        for hidden in [
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/sysrq-trigger",
            "/proc/timer_list",
        ] {
            let there = std::path::Path::new(hidden).exists();
            assert_eq!(seen.contains_key(hidden), there, "{hidden}: {}", said.0);
        }
    }
}

/// What every profile is refused, with the answer. Where two are named, capabilities or the filter may be first.
const REFUSED: [(&str, &str); 39] = [
    ("mount-tmpfs", "EPERM"),
    ("remount-root", "EPERM"),
    ("umount-root", "EPERM"),
    ("remount-proc", "EPERM"),
    ("umount-proc", "EPERM"),
    ("remount-target", "EPERM"),
    ("umount-target", "EPERM"),
    ("pivot_root", "EPERM"),
    ("chroot", "EPERM"),
    ("open_tree", "EPERM"),
    ("fsopen", "EPERM"),
    ("mknod-block", "EPERM"),
    ("mknod-null", "EPERM"),
    ("open_by_handle_at", "EPERM"),
    ("setns", "EPERM"),
    ("unshare-user", "EPERM"),
    ("unshare-mounts", "EPERM"),
    ("clone-user", "EPERM"),
    ("clone3", "ENOSYS"),
    ("bpf", "EPERM"),
    ("perf_event_open", "EPERM"),
    ("init_module", "EPERM"),
    ("finit_module", "EPERM"),
    ("kexec_load", "EPERM"),
    ("reboot", "EPERM"),
    ("swapon", "EPERM"),
    ("settimeofday", "EPERM"),
    ("syslog", "EPERM"),
    ("call-9999", "ENOSYS"),
    ("io_uring_setup", "EPERM"),
    ("socket-vsock", "EAFNOSUPPORT"),
    ("keyctl", "EPERM"),
    ("add_key", "EPERM"),
    ("userfaultfd", "EPERM"),
    ("tiocsti", "EPERM"),
    ("tiocsti-high", "EPERM"),
    ("tioclinux", "EPERM"),
    ("old-call", "killed"),
    ("setuid", "nothing"),
];

#[test]
fn what_escapes_are_made_of_is_refused_under_every_profile() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    let set_id = stage.tree().join("usr/bin/set-id");
    std::fs::copy(stage.tree().join("usr/bin/probe"), &set_id).expect("a copy");
    run(Command::new("chmod").arg("6755").arg(&set_id)).expect_success();
    for profile in PROFILES {
        let said = stage.session(&site, profile, &["probe", "calls"]).expect_success();
        let mut answers: BTreeMap<_, _> = said
            .out()
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(call, answer)| (call.to_owned(), answer.to_owned()))
            .collect();
        let old = stage.session(&site, profile, &["probe", "old-call"]);
        // SIGSYS, or SIGSEGV where the kernel has no calls of 32 bits.
        let killed = [128 + 31, 128 + 11].contains(&old.code());
        answers.insert("old-call".into(), if killed { "killed" } else { "done" }.into());
        let with = Said(stage.session(&site, profile, &["set-id", "self"]).expect_success());
        let same = with.status("status", "Uid") == [user(profile); 4].join("\t")
            && with.status("status", "CapPrm") == held(profile);
        answers.insert("setuid".into(), if same { "nothing" } else { "something" }.into());
        let expected = REFUSED.map(|(call, answer)| (call.to_owned(), answer.to_owned()));
        assert_eq!(answers, BTreeMap::from(expected), "under {profile}: {said}");
    }
}
