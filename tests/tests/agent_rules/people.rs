//! Several people at one agent, told apart by their certificates.

use harness::{
    Agent, Answer, CertificateFiles, Listener, PodSpec, RunSpec, Running, Serve, refused, run,
    toolbox_tree, until,
};
use serde_json::Value;

use crate::on_containerd;
use crate::stage::LIMIT;

const WEB: &str = "container/webcontainer";

fn serve() -> Serve {
    Serve::new().in_toolbox(toolbox_tree()).with_tls()
}

/// A session that stays until its input ends.
fn waiting(agent: &Agent, name: &str, options: &[&str]) -> Running {
    let mut plugin = agent.plugin_of(name);
    plugin.args(options).args(["-i", WEB, "--", "sh", "-c", "echo begun; exec cat"]);
    let session = Running::start(&mut plugin);
    session.wait_for_stdout("begun");
    session
}

#[test]
fn nobody_is_let_in_beside_another_person_whatever_the_profiles_are() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = serve().start(containerd);
        let first = waiting(&agent, "alice", &[]);
        let baseline = ["--profile", "baseline"];
        let restricted = ["--profile", "restricted"];
        for options in [&[][..], &baseline, &restricted] {
            let words = [options, &[WEB, "--", "true"]].concat();
            for mut other in [agent.plugin_of("bob"), agent.plugin(Listener::Unix)] {
                let refused = refused(other.args(&words), 125);
                for word in [
                    "of certificate alice",
                    "different callers cannot share its processes",
                    "webcontainer",
                    "Wait until it ends",
                ] {
                    assert!(refused.err().contains(word), "{word}: {refused}");
                }
            }
            run(agent.plugin_of("alice").args(&words)).expect_success();
        }
        first.finish().expect_success();
        let beside =
            |options: &[&str]| run(agent.plugin_of("bob").args(options).args([WEB, "--", "true"]));
        for profile in ["baseline", "restricted"] {
            let hers = waiting(&agent, "alice", &["--profile", profile]);
            for options in [&[][..], &baseline, &restricted] {
                beside(options).expect_code(125);
            }
            // Where nobody sees her tool.
            beside(&["--namespaces", "net"]).expect_success();
            hers.finish().expect_success();
            until("her session to be gone", LIMIT, || beside(&baseline).code() == 0);
        }
    });
}

#[test]
fn sessions_are_counted_by_the_key_of_the_certificate_and_not_by_its_name() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = serve().option("--max-sessions-per-caller", "1").start(containerd);
        let baseline = ["--profile", "baseline"];
        let only = waiting(&agent, "alice", &baseline);
        let words = ["--profile", "baseline", WEB, "--", "true"];
        let refused = refused(agent.plugin_of("alice").args(words), 125);
        let why = ["certificate alice (key ", ") has 1 sessions here already"];
        assert!(why.iter().all(|word| refused.err().contains(word)), "{refused}");
        let namesake = agent.certificates().namesake("alice");
        let words = ["--namespaces", "net", WEB, "--", "true"];
        run(agent.plugin_with(&namesake).args(words)).expect_success();
        run(agent.plugin_of("bob").args(words)).expect_success();
        run(agent.plugin(Listener::Unix).args(words)).expect_success();
        only.finish().expect_success();
        let again = || run(agent.plugin_of("alice").args(words)).code() == 0;
        until("her place to be free", LIMIT, again);
    });
}

#[test]
fn a_namesake_neither_sees_nor_ends_anothers_session_nor_is_let_in_beside_it() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let log = containerd.path().join("audit.log");
        let path = log.to_str().expect("a plain path");
        let agent = serve().option("--audit-log", path).start(containerd);
        let hers = waiting(&agent, "alice", &[]);
        let alice = agent.certificates().client("alice");
        let namesake = agent.certificates().namesake("alice");
        let ask = |who: &CertificateFiles, method: &str, path: &str| {
            Answer::to(&mut agent.connect_with(who), method, path).expect("an answer")
        };
        let list = |who: &CertificateFiles| {
            let list: Vec<Value> =
                serde_json::from_str(&ask(who, "GET", "/v1/sessions").body).expect("a list");
            list
        };
        assert_eq!(list(&namesake), [] as [Value; 0]);
        let id = list(&alice)[0]["id"].as_str().expect("an ID").to_owned();
        let one = format!("/v1/sessions/{id}");
        assert_eq!(ask(&namesake, "DELETE", &one).code, 404);
        let words = ["--profile", "baseline", WEB, "--", "true"];
        let refused = run(agent.plugin_with(&namesake).args(words)).expect_code(125);
        assert!(
            refused.err().contains("different callers cannot share its processes"),
            "{refused}"
        );
        assert_eq!(list(&alice).len(), 1, "it goes on");
        assert_eq!(ask(&alice, "DELETE", &one).code, 200);
        hers.finish().expect_code(125);

        let text = std::fs::read_to_string(&log).expect("a log");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let keys: Vec<Value> = lines.map(|line: Value| line["peer_key"].clone()).collect();
        let [start, refused, end] = &keys[..] else { panic!("three lines, not {text}") };
        assert!(start.as_str().is_some_and(|key| key.starts_with("sha256:")), "{start}");
        assert!(start == end && start != refused, "{text}");
    });
}

#[test]
fn what_is_entered_instead_is_said_over_tls_too() {
    on_containerd(|containerd| {
        let pods = containerd.pods();
        let _pod = pods.run(&PodSpec::new("shop", "crashing"));
        let agent = serve().start(containerd);
        let words = ["-n", "shop", "pod/crashing", "--", "true"];
        for listener in Listener::ALL {
            let seen = run(agent.plugin(listener).args(words)).expect_success();
            assert!(seen.err().contains("namespaces of its pod"), "{listener:?}: {seen}");
            assert!(!seen.err().contains("the node's"), "{listener:?}: {seen}");
        }
        // Whose processes a tool shows that has joined nobody's is said, too.
        let unconfined = Serve::new().with_tls().start(containerd);
        let seen = run(unconfined.plugin(Listener::Tls).args(words)).expect_success();
        assert!(seen.err().contains("processes and files are the node's"), "{seen}");
    });
}
