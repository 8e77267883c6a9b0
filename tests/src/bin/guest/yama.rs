//! Yama: who may trace. A session that holds `SYS_PTRACE` may at 1 and 2; at 3 nobody may, and that cannot be undone.

use crate::container::GuestContainer;
use crate::session::{attached, trace_first};
use crate::suite::Test;

pub(crate) const TESTS: [Test; 4] = [
    ("without_yama_s_say_general_traces", everybody),
    ("yama_1_lets_who_may_rule_the_node_trace", admins_and_parents),
    ("yama_2_lets_who_may_rule_the_node_trace", admins),
    ("yama_3_is_the_tracers_own_failure", nobody),
];

/// Gives a session `SYS_PTRACE`.
const MASTER: [&str; 1] = ["--allow-host-targets"];

const SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

fn everybody() {
    set(0);
    let container = GuestContainer::start();
    let traced = trace_first(&container, "general", &[]);
    assert!(attached(&traced), "{traced}");
    container.stop();
}

fn admins_and_parents() {
    only_masters_trace(1);
}

fn admins() {
    only_masters_trace(2);
}

fn only_masters_trace(scope: u32) {
    set(scope);
    let container = GuestContainer::start();
    let traced = trace_first(&container, "general", &MASTER);
    assert!(attached(&traced), "{traced}");
    for profile in ["general", "baseline"] {
        let refused = trace_first(&container, profile, &[]);
        assert!(!attached(&refused), "{refused}");
    }
    container.stop();
}

fn nobody() {
    set(3);
    let container = GuestContainer::start();
    let refused = trace_first(&container, "general", &MASTER).expect_code(1);
    assert!(refused.err().contains("Operation not permitted"), "{refused}");
    container.stop();
}

fn set(scope: u32) {
    std::fs::write(SCOPE, scope.to_string()).expect("Yama takes it");
    assert_eq!(std::fs::read_to_string(SCOPE).expect("a number").trim(), scope.to_string());
}
