//! What our processes can be made to do while they start: between entering the container and the tool's first
//! instruction there is a process with all the privileges of the node.

use std::time::Duration;

use harness::session_process::SUPERVISOR;
use harness::{Container, Finished, Running, agent, may_skip, run, until};
use rustix::process::Signal;

use crate::stage::{PROFILES, Stage, bind};

/// Sessions of a race that has a window of some microseconds.
const ATTEMPTS: usize = 40;
/// A killed process is gone at once.
const MOMENT: Duration = Duration::from_secs(5);

/// Past the ten seconds that a session is given to end.
const STOPPED_LIMIT: Duration = Duration::from_secs(30);

/// Starts the attacker in `mode`, once it says so.
fn attacker(stage: &Stage, container: &Container<'_>, words: &[&str]) -> Running {
    let mut all = vec!["/probe/attacker"];
    all.extend(words);
    let running = Running::start(&mut stage.inside(container, &all));
    running.wait_for_stdout("ready");
    running
}

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains("State:") && !status.contains("State:\tZ")
}

#[test]
fn a_tool_never_runs_before_its_supervisor_holds_nothing() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let web = stage.containerd.run(&stage.spec("site"));
    let attack = attacker(&stage, &web, &["gate", "/probe", SUPERVISOR]);
    for _ in 0..ATTEMPTS {
        // Killed or not: the attacker owns the process's signals.
        drop(stage.session(&web, "general", &["sleep", "0.01"]));
    }
    stage.signal("stop");
    let said = attack.finish();
    assert!(!said.out().contains("HOLE"), "{said}");
    assert!(said.out().contains("done gate") && !said.out().contains("stopped=0"), "{said}");
}

#[test]
fn no_tool_outlives_a_supervisor_that_is_killed_at_its_start() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let web = stage.containerd.run(&stage.spec("site"));
    let attack = attacker(&stage, &web, &["kill", "/probe", SUPERVISOR]);
    let before = web.processes();
    for _ in 0..ATTEMPTS {
        drop(stage.session(&web, "general", &["sleep", "60"]));
        // A zombie of its own making stays with a container that reaps nobody.
        until("the session to be gone", MOMENT, || {
            web.processes().difference(&before).all(|pid| !is_alive(*pid))
        });
    }
    stage.signal("stop");
    let said = attack.finish();
    assert!(said.out().contains("done kill") && !said.out().contains("killed=0"), "{said}");
}

/// `DAC_READ_SEARCH`, KILL, `NET_ADMIN`, `NET_RAW`, `SYS_PTRACE`, and the four that can be canaries.
const NETADMIN_AND_CANARIES: u64 =
    1 << 2 | 1 << 5 | 1 << 12 | 1 << 13 | 1 << 19 | 0b111 << 35 | 1 << 28;

/// A session that traces beside its owner's next one: it may look at all that shows, and what shows
/// holds a profile at most, from its first moment on.
#[test]
fn a_session_that_may_trace_finds_no_more_than_a_profile_in_another_that_starts() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let web = stage.containerd.run(&stage.spec("site"));
    let mut command = stage.exec(&web, &["--profile", "general", "--"]);
    let attack = Running::start(command.args(["attacker", "/target/probe", "root"]));
    attack.wait_for_stdout("ready");
    stage.signal("go");
    attack.wait_for_stdout("looking");
    let start = |profile: &&str| {
        Running::start(&mut stage.exec(&web, &["--profile", profile, "--", "true"]))
    };
    // All at once: one that is stopped by the tracer goes on when that is gone.
    let others: Vec<_> = ["netadmin", "baseline"].repeat(10).iter().map(start).collect();
    attack.wait_for_stdout("met ");
    stage.signal("stop");
    let said = attack.finish();
    for other in others {
        other.finish();
    }
    assert!(said.out().contains("met "), "nobody was met: {said}");
    for mask in said.out().lines().filter_map(|line| line.split_once("CapPrm:")) {
        let held = u64::from_str_radix(mask.1.trim(), 16).expect("a mask");
        assert_eq!(held & !NETADMIN_AND_CANARIES, 0, "{said}");
    }
}

/// A command whose session has been stopped by the target, and that ends all the same when it is told to.
fn end_stopped(
    stage: &Stage,
    web: &Container<'_>,
    options: &[&str],
    end: impl FnOnce(&Running),
) -> Finished {
    let before = web.processes();
    let mut command = agent();
    command.args(["exec", "--containerd"]).arg(stage.containerd.socket());
    command.args(["--container", web.id()]).args(options);
    // A shell that does not become its last command.
    let session = Running::start(command.args(["--", "sh", "-c", "echo up; sleep 600; :"]));
    session.wait_for_stdout("up");
    let stop = ["/probe/attacker", "stop", SUPERVISOR, "sh"];
    run(&mut stage.inside(web, &stop)).expect_success();
    end(&session);
    let said = session.finish_within(STOPPED_LIMIT);
    until("the session to be gone", MOMENT, || {
        web.processes().difference(&before).all(|pid| !is_alive(*pid))
    });
    said
}

#[test]
fn a_session_that_is_stopped_from_inside_ends_when_it_is_told_to() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let web = stage.containerd.run(&stage.spec("site"));
    let tree = stage.tree();
    let toolbox = ["--tools", "toolbox", "--toolbox", tree.to_str().expect("a plain path")];
    for options in [&[][..], &toolbox] {
        let said = end_stopped(&stage, &web, options, |session| session.signal(Signal::TERM));
        assert!(said.err().contains("did not end within 10 s of SIGTERM"), "{said}");
        assert_eq!(said.code(), 137, "{said}");
        let said = end_stopped(&stage, &web, options, |session| {
            // As a person would: signals that come at once may be one.
            for _ in 0..3 {
                session.signal(Signal::INT);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        assert!(said.err().contains("after 3 interrupts"), "{said}");
        assert_eq!(said.code(), 137, "{said}");
        let limit = [options, &["--session-limit", "2s"]].concat();
        let said = end_stopped(&stage, &web, &limit, |_| ());
        assert!(said.err().contains("longest duration reached: 2s (--session-limit)"), "{said}");
        assert_eq!(said.code(), 125, "{said}");
    }
}

/// Its first thread shows no power to trace, to be taken for an ordinary container; another has kept it.
#[test]
fn a_container_that_hides_its_power_to_trace_is_seen_through() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let program = bind(&stage.folder().join("attacker"), "/target-app", "ro");
    let spec = stage.spec("slyboots").arguments(&["as", "/probe", "hidden"]);
    let spec = spec.option(&["--cap-add", "CAP_SYS_PTRACE", "--mount", &program]);
    let sly = stage.containerd.run(&spec);
    let comm = || std::fs::read_to_string(format!("/proc/{}/task/{0}/status", sly.pid()));
    until("the first thread to show nothing", MOMENT, || {
        comm().is_ok_and(|status| status.contains("CapBnd:\t00000000a80425fb"))
    });
    stage.signal("go");
    for _ in 0..ATTEMPTS {
        let refused = stage.session(&sly, "baseline", &["true"]).expect_code(125);
        assert!(refused.err().contains("SYS_PTRACE"), "{refused}");
    }
}

/// Names are bytes: a process that is called what is no text holds what it holds.
#[test]
fn a_process_whose_name_is_no_text_is_seen_with_all_it_holds() {
    const WAKE_ALARM: u64 = 1 << 35;
    const BLOCK_SUSPEND: u64 = 1 << 36;
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let unnamed = |id: &str| stage.spec(id).arguments(&["unnamed", "serve"]);
    let waker = stage.containerd.run(&unnamed("waker").option(&["--cap-add", "CAP_WAKE_ALARM"]));
    for profile in PROFILES {
        let said = stage.session(&waker, profile, &["cat", "/proc/self/status"]).expect_success();
        let text = said.out();
        let mask = text.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).expect("a mask");
        let held = u64::from_str_radix(mask, 16).expect("a mask");
        assert_eq!(held & (WAKE_ALARM | BLOCK_SUSPEND), BLOCK_SUSPEND, "{profile}: {said}");
    }
    let web = stage.containerd.run(&stage.spec("webshop"));
    let pids = format!("pid:/proc/{}/ns/pid", web.pid());
    let options = ["--with-ns", &pids, "--cap-add", "CAP_SYS_PTRACE"];
    let port = ["unnamed", "sleep", "86400"];
    let tracer = stage.containerd.run(&stage.spec("tracer").arguments(&port).option(&options));
    for profile in PROFILES {
        let refused = stage.session(&web, profile, &["true"]).expect_code(125);
        assert!(refused.err().contains("SYS_PTRACE"), "{profile}: {refused}");
    }
    drop(tracer);
}
