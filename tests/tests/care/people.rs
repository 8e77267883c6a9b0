//! Several people at one agent, told apart by their certificates.

use harness::{Agent, Listener, PodSpec, RunSpec, Running, Serve, run, toolbox_tree, until};

use crate::on_containerd;
use crate::stage::LIMIT;

const WEB: &str = "container/webcontainer";

fn serve() -> Serve {
    Serve::new().in_toolbox(toolbox_tree()).with_tls()
}

/// Somebody's session that stays until its input ends.
fn waiting(agent: &Agent, name: &str, options: &[&str]) -> Running {
    let mut plugin = agent.plugin_of(name);
    plugin.args(options).args(["-i", WEB, "--", "sh", "-c", "echo begun; exec cat"]);
    let session = Running::start(&mut plugin);
    session.wait_for_stdout("begun");
    session
}

#[test]
fn nobody_is_let_in_beside_somebody_who_may_trace() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = serve().start(containerd);
        let first = waiting(&agent, "alice", &[]);
        let baseline = ["--profile", "baseline"];
        for options in [&[][..], &baseline] {
            let words = [options, &[WEB, "--", "true"]].concat();
            for mut other in [agent.plugin_of("bob"), agent.plugin(Listener::Unix)] {
                let refused = run(other.args(&words)).expect_code(125);
                for word in ["of certificate alice", "same pid namespace", "wait for its end"] {
                    assert!(refused.err().contains(word), "{word}: {refused}");
                }
            }
            run(agent.plugin_of("alice").args(&words)).expect_success();
        }
        first.finish().expect_success();
        let harmless = waiting(&agent, "alice", &baseline);
        let beside =
            |options: &[&str]| run(agent.plugin_of("bob").args(options).args([WEB, "--", "true"]));
        beside(&baseline).expect_success();
        beside(&[]).expect_code(125);
        harmless.finish().expect_success();
        until("her session to be gone", LIMIT, || beside(&[]).code() == 0);
    });
}

#[test]
fn sessions_are_counted_by_the_name_in_the_certificate() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = serve().option("--max-sessions-per-caller", "1").start(containerd);
        let baseline = ["--profile", "baseline"];
        let only = waiting(&agent, "alice", &baseline);
        // Another certificate of hers makes her nobody else.
        let words = ["--profile", "baseline", WEB, "--", "true"];
        let refused = run(agent.plugin_of("alice").args(words)).expect_code(125);
        let why = "certificate alice has 1 sessions here already";
        assert!(refused.err().contains(why), "{refused}");
        run(agent.plugin_of("bob").args(words)).expect_success();
        run(agent.plugin(Listener::Unix).args(words)).expect_success();
        only.finish().expect_success();
        let again = || run(agent.plugin_of("alice").args(words)).code() == 0;
        until("her place to be free", LIMIT, again);
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
