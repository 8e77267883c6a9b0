//! Dry runs: a session's refusal or what it would be, and neither tool, relay nor slot.

use std::path::Path;

use harness::{Agent, Listener, RunSpec, Running, Serve, refused, run, toolbox_tree};
use serde_json::Value;

use crate::on_containerd;

const WEB: &str = "container/webcontainer";

fn serve() -> Serve {
    Serve::new().in_toolbox(toolbox_tree()).option("--max-profile", "netadmin")
}

/// What `doctor` says with these words, of a session that would work.
fn fit(agent: &Agent, words: &[&str]) -> String {
    let doctor = run(agent.plugin(Listener::Unix).arg("doctor").args(words)).expect_success();
    assert!(doctor.out().ends_with("This session would work.\n"), "{doctor}");
    doctor.out()
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_a_session_would_be_is_said_and_nothing_runs() {
    on_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("webcontainer"));
        let log = containerd.path().join("audit.log");
        let path = log.to_str().expect("a plain path");
        let agent = serve().option("--audit-log", path).start(containerd);
        let before = web.processes();
        let said =
            fit(&agent, &[WEB, "--write", "--reason", "INC-1", "--", "touch", "/target/mark"]);
        for line in [
            "ok          session           would be in the container webcontainer",
            "ok          session           profile general, as uid 0, gid 0, groups 0",
            "NET_RAW",
            "ok          session           namespaces: ipc, net, pid, uts the target's",
            "ok          session           /target can be written to",
        ] {
            assert!(said.contains(line), "{line} in {said}");
        }
        assert_eq!(web.processes(), before);
        let mark = format!("/proc/{}/root/mark", web.pid());
        assert!(!Path::new(&mark).exists(), "it ran");
        assert!(agent.has_no_session(), "{:?}", agent.children());
        let lines = lines(&log);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((&lines[0]["event"], &lines[0]["dry_run"]), (&"fit".into(), &true.into()));
        assert_eq!((&lines[0]["reason"], &lines[0]["argv"][0]), (&"INC-1".into(), &"touch".into()));
        // In a pid namespace of its own, too, where nobody else is.
        let said = fit(&agent, &["--namespaces", "net", WEB, "--", "ip", "link"]);
        assert!(said.contains("namespaces: net the target's; "), "{said}");
        assert!(agent.has_no_session(), "{:?}", agent.children());
    });
}

#[test]
fn dry_runs_take_no_slot_from_each_other() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = serve().option("--max-sessions-per-caller", "1").start(containerd);
        let asked: Vec<_> = (0..6)
            .map(|_| Running::start(agent.plugin(Listener::Unix).args(["doctor", WEB])))
            .collect();
        for doctor in asked {
            doctor.finish().expect_success();
        }
        run(&mut agent.exec("webcontainer", &["true"])).expect_success();
    });
}

#[test]
fn what_only_the_session_s_helper_finds_out_is_found_out() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let tracer = RunSpec::new("tracer").option(&["--cap-add", "CAP_SYS_PTRACE"]);
        let _tracer = containerd.run(&tracer);
        let agent = serve().start(containerd);
        let plugin = |words: &[&str]| {
            let mut plugin = agent.plugin(Listener::Unix);
            plugin.args(words);
            plugin
        };
        let cases: [(&[&str], i32, &str); 6] = [
            (&["container/tracer", "--", "true"], 125, "CAP_SYS_PTRACE"),
            (&[WEB, "--", "tcpdmp"], 127, "there is no `tcpdmp` in the toolbox"),
            (&["--namespaces", "net", WEB, "--", "tcpdmp"], 127, "there is no `tcpdmp`"),
            (&[WEB, "--", "/etc/passwd"], 126, "cannot execute `/etc/passwd`"),
            (&[WEB, "--", "/target/no"], 127, "there is no file `/target/no`"),
            (&["--profile", "sysadmin", WEB, "--", "true"], 125, "--max-profile"),
        ];
        for (words, code, said) in cases {
            let refused = refused(&mut plugin(words), code);
            assert!(refused.err().contains(said), "{said} in {refused}");
        }
        assert!(agent.has_no_session(), "{:?}", agent.children());
    });
}
