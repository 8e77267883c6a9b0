//! Sessions on another kernel: Debian's 6.1, where control groups are v2, and `AppArmor` and Yama are in force.
//!
//! It is emulated, so the processor of this machine does not matter; one boot runs them all.

use std::path::Path;

use harness::kernel::Guest;
use harness::may_skip;

/// Every test of the guest's, so that one that is lost over there fails here.
const EXPECTED: [&str; 31] = [
    "the_kernel_has_what_is_tested_here",
    "check_finds_everything_but_containerd",
    "host_tools_see_the_targets_processes_and_no_others",
    "host_tools_pass_exit_codes_on",
    "host_tools_leave_nothing",
    "every_profile_holds_what_it_says_and_the_canary",
    "a_session_has_these_mounts_and_no_others",
    "a_root_container_cannot_take_a_tool_over",
    "without_the_canary_the_same_attack_succeeds",
    "no_way_leads_out_of_a_session",
    "a_toolbox_session_leaves_nothing",
    "a_session_is_in_a_group_of_its_own_with_limits",
    "a_command_with_host_tools_stays_in_its_callers_group",
    "memory_runs_out_for_one_session_only",
    "an_agent_is_beside_the_group_that_bounds_all_its_sessions",
    "memory_of_all_sessions_together_runs_out_for_the_greedy_one_only",
    "processes_run_out_for_one_session_only",
    "a_killed_supervisor_takes_everything_along",
    "a_killed_command_leaves_nothing_that_the_next_one_keeps",
    "apparmor_confines_the_target",
    "apparmor_lets_a_session_see_processes",
    "apparmor_lets_a_session_trace",
    "apparmor_lets_a_session_kill",
    "apparmor_lets_a_session_read_the_targets_files",
    "apparmor_keeps_the_target_off_the_tool",
    "a_target_that_takes_no_signals_is_not_killed",
    "an_agent_under_a_containers_profile_says_why_it_cannot",
    "without_yama_s_say_general_traces",
    "yama_1_lets_who_may_rule_the_node_trace",
    "yama_2_lets_who_may_rule_the_node_trace",
    "yama_3_is_the_tracers_own_failure",
];

#[test]
fn every_test_of_the_guest_passes() {
    if may_skip(Guest::requirement()) {
        return;
    }
    Guest::run(Path::new(env!("CARGO_BIN_EXE_guest"))).assert_passed(&EXPECTED);
}
