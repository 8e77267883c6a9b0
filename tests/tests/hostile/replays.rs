//! Attacks that worked elsewhere, against us: each test is called after what it replays.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use harness::session_process::SUPERVISOR;
use harness::{Container, Requirement, RunSpec, Running, may_skip, run, skip};

use crate::stage::{PROFILES, Stage, bind};

/// Sessions of each profile, which are met with their descriptors of every moment.
const JOINS: usize = 10;

const TRACER: [&str; 2] = ["--cap-add", "CAP_SYS_PTRACE"];

/// The digest of a file, as `sha256sum` prints it.
fn digest(path: &Path) -> String {
    let sum = run(Command::new("sha256sum").arg(path)).expect_success().out();
    sum.split_whitespace().next().expect("a digest").to_owned()
}

fn agent_program() -> std::path::PathBuf {
    harness::agent().get_program().into()
}

#[test]
fn a_target_that_may_trace_is_refused_and_reaches_the_toolbox_only() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site").option(&TRACER));
    for profile in PROFILES {
        let refused = stage.session(&site, profile, &["true"]).expect_code(125);
        assert!(refused.err().contains("CAP_SYS_PTRACE"), "{refused}");
        let session = stage.waiting(&site, &["--profile", profile, "--allow-host-targets"]);
        for comm in ["probe", SUPERVISOR] {
            let said = run(&mut stage.inside(&site, &["/probe/attacker", "reach", comm]));
            let lines = said.expect_success();
            let text = lines.out();
            let all = |word: &str| {
                let start = format!("{word} ");
                let found = text.lines().filter_map(|line| line.strip_prefix(&start));
                let mut found: Vec<_> = found.map(str::to_owned).collect();
                found.sort();
                found
            };
            let root = "bin dev etc lib lib64 proc root run sbin sys target tmp usr var";
            assert_eq!(all("root").join(" "), root, "{lines}");
            let place = |line: &String| line.split(' ').nth(4).unwrap_or_default().to_owned();
            let known = ["/dev", "/etc/", "/proc", "/root", "/run", "/sys", "/target", "/tmp"];
            let foreign: Vec<_> = all("mount")
                .iter()
                .map(place)
                .filter(|place| place != "/" && !known.iter().any(|known| place.starts_with(known)))
                .collect();
            assert!(foreign.is_empty(), "{foreign:?}: {lines}");
            for secret in ["containerd.sock", "token", "nsdebug-test-"] {
                let own = |line: &&str| line.contains(" / /") || line.contains("/target");
                let told = text.lines().filter(|line| line.contains(secret));
                assert!(told.filter(|line| !own(line)).all(is_toolbox), "{secret}: {lines}");
            }
        }
        session.finish().expect_success();
    }
}

/// Where on the node the tree of tools lies is told by every mount table.
fn is_toolbox(line: &str) -> bool {
    line.split(' ').nth(4).is_some_and(|root| root.ends_with("/tools"))
}

/// The whole start under the eyes of one who may trace: never more than the profile to take.
#[test]
fn a_target_that_may_trace_meets_nothing_but_profiles() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site").option(&TRACER));
    let attack = Running::start(&mut stage.inside(&site, &["/probe/attacker", "/probe", "root"]));
    attack.wait_for_stdout("ready");
    stage.signal("go");
    attack.wait_for_stdout("looking");
    let start = |profile: &&str| {
        let mut command = stage.exec(&site, &["--profile", profile, "--allow-host-targets", "--"]);
        Running::start(command.arg("true"))
    };
    // Traced and let go, stopped or killed: it is the target's, and goes on when the tracer is gone.
    let sessions: Vec<_> = PROFILES.repeat(5).iter().map(start).collect();
    attack.wait_for_stdout("HOLE");
    stage.signal("stop");
    let said = attack.finish();
    for session in sessions {
        session.finish();
    }
    assert!(said.out().contains("HOLE"), "it may trace: {said}");
    // A canary, what a profile has, and what a tool is given to look into the target's processes: what those have.
    let most = 0x0000_0008_0008_3024_u64 | 0xa804_25fb;
    for mask in said.out().lines().filter_map(|line| line.split("CapPrm:").nth(1)) {
        let held = u64::from_str_radix(mask.trim(), 16).expect("a mask");
        assert_eq!(held & !most, 0, "{said}");
    }
}

#[test]
fn cve_2019_5736_a_program_that_is_held_cannot_be_written_to() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site").option(&TRACER));
    let programs = [agent_program(), stage.tree().join("usr/bin/probe")];
    let before = programs.each_ref().map(|program| digest(program));
    let session = stage.waiting(&site, &["--profile", "general", "--allow-host-targets"]);
    let hold = |comm: &str| {
        let words = ["/probe/attacker", "hold", comm, "/probe/over"];
        let running = Running::start(&mut stage.inside(&site, &words));
        running.wait_for_stdout("held");
        running
    };
    let held = [SUPERVISOR, "probe"].map(hold);
    session.finish().expect_success();
    stage.signal("over");
    for held in held {
        let said = held.finish();
        let answers = ["EROFS", "ETXTBSY", "EACCES", "EPERM"];
        assert!(answers.iter().any(|answer| said.out().trim().ends_with(answer)), "{said}");
    }
    assert_eq!(before, programs.each_ref().map(|program| digest(program)));
}

/// A runtime that joined a container with a directory of the node open was a way out for a process that looked in in time.
/// Here: who may not trace follows nothing, and who may finds nothing that leads anywhere.
#[test]
fn cve_2016_9962_no_descriptor_of_a_joining_process_leads_out() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let usual = stage.containerd.run(&stage.spec("usual"));
    let tracer = stage.containerd.run(&stage.spec("tracer").option(&TRACER));
    for (container, allowed) in [(&usual, &[][..]), (&tracer, &["--allow-host-targets"])] {
        let _ = std::fs::remove_file(stage.folder().join("stop"));
        let words = ["/probe/attacker", "descriptors", "/probe"];
        let attack = Running::start(&mut stage.inside(container, &words));
        attack.wait_for_stdout("looking");
        for profile in PROFILES.repeat(JOINS) {
            let options = [&["--profile", profile], allowed].concat();
            run(stage.exec(container, &options).args(["--", "true"])).expect_success();
        }
        // One that stays, so that each kind of process of ours has been followed.
        let session = stage.waiting(container, &[&["--profile", "general"], allowed].concat());
        for comm in [SUPERVISOR, "probe"] {
            attack.wait_for_stdout(&format!("met {comm}."));
        }
        session.finish().expect_success();
        stage.signal("stop");
        let said = attack.finish();
        let text = said.out();
        let followed: Vec<_> = text.lines().filter(|line| line.starts_with("fd ")).collect();
        // What can be followed of a supervisor: its connection and what the kernel made for it.
        let has_met = followed.iter().any(|line| line.starts_with(&format!("fd {SUPERVISOR} ")));
        assert_eq!(has_met, !allowed.is_empty(), "{said}");
        for line in followed {
            let link = line.split(' ').nth(3).unwrap_or_default();
            assert!(leads_nowhere(link) && !line.contains(" directory "), "{line}: {said}");
        }
    }
}

/// Whether `link` is what any tool has open that is being loaded: its streams, libraries of the tree that it is given
/// anyway, and its own map, in which the C library looks up its stack.
fn leads_nowhere(link: &str) -> bool {
    let harmless = ["/dev/null", "pipe:", "socket:", "anon_inode:", "/usr/lib/", "/etc/ld.so"];
    let own_map = link.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/maps"));
    harmless.iter().any(|known| link.starts_with(known))
        || own_map.is_some_and(|pid| pid.parse::<u32>().is_ok())
}

/// A container's root that makes itself root of a user namespace, mounts control groups of version 1 and writes the
/// name of a program to `release_agent`, for the kernel to run on the node: here by a tool, in every profile.
#[test]
fn cve_2022_0492_no_step_towards_a_release_agent_is_taken() {
    if skip([Stage::requirement(), Requirement::controllers_of_version_1()]) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    let words = ["release-agent", "memory"];
    for profile in PROFILES {
        let said = stage.session(&site, profile, &[&["probe"], &words[..]].concat());
        let steps = "unshare-cgroup EPERM\nunshare-user-cgroup EPERM\nmount-cgroup EPERM\n\
                     fsopen-cgroup EPERM\n/tmp/release_agent ENOENT\n";
        assert_eq!(said.out(), steps, "under {profile}: {said}");
    }
    // The same steps where nothing is in their way, so that it is us who are.
    let on_node = run(Command::new(stage.folder().join("probe")).args(words));
    for step in ["unshare-cgroup", "unshare-user-cgroup", "mount-cgroup"] {
        assert!(on_node.out().contains(&format!("{step} done\n")), "{on_node}");
    }
}

/// What there is to see of an empty file.
const NOTHING: &str = "/etc/resolv.conf 0 \n";

/// What the session has of a name that the target made `make` of.
fn resolver(stage: &Stage, id: &str, make: impl FnOnce(&Path)) -> String {
    let etc = stage.path().join(format!("etc-{id}"));
    std::fs::create_dir(&etc).expect("a folder in an own folder");
    make(&etc.join("resolv.conf"));
    let spec = stage.spec(id).option(&["--mount", &bind(&etc, "/etc", "rw")]);
    let container = stage.containerd.run(&spec);
    let said = stage.session(&container, "general", &["probe", "show", "/etc/resolv.conf"]);
    said.expect_success().out()
}

#[test]
fn a_resolv_conf_that_is_something_else_gives_nothing() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let link = |to: &'static str| move |file: &Path| symlink(to, file).expect("a link");
    assert_eq!(resolver(&stage, "shadow", link("/etc/shadow")), NOTHING);
    assert_eq!(resolver(&stage, "climber", link("../../../../../etc/shadow")), NOTHING);
    assert_eq!(resolver(&stage, "magic", link("/proc/self/root/etc/shadow")), NOTHING);
    assert_eq!(resolver(&stage, "round", link("resolv.conf")), NOTHING);
    assert_eq!(resolver(&stage, "missing", |_| ()), NOTHING);
    let folder = |file: &Path| std::fs::create_dir(file).expect("a folder");
    assert_eq!(resolver(&stage, "folder", folder), NOTHING);
    let fifo = |file: &Path| drop(run(Command::new("mkfifo").arg(file)).expect_success());
    assert_eq!(resolver(&stage, "fifo", fifo), NOTHING);
    let write = |text: String| move |file: &Path| std::fs::write(file, text).expect("a file");
    let plain = resolver(&stage, "plain", write("nameserver 10.0.0.1\n".to_owned()));
    assert_eq!(plain, "/etc/resolv.conf 20 nameserver 10.0.0.1\n\n");
    let long = resolver(&stage, "long", write("#".repeat(10 << 20)));
    assert!(long.starts_with("/etc/resolv.conf 65536 #"), "{}", &long[..60]);
}

/// What a session of `profile` has of it in a container of `spec`.
fn names_in(stage: &Stage, spec: &RunSpec, profile: &str) -> String {
    let container = stage.containerd.run(spec);
    let said = stage.session(&container, profile, &["probe", "show", "/etc/resolv.conf"]);
    said.expect_success().out()
}

/// An `/etc` of `id` whose names are links to `to`.
fn linked(stage: &Stage, id: &str, to: &str) -> RunSpec {
    let etc = stage.path().join(format!("etc-{id}"));
    std::fs::create_dir(&etc).expect("a folder in an own folder");
    symlink(to, etc.join("resolv.conf")).expect("a link");
    stage.spec(id).option(&["--mount", &bind(&etc, "/etc", "rw")])
}

/// Who reads it for the session is root, and may read more than the tool.
#[test]
fn a_resolv_conf_that_leads_to_what_the_tool_may_not_read_gives_nothing() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    for (id, to) in [
        ("kallsyms", "/proc/kallsyms"),
        ("maps", "/proc/1/maps"),
        ("kernel", "/sys/devices/system/cpu/online"),
        ("round-about", "../proc/sys/kernel/ostype"),
    ] {
        let spec = linked(&stage, id, to);
        // What it is stays unsaid: it may be long, and no log is to have it.
        assert!(names_in(&stage, &spec, "general") == NOTHING, "{id}");
    }
    let place = "/run/secrets/kubernetes.io/serviceaccount";
    let account = bind(&stage.account(), place, "ro");
    let spec = linked(&stage, "token", &format!("{place}/token")).option(&["--mount", &account]);
    assert_eq!(names_in(&stage, &spec, "baseline"), NOTHING);
    // In a folder that the tool's user cannot enter.
    let closed = stage.path().join("closed");
    std::fs::create_dir(&closed).expect("a folder in an own folder");
    std::fs::write(closed.join("names"), "secret").expect("a file in an own folder");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let closed = ["--mount", &bind(&closed, "/closed", "ro")];
    let spec = linked(&stage, "closed", "/closed/names").option(&closed);
    let spec = spec.arguments(&crate::identity::PLAIN);
    assert_eq!(names_in(&stage, &spec, "general"), NOTHING);
}

/// The kubelet mounts files over these names; images have links there.
#[test]
fn a_resolv_conf_that_is_mounted_or_linked_in_an_image_is_copied() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let file = stage.path().join("names");
    std::fs::write(&file, "nameserver 10.0.0.1").expect("a file in an own folder");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let copied = "/etc/resolv.conf 19 nameserver 10.0.0.1\n";
    let mounted =
        stage.spec("mounted").option(&["--mount", &bind(&file, "/etc/resolv.conf", "ro")]);
    // A runtime mounts over what the link names.
    let over = ["--mount", &bind(&file, "/run/names/resolv.conf", "ro")];
    let relative = linked(&stage, "relative", "../run/names/resolv.conf").option(&over);
    let absolute = linked(&stage, "absolute", "/run/names/resolv.conf").option(&over);
    for spec in [mounted, relative, absolute] {
        for profile in PROFILES {
            assert_eq!(names_in(&stage, &spec, profile), copied, "{profile}: {spec:?}");
        }
        let plain = spec.arguments(&crate::identity::PLAIN);
        assert_eq!(names_in(&stage, &plain, "general"), copied, "{plain:?}");
    }
}

/// CVE-2025-31133, CVE-2025-52565: a runtime that mounts what it finds under `/dev`.
#[test]
fn links_for_null_and_terminals_of_the_target_lead_nowhere() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let dev = stage.path().join("dev");
    std::fs::create_dir(&dev).expect("a folder in an own folder");
    for name in ["null", "pts", "ptmx", "tty", "console"] {
        symlink("/proc/sys/kernel/core_pattern", dev.join(name)).expect("a link");
    }
    let spec = stage.spec("links").option(&["--mount", &bind(&dev, "/fake", "rw")]);
    let links = stage.containerd.run(&spec);
    cover_dev(&links);
    let words = ["sh", "-c", "test -c /dev/null && echo gone > /dev/null && ls /dev/pts && tty"];
    let said = stage.session(&links, "general", &words);
    assert_eq!(said.out(), "ptmx\nnot a tty\n", "{said}");
    // What hides parts of /proc is a /dev/null as well.
    let hidden = stage.session(&links, "general", &["probe", "show", "/proc/kcore", "/proc/keys"]);
    let nothing = |line: &str| line.ends_with(" 0 ") || line.ends_with("ENOENT");
    assert!(hidden.out().lines().all(nothing), "{hidden}");
}

/// Puts `/fake` over `/dev` of a container, as its root could if it were allowed to mount.
fn cover_dev(container: &Container<'_>) {
    let pid = container.pid().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid, "--mount", "--root=/", "--wd=/", "mount", "-c", "--rbind"]);
    command.args([format!("/proc/{pid}/root/fake"), format!("/proc/{pid}/root/dev")]);
    run(&mut command).expect_success();
}
