//! Files that are the node's: opened for writing from inside of every profile, and never written to.

use std::path::Path;
use std::process::Command;

use harness::{Container, Finished, Requirement, RunSpec, may_skip, run, skip};

use crate::stage::{PROFILES, Stage, bind};

/// Files by which the kernel takes orders.
const ORDERS: [&str; 10] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sysrq-trigger",
    "/proc/self/oom_score_adj",
    "/proc/1/oom_score_adj",
    "/proc/sys/net/ipv4/ip_forward",
    "/target/proc/sys/kernel/core_pattern",
    "/target/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/dev",
];

/// What must not be there at all.
const ELSEWHERE: [&str; 8] = [
    "/run/containerd/containerd.sock",
    "/var/run/secrets/kubernetes.io",
    "/run/nsdebug",
    "/../../../../../../etc/shadow",
    "/target/../../../etc/shadow",
    "/proc/kcore/x",
    "/dev/kmsg",
    "/dev/mem",
];

/// Each line's answer: the last word.
fn answers(said: &Finished) -> Vec<(String, String)> {
    let text = said.out();
    let split = text.lines().filter_map(|line| line.rsplit_once(' '));
    split.map(|(what, answer)| (what.to_owned(), answer.to_owned())).collect()
}

fn with<'w>(words: &[&'w str], files: &[&'w str]) -> Vec<&'w str> {
    [words, files].concat()
}

#[test]
fn no_file_of_the_node_opens_for_writing() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    for profile in PROFILES {
        let said = stage.session(&site, profile, &with(&["probe", "write"], &ORDERS));
        for (file, answer) in answers(&said) {
            let refused = ["EROFS", "EACCES", "EPERM", "ENOENT", "errno-21"];
            let hidden = file.ends_with("sysrq-trigger") && answer == "done";
            assert!(refused.contains(&answer.as_str()) || hidden, "{file} under {profile}: {said}");
        }
        let trigger = ["probe", "show", "/proc/sysrq-trigger", "/target/proc/sysrq-trigger"];
        let said = stage.session(&site, profile, &trigger);
        assert!(!said.out().contains("EIO"), "the real one cannot be read: {said}");
        for folder in ["/sys", "/proc/sys", "/target/sys", "/target/proc/sys"] {
            let said = stage.session(&site, profile, &["probe", "writable", folder]);
            assert!(!said.out().contains("writable "), "under {profile}: {said}");
            assert!(!said.out().contains("tried 0"), "{folder} is empty: {said}");
        }
        let said = stage.session(&site, profile, &with(&["probe", "read"], &ELSEWHERE));
        for (file, answer) in answers(&said) {
            let absent = ["ENOENT", "ENOTDIR", "EACCES"].contains(&answer.as_str());
            assert!(absent, "{file} under {profile}: {said}");
        }
    }
}

/// The file by which version 1 runs a program when a control group gets empty: wherever a session finds one.
#[test]
fn no_release_agent_opens_under_any_profile() {
    if skip([Stage::requirement(), Requirement::controllers_of_version_1()]) {
        return;
    }
    let stage = Stage::set();
    // As no runtime mounts it: writable, and the whole hierarchy.
    let groups = bind(Path::new("/sys/fs/cgroup/memory"), "/groups", "rw");
    let site = stage.containerd.run(&stage.spec("site").option(&["--mount", &groups]));
    let words = ["probe", "named", "release_agent", "/sys", "/target/groups", "/target/sys"];
    for profile in PROFILES {
        // Such a target is a host target.
        let mut command = stage.exec(&site, &["--profile", profile, "--allow-host-targets", "--"]);
        let said = run(command.args(words));
        let answers = answers(&said);
        assert!(!answers.is_empty(), "none was found: {said}");
        for (file, answer) in answers {
            let refused = ["EROFS", "EACCES"].contains(&answer.as_str());
            assert!(refused, "{file} under {profile}: {said}");
        }
    }
}

/// A container with a device node that its own control group keeps it from opening: what makes loop devices, of the
/// node and harmless to open. Any image may bring one, of the node's disk too.
fn with_device(stage: &Stage) -> Container<'_> {
    let node = stage.folder().join("device");
    let mut mknod = Command::new("mknod");
    run(mknod.args(["-m", "666"]).arg(&node).args(["c", "10", "237"])).expect_success();
    let site = stage.containerd.run(&stage.spec("site"));
    let said = run(&mut stage.inside(&site, &["/probe/probe", "read", "/probe/device"]));
    assert_eq!(said.out(), "/probe/device EPERM\n", "{said}");
    site
}

#[test]
fn a_device_node_under_target_opens_for_nobody() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = with_device(&stage);
    for profile in PROFILES {
        let said = stage.session(&site, profile, &["probe", "read", "/target/probe/device"]);
        assert!(said.out().ends_with("device EACCES\n"), "{said}");
    }
}

#[test]
fn a_device_node_opens_for_nobody_by_way_of_a_process_of_the_target() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = with_device(&stage);
    for profile in [&PROFILES[..], &["sysadmin"]].concat() {
        let words = ["probe", "read", "/proc/1/root/probe/device"];
        let said = stage.session(&site, profile, &words);
        // EACCES of a profile that does not get there at all.
        let refused = ["device EPERM\n", "device EACCES\n"];
        assert!(refused.iter().any(|end| said.out().ends_with(end)), "{said}");
    }
}

/// A volume of another pod that is unmounted while a session runs is free at once.
#[test]
fn a_session_keeps_no_volume_of_others() {
    let loops = Requirement::all(["losetup", "mkfs.ext4"].map(Requirement::program));
    if skip([Stage::requirement(), loops]) {
        return;
    }
    let stage = Stage::set();
    let (image, volume) = (stage.path().join("image"), stage.path().join("volume"));
    std::fs::create_dir(&volume).expect("a folder in an own folder");
    let file = std::fs::File::create(&image).expect("a file in an own folder");
    file.set_len(4 << 20).expect("a size");
    run(Command::new("mkfs.ext4").arg("-q").arg(&image)).expect_success();
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&volume)).expect_success();
    let site = stage.containerd.run(&stage.spec("site"));
    let session = stage.waiting(&site, &["--profile", "general"]);
    run(Command::new("umount").arg(&volume)).expect_success();
    let left = run(Command::new("losetup").arg("--associated").arg(&image));
    assert_eq!(left.out(), "", "the volume is still attached: {left}");
    session.finish().expect_success();
}

/// Nothing under `/target` can be executed, or gives anything.
#[test]
fn what_is_under_target_is_data() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let set_id = stage.folder().join("set-id");
    std::fs::copy(stage.folder().join("probe"), &set_id).expect("a copy");
    run(Command::new("chmod").arg("6755").arg(&set_id)).expect_success();
    let site = stage.containerd.run(&hostile_mounts(&stage, "site"));
    let all = std::fs::read_to_string(format!("/proc/{}/mountinfo", site.pid())).expect("mounts");
    for options in [&["--profile", "general"][..], &["--profile", "general", "--write"]] {
        let run_in = |words: &[&str]| run(stage.exec(&site, options).arg("--").args(words));
        for program in ["/target/target-app", "/target/probe/set-id"] {
            let said = run_in(&["probe", "exec", program]);
            assert_eq!(said.out(), format!("exec {program} EACCES\n"), "{said}");
            assert_eq!(run_in(&[program, "exit", "3"]).code(), 126);
        }
        let said = run_in(&["probe", "show", "/proc/self/mountinfo"]);
        let seen = said.out().lines().filter(|line| line.contains(" /target")).count();
        assert_eq!(seen, all.lines().count(), "{said}");
        let written = run_in(&["probe", "write", "/target/probe/probe", "/target/a/b/c/d"]);
        assert!(!written.out().contains("a/b/c/d done"), "a folder is none: {written}");
        let may = options.contains(&"--write");
        assert_eq!(written.out().contains("probe done"), may, "{written}");
    }
}

/// Mounts in mounts, one of them over what a session itself has a use for.
fn hostile_mounts(stage: &Stage, id: &str) -> RunSpec {
    let tmpfs = |place: &str| format!("type=tmpfs,src=tmpfs,dst={place},options=rw:suid:dev:exec");
    let mut spec = stage.spec(id);
    for place in ["/target", "/target/target", "/etc", "/a", "/a/b", "/a/b/c"] {
        spec = spec.option(&["--mount", &tmpfs(place)]);
    }
    for turn in 0..40 {
        let bind = bind(&stage.folder(), &format!("/many/{turn}"), "rw");
        spec = spec.option(&["--mount", &bind]);
    }
    spec
}
