//! Version 2 as a kernel has it: needs root, and a hierarchy named by `NSDEBUG_TEST_CGROUP2` or found
//! among the mounts. Limits are tried where that hierarchy has the controllers.
//!
//! The same tests run as the first process of another kernel, where version 2 has everything.

#![expect(clippy::disallowed_methods, reason = "processes to be held")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::control::{Control, Layout};
use super::exhausted::Exhausted;
use super::hierarchy::Cgroups;
use super::place::{Version, places};
use super::resources::Resources;
use super::session::SessionCgroup;
use super::{CgroupError, read, v2};

/// Names the root of a version 2 hierarchy.
const ROOT: &str = "NSDEBUG_TEST_CGROUP2";

/// A group of this test's own, below the hierarchy's root.
struct Room(PathBuf);

impl Room {
    #[expect(clippy::print_stderr, reason = "a test that did not run has to say so")]
    fn new(name: &str) -> Option<Self> {
        let given = std::env::var_os(ROOT).map(PathBuf::from);
        if let Some(root) = &given {
            // Nobody else has seen to it there.
            let _ = v2::hand_down(root, &[Control::Memory, Control::Pids, Control::Cpu]);
        }
        let room =
            given.or_else(mounted)?.join(format!("nsdebug-test-{name}-{}", std::process::id()));
        match std::fs::create_dir(&room) {
            Ok(()) => Some(Self(room)),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "{}: {error}", room.display());
                eprintln!("SKIPPED: {}: {error}", room.display());
                None
            }
        }
    }

    fn has(&self, controller: &str) -> bool {
        let controllers = read(self.0.join("cgroup.controllers")).expect("a v2 group");
        controllers.split_whitespace().any(|name| name == controller)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn mounted() -> Option<PathBuf> {
    let (own, mounts) = (read("/proc/self/cgroup".into()), read("/proc/self/mountinfo".into()));
    let places = places(&own.ok()?, &mounts.ok()?);
    places.into_iter().find(|place| place.version == Version::V2).map(|place| place.directory)
}

/// A shell that hears no request, with a child that does not either.
fn stubborn(path: &Path) -> Child {
    let script = "trap '' TERM HUP; echo $$ > \"$0/cgroup.procs\"; setsid sleep 1000 & wait";
    Command::new("sh").args(["-c", script]).arg(path).spawn().expect("a shell")
}

fn only_path(session: &SessionCgroup) -> PathBuf {
    session.paths().next().expect("one group").to_owned()
}

fn until(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it did not come about");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn processes(path: &Path) -> usize {
    read(path.join("cgroup.procs")).map_or(0, |list| list.lines().count())
}

#[test]
fn whatever_runs_is_killed_and_the_group_goes() {
    let Some(room) = Room::new("kill") else { return };
    let cgroups = Cgroups::at(&room.0, Layout::Command, None, None).expect("no controllers needed");
    let mut session = cgroups.create().expect("a group");
    let path = only_path(&session);
    let mut shell = stubborn(&path);
    until(|| processes(&path) == 2);
    session.kill().expect("killed");
    shell.wait().expect("reaped");
    session.close().expect("closed");
    drop(cgroups);
    assert!(!path.exists() && !room.0.join("nsdebug").exists());
}

#[test]
fn what_a_dead_owner_left_is_swept_and_what_a_living_one_has_is_not() {
    let Some(room) = Room::new("sweep") else { return };
    let cgroups = Cgroups::at(&room.0, Layout::Command, None, None).expect("no controllers needed");
    let mut living = cgroups.create().expect("a group");
    let dead = room.0.join("nsdebug/4194305-1-0");
    let foreign = room.0.join("nsdebug/another-owner");
    for path in [&dead, &foreign] {
        std::fs::create_dir(path).expect("a group");
    }
    let mut shell = stubborn(&dead);
    until(|| processes(&dead) == 2);
    assert_eq!(cgroups.sweep().expect("swept"), 1);
    shell.wait().expect("reaped");
    assert!(!dead.exists() && foreign.exists() && only_path(&living).exists());
    std::fs::remove_dir(&foreign).expect("removed");
    living.close().expect("closed");
}

#[test]
fn limits_hold_where_there_are_controllers() {
    let Some(room) = Room::new("limits") else { return };
    let resources = Some(Resources::default());
    if !(room.has("memory") && room.has("pids")) {
        let error =
            Cgroups::at(&room.0, Layout::Daemon, resources, None).expect_err("no controllers");
        assert!(matches!(error, CgroupError::NoControl { .. }), "{error}");
        return;
    }
    let cgroups = Cgroups::at(&room.0, Layout::Daemon, resources, None).expect("controllers");
    let mut session = cgroups.create().expect("a group");
    let path = only_path(&session);
    let mut bomb = Command::new("sh");
    bomb.args([
        "-c",
        "echo $$ > \"$0/cgroup.procs\"; head -c 2000000000 /dev/zero | tail; sleep 9",
    ]);
    let ended = bomb.arg(&path).status().expect("a shell");
    assert!(!ended.success(), "the whole group goes");
    let closed = session.close().expect("closed");
    assert_eq!(closed.out_of_memory, Some(Exhausted::Session(Resources::MEMORY)));
}

#[test]
fn what_all_sessions_use_together_ends_one_and_names_that_limit() {
    let Some(room) = Room::new("together") else { return };
    let memory = "64Mi".parse().expect("memory");
    let (each, together) =
        (Resources::default(), Resources { memory, pids: 40, ..Resources::TOGETHER });
    let cgroups = Cgroups::at(&room.0, Layout::Daemon, Some(each), Some(together));
    if !(room.has("memory") && room.has("pids")) {
        let error = cgroups.expect_err("no controllers");
        assert!(matches!(error, CgroupError::NoControl { .. }), "{error}");
        return;
    }
    let cgroups = cgroups.expect("controllers");
    let limit = |name: &str| read(room.0.join("nsdebug").join(name)).expect("a limit");
    assert_eq!((limit("memory.max").trim(), limit("pids.max").trim()), ("67108864", "40"));
    let (mut greedy, mut modest) =
        (cgroups.create().expect("a group"), cgroups.create().expect("a group"));
    let mut beside = stubborn(&only_path(&modest));
    until(|| processes(&only_path(&modest)) == 2);
    let mut bomb = Command::new("sh");
    bomb.args([
        "-c",
        "echo $$ > \"$0/cgroup.procs\"; head -c 2000000000 /dev/zero | tail; sleep 9",
    ]);
    let ended = bomb.arg(only_path(&greedy)).status().expect("a shell");
    assert!(!ended.success(), "the whole group goes");
    assert_eq!(greedy.close().expect("closed").out_of_memory, Some(Exhausted::Together(memory)));
    assert_eq!(processes(&only_path(&modest)), 2, "the other one goes on");
    modest.kill().expect("killed");
    beside.wait().expect("reaped");
    assert_eq!(modest.close().expect("closed").out_of_memory, None);
}

/// Opens devices before it is in the group, to see that it could, and in it.
const OPENS: &str = "\
opens() { for node; do (: < \"$node\") 2>/dev/null && echo \"$node\"; done; }
cd \"$1\" && mknod null c 1 3 && mknod kmsg c 1 11 && mknod block b 1 3
opens null kmsg /dev/kmsg; echo --
echo $$ > \"$0/cgroup.procs\" || exit
opens null /dev/null /dev/zero /dev/full /dev/random /dev/urandom kmsg /dev/kmsg
for order in ': < block' 'mknod another c 1 3'; do
    LC_ALL=C sh -c \"$order\" 2>&1 | grep -o 'not permitted'
done";

#[test]
fn no_device_but_those_of_a_session_opens_in_its_group() {
    let Some(room) = Room::new("devices") else { return };
    v2::limit(&room.0, Control::Devices, &Resources::default()).expect("a kernel with it");
    // Where a test may make devices that are some.
    let nodes = tempfile::tempdir_in("/dev").expect("a folder");
    let mut shell = Command::new("sh");
    let said = shell.args(["-c", OPENS]).arg(&room.0).arg(nodes.path()).output().expect("a shell");
    let said = String::from_utf8_lossy(&said.stdout).replace('\n', " ");
    let (before, inside) = said.split_once(" -- ").expect("two lists");
    assert_eq!(before, "null kmsg /dev/kmsg");
    let own = "null /dev/null /dev/zero /dev/full /dev/random /dev/urandom";
    assert_eq!(inside, format!("{own} not permitted not permitted "));
}
