//! Yama: who may trace. A session that holds `SYS_PTRACE` may at 1 and 2; at 3 nobody may, and that cannot be undone.

use crate::container::Container;
use crate::session::{attached, trace_first};
use crate::suite::Test;

pub(crate) const TESTS: [Test; 3] = [
    ("yama_1_lets_general_trace", admins_and_parents),
    ("yama_2_lets_general_trace", admins),
    ("yama_3_is_the_tracers_own_failure", nobody),
];

const SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

fn admins_and_parents() {
    general_traces(1);
}

fn admins() {
    general_traces(2);
}

fn general_traces(scope: u32) {
    set(scope);
    let container = Container::start();
    let traced = trace_first(&container, "general");
    assert!(attached(&traced), "{traced}");
    let refused = trace_first(&container, "baseline");
    assert!(!attached(&refused), "{refused}");
    container.stop();
}

fn nobody() {
    set(3);
    let container = Container::start();
    let refused = trace_first(&container, "general").expect_code(1);
    assert!(refused.err().contains("Operation not permitted"), "{refused}");
    container.stop();
}

fn set(scope: u32) {
    std::fs::write(SCOPE, scope.to_string()).expect("Yama takes it");
    assert_eq!(std::fs::read_to_string(SCOPE).expect("a number").trim(), scope.to_string());
}
