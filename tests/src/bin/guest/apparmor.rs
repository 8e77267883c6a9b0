//! `AppArmor`: targets under the profile that runtimes put containers under, and sessions that are not.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use harness::kernel::PROFILES;
use harness::{Running, run, until};
use rustix::process::Signal;

use crate::container::{GuestContainer, UNCONFINED};
use crate::session::{self, GUEST, attached, trace_first};
use crate::suite::{Test, log};

pub(crate) const TESTS: [Test; 8] = [
    ("apparmor_confines_the_target", confines),
    ("apparmor_lets_a_session_see_processes", ps),
    ("apparmor_lets_a_session_trace", trace),
    ("apparmor_lets_a_session_kill", kill),
    ("apparmor_lets_a_session_read_the_targets_files", reads),
    ("apparmor_keeps_the_target_off_the_tool", attacked),
    ("a_target_that_takes_no_signals_is_not_killed", deaf),
    ("an_agent_under_a_containers_profile_says_why_it_cannot", agent_is_confined),
];

/// As containerd's, and one that even the node may not signal.
const USUAL: &str = "nsdebug-container";
const DEAF: &str = "nsdebug-deaf";

const LOAD: &str = "/sys/kernel/security/apparmor/.replace";
const LIMIT: Duration = Duration::from_secs(10);

/// What this process executes next runs under `profile`.
pub(crate) fn at_exec(profile: &str) {
    fs::write("/proc/self/attr/apparmor/exec", format!("exec {profile}"))
        .unwrap_or_else(|error| panic!("exec {profile}: {error}"));
}

/// Executes `command` under `profile`.
pub(crate) fn under(profile: &str, command: &[&str]) -> ExitCode {
    at_exec(profile);
    let error = Command::new(command[0]).args(&command[1..]).exec();
    panic!("{command:?}: {error}");
}

fn confines() {
    fs::write(LOAD, fs::read(PROFILES).expect("compiled profiles")).expect("AppArmor takes them");
    let mut container = GuestContainer::under(USUAL);
    let label = fs::read_to_string(format!("/proc/{}/attr/apparmor/current", container.pid()));
    assert_eq!(label.expect("a label").trim(), "nsdebug-container (enforce)");
    let refused = container.exec(&[GUEST, "write", "/proc/sysrq-trigger"]);
    assert_eq!((refused.code, refused.said.trim()), (1, "EACCES"), "{refused:?}");
    container.stop();
}

fn ps() {
    let container = GuestContainer::under(USUAL);
    for profile in ["baseline", "general"] {
        let listed = session::said(&container, profile, &["ps", "-eo", "args"]);
        assert!(listed.contains("/bin/guest serve"), "{listed}");
    }
    let listed = run(&mut session::host(&container, &["ps", "-eo", "args"])).expect_success();
    assert!(listed.out().contains("/bin/guest serve"), "{listed}");
    container.stop();
}

fn trace() {
    let container = GuestContainer::under(USUAL);
    let traced = trace_first(&container, "general", &[]);
    assert!(attached(&traced), "{traced}");
    container.stop();
}

fn kill() {
    let mut container = GuestContainer::under(USUAL);
    let number = container.leave_running(&[GUEST, "hold"]);
    let killed = session::said(&container, "general", &[GUEST, "kill", &number]);
    assert_eq!(killed.trim(), "killed");
    until("the process to be dead", LIMIT, || {
        let state = container.exec(&["/bin/ps", "-o", "stat=", "-p", &number]);
        state.said.trim().starts_with('Z')
    });
    container.stop();
}

fn reads() {
    let container = GuestContainer::under(USUAL);
    for profile in ["restricted", "general"] {
        let text = session::said(&container, profile, &[GUEST, "cat", "/target/etc/hosts"]);
        assert_eq!(text.trim(), "127.0.0.1 of-the-container");
    }
    let root = session::said(&container, "general", &[GUEST, "cat", "/proc/1/root/etc/hosts"]);
    assert_eq!(root.trim(), "127.0.0.1 of-the-container");
    container.stop();
}

/// The canary has nothing to do with it: the target's profile allows tracing its own kind only.
fn attacked() {
    let mut container = GuestContainer::under(USUAL);
    let tool = Running::start(&mut session::boxed(&container, "general", &[GUEST, "hold"]));
    tool.wait_for_stdout("held");
    let number = container.number_of("guest hold");
    let tried = container.exec(&[GUEST, "attack", &number]);
    assert!(!tried.said.contains("opened"), "{tried:?}");
    let signalled = container.exec(&[GUEST, "kill", &number]);
    assert_eq!(signalled.said.trim(), "EACCES", "{signalled:?}");
    tool.signal(Signal::TERM);
    assert_eq!(tool.finish().code(), 143);
    container.stop();
}

fn deaf() {
    let mut container = GuestContainer::under(DEAF);
    let number = container.leave_running(&[GUEST, "hold"]);
    let refused = run(&mut session::boxed(&container, "general", &[GUEST, "kill", &number]));
    log(&refused.to_string());
    assert_eq!(refused.out().trim(), "EACCES");
    container.stop();
}

/// Beside a target under another profile it cannot even look; beside one under its own it cannot mount.
fn agent_is_confined() {
    for target in [UNCONFINED, USUAL] {
        let container = GuestContainer::under(target);
        for session in
            [session::host(&container, &["ps"]), session::boxed(&container, "general", &["ps"])]
        {
            let refused = run(&mut confined(&session)).expect_code(125);
            let hint = "hint: AppArmor confines the agent to the profile `nsdebug-container`";
            assert!(refused.err().contains(hint), "target {target}: {refused}");
        }
        container.stop();
    }
}

/// `command` as a container's process would run it.
fn confined(command: &Command) -> Command {
    let mut confined = Command::new(GUEST);
    confined.args(["under", USUAL]).arg(command.get_program()).args(command.get_args());
    confined
}
