//! Tools that take more than they may have: each ends its own session, says why, and nothing else.

use std::time::Duration;

use harness::{Running, run, until};
use rustix::process::Signal;

use crate::stage::{GONE_LIMIT, marked, with_stage};

/// Takes all memory that it can get.
const MEMORY_BOMB: &str = "head -c 2000000000 /dev/zero | tail";

#[test]
fn memory_runs_out_for_one_session_only() {
    with_stage(|stage| {
        let neighbour = Running::start(&mut stage.session("echo here; sleep 1000"));
        neighbour.wait_for_stdout("here");
        for mut bomb in [stage.session(MEMORY_BOMB), stage.local(MEMORY_BOMB)] {
            let finished = run(&mut bomb).expect_code(137);
            let said = finished.err();
            assert!(said.contains("ran out of memory (limit 256Mi)"), "{finished}");
        }
        assert!(!neighbour.has_ended());
        stage.assert_unharmed();
    });
}

/// Version 1 of control groups kills one process and leaves the rest to itself; a session does not go on like that.
#[test]
fn a_session_ends_with_the_process_that_took_its_memory() {
    with_stage(|stage| {
        let script = format!("({MEMORY_BOMB}); echo survived; sleep 1000");
        for mut bomb in [stage.session(&script), stage.local(&script)] {
            let finished = run(&mut bomb).expect_code(137);
            assert!(finished.err().contains("ran out of memory (limit 256Mi)"), "{finished}");
            assert!(!finished.out().contains("survived"), "{finished}");
        }
        stage.assert_unharmed();
    });
}

#[test]
fn a_fork_bomb_fills_its_own_session_and_ends_with_it() {
    with_stage(|stage| {
        let script = "f() { f bomb-7 | f bomb-7 & }; f; sleep 1000";
        let bomb = Running::start(&mut stage.session(script));
        until("the bomb to go off", Duration::from_secs(20), || {
            stage.container.processes().len() > 200
        });
        let inside = stage.container.processes().len();
        assert!(inside <= 260, "{inside} processes");
        stage.assert_unharmed();
        bomb.signal(Signal::KILL);
        until("the bomb to be gone", GONE_LIMIT, || stage.container.processes().len() == 1);
        stage.assert_unharmed();
    });
}

#[test]
fn a_process_too_many_is_told_with_the_limit() {
    with_stage(|stage| {
        let script = "for i in $(seq 400); do sleep 100 & done; exit 1";
        for mut crowd in [stage.session(script), stage.local(script)] {
            let finished = run(&mut crowd);
            assert!(!finished.status.success(), "{finished}");
            let said = "cannot start a process: the session reached its limit of 256 processes";
            assert!(finished.err().contains(said), "{finished}");
        }
        stage.assert_unharmed();
    });
}

#[test]
fn a_full_disk_is_the_sessions_own() {
    with_stage(|stage| {
        let full = stage.run("head -c 500000000 /dev/zero > /tmp/x; echo $?; df -m /tmp | tail -1");
        assert!(full.err().contains("No space left on device"), "{full}");
        assert!(full.out().contains(" 64 "), "{full}");
        stage.run("test ! -e /tmp/x && echo > /tmp/y").expect_success();
        stage.assert_unharmed();
    });
}

#[test]
fn a_crash_leaves_no_core() {
    with_stage(|stage| {
        let script = "cd /tmp; ulimit -c unlimited; bash -c 'kill -SEGV $$'; echo $?; ls -A /tmp";
        let crashed = stage.run(script);
        assert_eq!(crashed.out(), "139\n", "{crashed}");
        assert!(marked(&stage.container, "SEGV").is_empty());
        stage.assert_unharmed();
    });
}
