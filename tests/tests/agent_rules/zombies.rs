//! Processes of a session that have ended, in a container whose first process reaps nobody.

use harness::{Container, RunSpec, Serve, run, toolbox_tree, until};
use rustix::process::Signal;

use crate::on_containerd;
use crate::stage::LIMIT;

/// Starts ten, ends the supervisor that would reap them, and stays until it is ended for that.
const ORPHANS: &str =
    "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 86400 & done; kill -9 $PPID; exec sleep 86400";

/// How many children of the container's first process wait to be reaped.
fn zombies(container: &Container<'_>) -> usize {
    let is_zombie = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    };
    harness::children(container.pid()).iter().filter(|pid| is_zombie(pid)).count()
}

#[test]
fn who_leaves_zombies_uses_up_a_quota_of_their_own_and_is_told_why() {
    on_containerd(|containerd| {
        let noreap = RunSpec::new("noreapcontainer").arguments(&["sleep", "86400"]);
        let noreap = containerd.run(&noreap);
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let log = containerd.path().join("audit.log");
        let serve = Serve::new().in_toolbox(toolbox_tree()).with_tls();
        let serve = serve.option("--max-sessions-per-caller", "2").option("--session-pids", "24");
        let serve = serve.option("--all-sessions-pids", "96");
        let agent =
            serve.option("--audit-log", log.to_str().expect("a plain path")).start(containerd);
        let session = |person: &str, target: &str, words: &[&str]| {
            let mut plugin = agent.plugin_of(person);
            plugin.args(["--profile", "restricted", target, "--"]).args(words);
            run(&mut plugin)
        };
        let place = "container/noreapcontainer";
        // A session's worth of them is forgiven, and each session leaves ten and more.
        until("her quota to be used up", LIMIT, || {
            let ended = session("alice", place, &["sh", "-c", ORPHANS]);
            match ended.code() {
                137 => assert!(ended.err().contains("killed from inside the target"), "{ended}"),
                _ => assert!(ended.err().contains("has 2 sessions here already"), "{ended}"),
            }
            let why = ["2 of them ended and left zombies", "restarted: noreapcontainer"];
            why.iter().all(|word| ended.err().contains(word))
        });
        let left = zombies(&noreap);
        assert!((30..=4 * 24).contains(&left), "{left}");
        session("bob", "container/webcontainer", &["true"]).expect_success();
        session("bob", place, &["true"]).expect_success();
        let lines = |event: &str| {
            let log = std::fs::read_to_string(&log).expect("a log");
            log.lines().filter(|line| line.contains(event)).count()
        };
        // While the zombies are still there.
        until("a last line of each session", LIMIT, || {
            lines("\"event\":\"end\"") == lines("\"event\":\"start\"")
        });

        // The end of the container reaps them.
        drop(noreap);
        until("her quota to be free", LIMIT, || {
            session("alice", "container/webcontainer", &["true"]).code() == 0
        });
    });
}

#[test]
fn an_agent_that_stops_waits_for_no_zombie() {
    on_containerd(|containerd| {
        let noreap = RunSpec::new("noreapcontainer").arguments(&["sleep", "86400"]);
        let noreap = containerd.run(&noreap);
        let serve = Serve::new().in_toolbox(toolbox_tree()).option("--grace", "86400");
        let agent = serve.start(containerd);
        let words = ["--profile", "restricted", "container/noreapcontainer", "--"];
        let mut plugin = agent.plugin(harness::Listener::Unix);
        run(plugin.args(words).args(["sh", "-c", ORPHANS])).expect_code(137);
        until("the zombies to be left", LIMIT, || zombies(&noreap) > 10);
        agent.signal(Signal::TERM);
        let log = agent.wait_for_end();
        assert!(log.contains("stopped") && !log.contains("not removed"), "{log}");
    });
}
