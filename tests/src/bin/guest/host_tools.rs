//! Sessions with the node's own tools, and whether this kernel is what these tests are about.

use std::fs::read_to_string;

use harness::session_process::SUPERVISOR_LINE;
use harness::{NodeSnapshot, Running, agent, run};
use rustix::process::Signal;

use crate::container::GuestContainer;
use crate::session::{self, GUEST};
use crate::suite::{Test, log};

pub(crate) const TESTS: [Test; 5] = [
    ("the_kernel_has_what_is_tested_here", kernel),
    ("check_finds_everything_but_containerd", check),
    ("host_tools_see_the_targets_processes_and_no_others", sees),
    ("host_tools_pass_exit_codes_on", codes),
    ("host_tools_leave_nothing", leaves_nothing),
];

fn kernel() {
    let version = read_to_string("/proc/sys/kernel/osrelease").expect("a version");
    log(&version);
    let modules = read_to_string("/sys/kernel/security/lsm").expect("security modules");
    for module in ["yama", "apparmor"] {
        assert!(modules.split(',').any(|one| one.trim() == module), "{modules}");
    }
    let controllers = read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("cgroup v2");
    for controller in ["cpu", "memory", "pids"] {
        assert!(controllers.split_whitespace().any(|one| one == controller), "{controllers}");
    }
    let own = read_to_string("/proc/self/cgroup").expect("a control group");
    assert_eq!(own.lines().count(), 1, "no hierarchy of v1: {own}");
}

fn check() {
    let checked = run(agent().arg("check")).expect_code(1).out();
    log(&checked);
    let missing: Vec<_> = checked.lines().filter(|line| line.starts_with("MISSING")).collect();
    assert!(missing.len() == 1 && missing[0].starts_with("MISSING  containerd"), "{checked}");
    assert!(checked.lines().count() >= 7, "{checked}");
}

fn sees() {
    let mut container = GuestContainer::start();
    container.leave_running(&[GUEST, "hold"]);
    let listed = run(&mut session::host(&container, &["ps", "-eo", "args"])).expect_success().out();
    let expected =
        ["COMMAND", "/bin/guest serve", "/bin/guest hold", SUPERVISOR_LINE, "ps -eo args"];
    assert_eq!(listed.lines().map(str::trim).collect::<Vec<_>>(), expected);
    container.stop();
}

fn codes() {
    let container = GuestContainer::start();
    let code = |command: &[&str]| run(&mut session::host(&container, command)).code();
    assert_eq!(code(&[GUEST, "exit", "0"]), 0);
    assert_eq!(code(&[GUEST, "exit", "7"]), 7);
    assert_eq!(code(&["no-such-tool"]), 127);
    assert_eq!(code(&["/etc"]), 126);
    let held = Running::start(&mut session::host(&container, &[GUEST, "hold"]));
    held.wait_for_stdout("held");
    held.signal(Signal::TERM);
    assert_eq!(held.finish().code(), 143);
    container.stop();
}

fn leaves_nothing() {
    let container = GuestContainer::start();
    let before = NodeSnapshot::take();
    run(&mut session::host(&container, &["ps"])).expect_success();
    let held = Running::start(&mut session::host(&container, &[GUEST, "hold"]));
    held.wait_for_stdout("held");
    held.signal(Signal::KILL);
    let _ = held.finish();
    before.assert_untouched();
    container.stop();
}
