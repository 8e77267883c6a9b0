//! Sessions with a toolbox: what they hold, what they see, who can take them over.

use harness::{NodeSnapshot, Running, run};
use rustix::process::Signal;

use crate::container::GuestContainer;
use crate::session::{self, GUEST};
use crate::suite::{Test, log};

/// Where the tree of tools lies on the node.
pub(crate) const TREE: &str = "/toolbox";

pub(crate) const TESTS: [Test; 6] = [
    ("every_profile_holds_what_it_says_and_the_canary", holds),
    ("a_session_has_these_mounts_and_no_others", mounts),
    ("a_root_container_cannot_take_a_tool_over", attacked),
    ("without_the_canary_the_same_attack_succeeds", attack_works),
    ("no_way_leads_out_of_a_session", escapes),
    ("a_toolbox_session_leaves_nothing", leaves_nothing),
];

/// Profile, capabilities with the canary (`WAKE_ALARM`, bit 35), effective user.
///
/// `sysadmin` is for host targets; beside a container it holds all there are.
const PROFILES: [(&str, u64, u32); 5] = [
    ("restricted", CANARY, 0),
    ("baseline", CANARY, 65533),
    ("general", CANARY | NET_RAW | KILL | USUAL, 0),
    ("netadmin", CANARY | NET_RAW | KILL | USUAL | NET_ADMIN, 0),
    ("sysadmin", (1 << 41) - 1, 0),
];
/// What `attack` tries.
const ATTEMPTS: usize = 9;
const CANARY: u64 = 1 << 35;
const KILL: u64 = 1 << 5;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
/// What the container's root has, of what containers usually have.
const USUAL: u64 = 0xa804_25fb;

/// Place, type, and of the options those that keep something out.
const MOUNTS: &str = "\
/ rootfs ro,nosuid,nodev
/tmp tmpfs rw,nosuid,nodev
/run tmpfs rw,nosuid,nodev,noexec
/root tmpfs rw,nosuid,nodev,noexec
/dev tmpfs ro,nosuid,nodev,noexec
/dev/null devtmpfs rw,nosuid,noexec
/dev/zero devtmpfs rw,nosuid,noexec
/dev/full devtmpfs rw,nosuid,noexec
/dev/random devtmpfs rw,nosuid,noexec
/dev/urandom devtmpfs rw,nosuid,noexec
/dev/tty devtmpfs rw,nosuid,noexec
/dev/pts devpts rw,nosuid,noexec
/dev/shm tmpfs rw,nosuid,nodev,noexec
/sys sysfs ro,nosuid,nodev,noexec
/target rootfs ro,nosuid,nodev,noexec
/target/proc proc ro,nosuid,nodev,noexec
/target/proc/sys proc ro,nosuid,nodev,noexec
/target/dev/null devtmpfs ro,nosuid,nodev,noexec
/target/sys sysfs ro,nosuid,nodev,noexec
/etc/resolv.conf tmpfs ro,nosuid,nodev,noexec
/etc/hosts tmpfs ro,nosuid,nodev,noexec
/etc/hostname tmpfs ro,nosuid,nodev,noexec
/proc proc ro,nosuid,nodev,noexec
/proc/acpi tmpfs ro,nosuid,nodev,noexec
/proc/interrupts devtmpfs rw,nosuid,noexec
/proc/kcore devtmpfs rw,nosuid,noexec
/proc/keys devtmpfs rw,nosuid,noexec
/proc/sysrq-trigger devtmpfs rw,nosuid,noexec
/proc/timer_list devtmpfs rw,nosuid,noexec
/sys/firmware tmpfs ro,nosuid,nodev,noexec
";

fn holds() {
    let container = GuestContainer::start();
    for (profile, capabilities, user) in PROFILES {
        let status = session::said(&container, profile, &[GUEST, "cat", "/proc/self/status"]);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
        };
        let set = format!("{capabilities:016x}");
        for name in ["CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(field(name), set, "{name} of {profile}");
        }
        assert_eq!(field("NoNewPrivs:"), "1", "{profile}");
        assert_eq!(field("Seccomp:"), "2", "{profile}");
        assert_eq!(field("Uid:"), [user; 4].map(|id| id.to_string()).join("\t"), "{profile}");
    }
    container.stop();
}

fn mounts() {
    let container = GuestContainer::start();
    let table = session::said(&container, "general", &[GUEST, "cat", "/proc/self/mountinfo"]);
    let found: Vec<_> = table.lines().map(described).collect();
    let found = found.join("\n") + "\n";
    assert_eq!(found, MOUNTS);
    container.stop();
}

/// One line of mountinfo, without what differs from boot to boot.
fn described(line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let kind = words.iter().skip_while(|word| **word != "-").nth(1).unwrap_or(&"?");
    let options = words[5].split(',').filter(|option| *option != "relatime");
    format!("{} {kind} {}", words[4], options.collect::<Vec<_>>().join(","))
}

fn attacked() {
    let mut container = GuestContainer::start();
    for (profile, ..) in &PROFILES[..4] {
        let tool = Running::start(&mut session::boxed(&container, profile, &[GUEST, "hold"]));
        tool.wait_for_stdout("held");
        let number = container.number_of("guest hold");
        let tried = container.exec(&[GUEST, "attack", &number]);
        let refused = tried.said.lines().filter(|line| line.ends_with("EACCES")).count();
        assert_eq!(refused, ATTEMPTS, "{profile}: {tried:?}");
        let traced = container.exec(&["/bin/strace", "-p", &number]);
        assert!(traced.said.contains("Operation not permitted"), "{profile}: {traced:?}");
        tool.signal(Signal::KILL);
        assert_eq!(tool.finish().code(), 137);
    }
    container.stop();
}

/// Otherwise the attack proves nothing: a process of the container's own kind is taken over by it.
fn attack_works() {
    let mut container = GuestContainer::start();
    let number = container.leave_running(&[GUEST, "hold"]);
    let tried = container.exec(&[GUEST, "attack", &number]);
    let opened = tried.said.lines().filter(|line| line.ends_with("opened")).count();
    assert_eq!(opened, ATTEMPTS, "{tried:?}");
    container.stop();
}

fn escapes() {
    let container = GuestContainer::start();
    for (profile, ..) in &PROFILES[..4] {
        let tried = run(&mut session::boxed(&container, profile, &[GUEST, "escape"]));
        log(&format!("{profile}: {}", tried.out().replace('\n', ", ")));
        assert_eq!(tried.out().lines().count(), 12, "{profile}: {tried}");
        for line in tried.out().lines() {
            let refusals = ["EPERM", "EACCES", "EROFS", "ENOSYS"];
            assert!(refusals.iter().any(|one| line.ends_with(one)), "{profile}: {line}");
        }
    }
    container.stop();
}

fn leaves_nothing() {
    let container = GuestContainer::start();
    let before = NodeSnapshot::take();
    run(&mut session::boxed(&container, "general", &["ps"])).expect_success();
    let held = Running::start(&mut session::boxed(&container, "general", &[GUEST, "hold"]));
    held.wait_for_stdout("held");
    held.signal(Signal::TERM);
    assert_eq!(held.finish().code(), 143);
    before.assert_untouched();
    container.stop();
}
