//! What enters a target's pid namespace from outside: for a moment it has all power over the node there.

use std::time::Duration;

use harness::{Running, agent, may_skip, until};

use crate::stage::Stage;

/// Starts of a process in the container, each of which is in reach for some milliseconds.
const TIMES: usize = 40;
/// What containerd gives to who asks for nothing, and the four that can be canaries.
const CONTAINERS: u64 = 0xa804_25fb | 0b111 << 35 | 1 << 28;

/// By a runtime, as `kubectl exec` and probes do, and by root of the node with the node's own tools.
#[test]
fn who_enters_the_container_is_closed_to_a_tool_until_it_is_the_container_s() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let web = stage.containerd.run(&stage.spec("entered"));
    let mut command = stage.exec(&web, &["--profile", "general", "--"]);
    let attack = Running::start(command.args(["attacker", "/target/probe", "root"]));
    attack.wait_for_stdout("ready");
    stage.signal("go");
    attack.wait_for_stdout("looking");
    let pid = web.pid().to_string();
    for _ in 0..TIMES {
        // One that was stopped by the tracer, or killed, is no failure of this.
        let runtimes = Running::start(&mut stage.inside(&web, &["/target-app", "exit", "0"]));
        let mut by_root = agent();
        by_root.args(["exec", "--pid", &pid, "--tools", "host", "--", "true"]);
        let by_root = Running::start(&mut by_root);
        drop((runtimes.finish(), by_root.finish()));
    }
    until("it to have met both", Duration::from_secs(10), || {
        let said = attack.stdout();
        said.contains("met root runc") && said.contains("met root nsdebug")
    });
    stage.signal("stop");
    let said = attack.finish();
    for hole in said.out().lines().filter(|line| line.starts_with("HOLE")) {
        let Some((_, mask)) = hole.split_once("CapPrm:") else { continue };
        let held = u64::from_str_radix(mask.trim(), 16).expect("a mask");
        assert_eq!(held & !CONTAINERS, 0, "{hole}");
    }
}
