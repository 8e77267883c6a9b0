//! Control groups of version 2, on a node arranged as systemd arranges it: sessions are bounded, and end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::session_process::SUPERVISOR_LINE;
use harness::{Running, agent, run, until};
use rustix::process::Signal;

use crate::container::GuestContainer;
use crate::session::{self, GUEST};
use crate::suite::Test;
use crate::toolbox::TREE;

pub(crate) const TESTS: [Test; 8] = [
    ("a_session_is_in_a_group_of_its_own_with_limits", limits),
    ("a_command_with_host_tools_stays_in_its_callers_group", host_tools),
    ("memory_runs_out_for_one_session_only", memory),
    ("an_agent_is_beside_the_group_that_bounds_all_its_sessions", served),
    ("memory_of_all_sessions_together_runs_out_for_the_greedy_one_only", together),
    ("processes_run_out_for_one_session_only", processes),
    ("a_killed_supervisor_takes_everything_along", supervisor),
    ("a_killed_command_leaves_nothing_that_the_next_one_keeps", command),
];

const HIERARCHY: &str = "/sys/fs/cgroup";
/// Where systemd puts a shell, and a user who starts sessions from one.
const SHELL: &str = "user.slice/session-1.scope";
const CONTROLLERS: &str = "+cpu +memory +pids";
const LIMITS: [&str; 6] =
    ["--session-memory", "64Mi", "--session-pids", "20", "--session-cpu", "0.5"];
/// An agent listens within milliseconds; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(20);
/// What is promised for whatever is left of a session.
const GONE_LIMIT: Duration = Duration::from_secs(5);

/// Groups as systemd makes them, with this process where it puts a shell.
pub(crate) fn arrange() {
    let shell = Path::new(HIERARCHY).join(SHELL);
    fs::create_dir_all(&shell).expect("a group of the node");
    for group in [HIERARCHY, &format!("{HIERARCHY}/user.slice")] {
        fs::write(format!("{group}/cgroup.subtree_control"), CONTROLLERS).expect("they are handed");
    }
    fs::write(shell.join("cgroup.procs"), "0").expect("a process can be moved");
}

/// Makes a group for a container, with this process in it.
pub(crate) fn enter_own() -> PathBuf {
    let group = Path::new(HIERARCHY).join(format!("box-{}", std::process::id()));
    fs::create_dir_all(&group).expect("a group for a container");
    fs::write(group.join("cgroup.procs"), "0").expect("a process can be moved");
    group
}

/// Removes the group of a container that has ended.
pub(crate) fn leave(group: &Path) {
    fs::write(Path::new(HIERARCHY).join("cgroup.procs"), "0").expect("a process can be moved");
    // A process of it that is not quite gone is no failure of what was tested.
    let _ = fs::remove_dir(group);
}

/// A session of a toolbox that may use little.
fn bounded(container: &GuestContainer, command: &[&str]) -> Command {
    session::boxed_with(container, "general", &LIMITS, command)
}

/// The group of the only process on the node with these arguments.
fn group_of(arguments: &str) -> PathBuf {
    let listed = run(Command::new("ps").args(["-ww", "-eo", "pid,args"])).out();
    let line = |line: &str| {
        let (pid, found) = line.trim().split_once(' ')?;
        (found == arguments).then(|| pid.to_owned())
    };
    let pid = listed.lines().find_map(line).unwrap_or_else(|| panic!("{arguments}: {listed}"));
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process");
    let path = group.trim().strip_prefix("0::/").expect("version 2 and no other");
    Path::new(HIERARCHY).join(path)
}

fn value(group: &Path, file: &str) -> String {
    let read = fs::read_to_string(group.join(file));
    read.unwrap_or_else(|error| panic!("{}/{file}: {error}", group.display())).trim().to_owned()
}

fn limits() {
    let container = GuestContainer::start();
    let held = Running::start(&mut bounded(&container, &[GUEST, "hold"]));
    held.wait_for_stdout("held");
    let group = group_of("/bin/guest hold");
    assert!(group.starts_with(Path::new(HIERARCHY).join("user.slice")), "{}", group.display());
    assert!(!group.ends_with(SHELL), "{}", group.display());
    assert_eq!(value(&group, "memory.max"), (64 << 20).to_string());
    assert_eq!(value(&group, "pids.max"), "20");
    assert_eq!(value(&group, "cpu.max"), "50000 100000");
    held.signal(Signal::TERM);
    assert_eq!(held.finish().code(), 143);
    assert!(!group.exists(), "{} is left", group.display());
    container.stop();
}

fn host_tools() {
    let container = GuestContainer::start();
    let held = Running::start(&mut session::host(&container, &[GUEST, "hold"]));
    held.wait_for_stdout("held");
    let group = group_of("/bin/guest hold");
    assert_eq!(group, Path::new(HIERARCHY).join(SHELL));
    held.signal(Signal::TERM);
    let _ = held.finish();
    container.stop();
}

fn memory() {
    let container = GuestContainer::start();
    let neighbour = Running::start(&mut bounded(&container, &[GUEST, "hold"]));
    neighbour.wait_for_stdout("held");
    let ended = run(&mut bounded(&container, &[GUEST, "eat"])).expect_code(137);
    assert!(ended.err().contains("ran out of memory (limit 64Mi)"), "{ended}");
    assert!(!neighbour.has_ended(), "{}", neighbour.stderr());
    unharmed(&container);
    neighbour.signal(Signal::TERM);
    assert_eq!(neighbour.finish().code(), 143);
    container.stop();
}

fn served() {
    let own = Path::new(HIERARCHY).join("agent.service");
    fs::create_dir(&own).expect("a group for a service");
    let shell = Path::new(HIERARCHY).join(SHELL);
    let enter = |group: &Path| fs::write(group.join("cgroup.procs"), "0").expect("moved");
    let socket = "/tmp/served.sock";
    let mut command = agent();
    command.args(["serve", "--toolbox", TREE, "--listen", &format!("unix:{socket}")]);
    command.args(["--all-sessions-memory", "96Mi", "--all-sessions-pids", "64"]);
    command.args(["--session-pids", "16", "--max-sessions-per-caller", "2"]);
    enter(&own);
    let agent = Running::start(&mut command);
    enter(&shell);
    until("the agent to listen", LIMIT, || agent.has_ended() || Path::new(socket).exists());
    assert!(!agent.has_ended(), "{}", agent.stderr());
    let all = own.join("nsdebug");
    let membership = fs::read_to_string(format!("/proc/{}/cgroup", agent.pid())).expect("it runs");
    assert_eq!(membership.trim(), "0::/agent.service/nsdebug-agent");
    assert_eq!(value(&all, "memory.max"), (96 << 20).to_string());
    assert_eq!(value(&all, "memory.oom.group"), "0", "one session, not all");
    assert_eq!(value(&all, "pids.max"), "64");
    assert_eq!(value(&all, "cgroup.procs"), "");
    assert_eq!(value(&all, "cpu.max"), "150000 100000");
    agent.signal(Signal::TERM);
    agent.finish().expect_success();
    fs::remove_dir(&own).expect("nothing is left in it");
}

/// As an agent limits the group that sessions' groups are in: the kernel must end one of them, and not all.
fn together() {
    let container = GuestContainer::start();
    let neighbour = Running::start(&mut bounded(&container, &[GUEST, "hold"]));
    neighbour.wait_for_stdout("held");
    let group = group_of("/bin/guest hold");
    let all = group.parent().expect("a group of all sessions");
    assert!(all.ends_with("nsdebug"), "{}", all.display());
    let limit = |value: &str| fs::write(all.join("memory.max"), value).expect("a limit");
    limit("48M");
    let ended = run(&mut bounded(&container, &[GUEST, "eat"])).expect_code(137);
    limit("max");
    let words = "all sessions of this node together ran out of memory (limit 48Mi)";
    assert!(ended.err().contains(words), "{ended}");
    assert!(!neighbour.has_ended(), "{}", neighbour.stderr());
    unharmed(&container);
    neighbour.signal(Signal::TERM);
    assert_eq!(neighbour.finish().code(), 143);
    container.stop();
}

/// Nobody was killed in the group of the target, which none of it was charged to.
fn unharmed(container: &GuestContainer) {
    let group = group_of("/bin/guest serve");
    assert!(group.to_string_lossy().contains("/box-"), "{}", group.display());
    let events = value(&group, "memory.events");
    assert!(events.lines().any(|line| line == "oom_kill 0"), "{events}");
    assert!(Path::new(&format!("/proc/{}", container.pid())).exists());
}

fn processes() {
    let container = GuestContainer::start();
    let bomb = Running::start(&mut bounded(&container, &[GUEST, "multiply"]));
    bomb.wait_for_stdout("no more after ");
    let group = group_of("/bin/guest multiply");
    let inside: usize = value(&group, "pids.current").parse().expect("a number");
    assert!((15..=20).contains(&inside), "{inside} processes: {}", bomb.stdout());
    assert!(run(&mut session::boxed(&container, "general", &["ps"])).status.success());
    bomb.signal(Signal::TERM);
    let _ = bomb.finish();
    assert!(!group.exists(), "{} is left", group.display());
    container.stop();
}

/// The container's root can do that. Its grandchild hears no request to end; what dies without the supervisor is
/// the container's to reap.
fn supervisor() {
    let mut container = GuestContainer::start();
    let victim = Running::start(&mut bounded(&container, &[GUEST, "stubborn"]));
    victim.wait_for_stdout("stays");
    let group = group_of("/bin/guest stays");
    let supervisor = container.number_of(SUPERVISOR_LINE);
    assert_eq!(container.exec(&[GUEST, "kill", &supervisor]).said.trim(), "killed");
    let ended = victim.finish_within(GONE_LIMIT).expect_code(137);
    assert!(ended.err().contains("killed from inside the target"), "{ended}");
    until("nothing to be left", GONE_LIMIT, || !group.exists());
    let left = container.exec(&["/bin/ps", "-ww", "-eo", "args"]);
    assert!(!left.said.contains("guest stays"), "{left:?}");
    container.stop();
}

fn command() {
    let mut container = GuestContainer::start();
    let victim = Running::start(&mut bounded(&container, &[GUEST, "stubborn"]));
    victim.wait_for_stdout("stays");
    let group = group_of("/bin/guest stays");
    victim.signal(Signal::KILL);
    until("the grandchild to be gone", GONE_LIMIT, || {
        let left = container.exec(&["/bin/ps", "-ww", "-eo", "args"]);
        !left.said.contains("guest stays")
    });
    let _ = victim.finish();
    run(&mut bounded(&container, &["ps"])).expect_success();
    assert!(!group.exists(), "{} is left", group.display());
    container.stop();
}
