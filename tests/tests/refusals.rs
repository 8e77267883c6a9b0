//! What a person types wrongly, and what the plugin answers: the exit code and the words.

use harness::{
    Agent, Containerd, Finished, Listener, PodSpec, Requirement, RunSpec, Serve, Version, may_skip,
    refused, run,
};

fn with_agent(check: impl FnOnce(&Containerd, &Agent)) {
    if may_skip(Requirement::containerd(Version::chosen())) {
        return;
    }
    let containerd = Containerd::start(Version::chosen());
    let agent = Serve::new().start(&containerd);
    check(&containerd, &agent);
}

/// Run the plugin on `words`; it has to fail with `code` and say all of `said`, and `doctor` the same.
fn expect(agent: &Agent, words: &[&str], code: i32, said: &[&str]) -> Finished {
    let done = refused(agent.plugin(Listener::Unix).args(words), code);
    for text in said {
        assert!(done.err().contains(text), "no {text:?} in what was said: {done}");
    }
    assert_eq!(done.out(), "", "only the tool writes to stdout: {done}");
    done
}

#[test]
fn a_container_that_cannot_be_entered_is_named() {
    with_agent(|containerd, agent| {
        let _one = containerd.run(&RunSpec::new("web-one"));
        let _two = containerd.run(&RunSpec::new("web-two").namespace("moby"));
        let _idle = containerd.create(&RunSpec::new("idle-one"));
        let dead = containerd.run(&RunSpec::new("dead-one"));
        dead.stop();
        let cases: [(&str, &[&str]); 4] = [
            (
                "container/feedbeef",
                &["no container's ID begins with `feedbeef`", "default", "moby"],
            ),
            ("container/web-", &["more than one container's ID", "default/web-one, moby/web-two"]),
            ("container/dead-one", &["container default/dead-one is stopped", "only a running"]),
            ("container/idle-one", &["container default/idle-one is", "only a running"]),
        ];
        for (target, said) in cases {
            expect(agent, &[target, "--", "true"], 125, said);
        }
        let elsewhere = ["--containerd-namespace", "moby", "container/web-", "--", "true"];
        run(agent.plugin(Listener::Unix).args(elsewhere)).expect_success();
    });
}

#[test]
fn a_pod_or_container_that_is_not_there_is_answered_with_those_that_are() {
    with_agent(|containerd, agent| {
        let pods = containerd.pods();
        let pod = pods.run(&PodSpec::new("shop", "api"));
        let empty = ["-n", "shop", "pod/api", "--", "true"];
        // Its sandbox is what there is to enter, and that is said.
        let entered = run(agent.plugin(Listener::Unix).args(empty)).expect_success();
        assert!(entered.err().contains("processes and files are the node's"), "{entered}");
        let _web = pod.start("web", &["sleep", "600"]);
        let _log = pod.start("log", &["sleep", "600"]);
        run(agent.plugin(Listener::Unix).args(empty)).expect_success();
        run(agent.plugin(Listener::Unix).args(["-c", "log"]).args(empty)).expect_success();
        let missing = ["-n", "shop", "api", "-c", "sidecar", "--", "true"];
        expect(
            agent,
            &missing,
            125,
            &["there is no container `sidecar` of pod shop/api", "log, web"],
        );
        let wrong = ["-n", "shop", "pod/apu", "--", "true"];
        expect(agent, &wrong, 125, &["no pod shop/apu is on this node", "api"]);
        let sandbox = format!("container/{}", pod.sandbox());
        let said = ["is the sandbox of pod shop/api", "log", "web"];
        expect(agent, &[&sandbox, "--", "true"], 125, &said);
    });
}

#[test]
fn a_tool_that_cannot_run_has_the_exit_code_of_a_shell() {
    with_agent(|containerd, agent| {
        let _web = containerd.run(&RunSpec::new("web-one"));
        let cases: [(&str, i32, &[&str]); 4] = [
            ("tcpdmp", 127, &["there is no `tcpdmp` on this node; looked in", "/usr/bin"]),
            ("/no/such", 127, &["there is no file `/no/such`"]),
            ("/usr", 126, &["`/usr` is a directory"]),
            ("/etc/hostname", 126, &["cannot execute `/etc/hostname`"]),
        ];
        for (tool, code, said) in cases {
            expect(agent, &["container/web-one", "--", tool], code, said);
        }
    });
}

#[test]
fn a_command_line_that_does_not_fit_is_refused_before_anybody_is_asked() {
    with_agent(|containerd, agent| {
        let _web = containerd.run(&RunSpec::new("web-one"));
        let said = ["the command line is", "at most 61440 fit a request", "through stdin"];
        let long = "x".repeat(200_000);
        // One argument of a program may have 128 KiB on Linux: so it comes in two.
        let (first, second) = long.split_at(100_000);
        expect(agent, &["container/web-one", "--", "echo", first, second], 2, &said);
        let mut many = vec!["container/web-one", "--", "echo"];
        many.extend(std::iter::repeat_n("argument", 10_000));
        expect(agent, &many, 2, &said);
        // What just fits arrives.
        let fits = "x".repeat(60_000);
        let done = run(&mut agent.exec("web-one", &["echo", "-n", &fits])).expect_success();
        assert!(done.out() == fits, "{} bytes came back", done.stdout.len());
    });
}

#[test]
fn a_command_line_that_is_wrong_is_explained() {
    with_agent(|containerd, agent| {
        let _web = containerd.run(&RunSpec::new("web-one"));
        // Where it is started says nothing of the session.
        let shell = run(agent.plugin(Listener::Unix).arg("container/web-one")).expect_code(2);
        assert!(shell.err().contains("the default shell needs a terminal"), "{shell}");
        assert!(shell.err().contains("hint: "), "{shell}");
        // Words before `--` are targets. `doctor` takes one.
        for command in [None, Some("doctor")] {
            let mut plugin = agent.plugin(Listener::Unix);
            let forgotten = run(plugin.args(command).args(["container/web-one", "ps"]));
            assert!(forgotten.expect_code(2).err().contains("after `--`"), "{command:?}");
        }
        let cases: [(&[&str], i32, &[&str]); 4] = [
            (&["container/web-one", "--", ""], 2, &["no command is given"]),
            (&["deploy/web", "--", "true"], 2, &["`deploy`"]),
            (&["container/web-one", "--time", "5s", "--", "ps"], 2, &["'--timeout'"]),
            (&["container/web-one", "--namespaces", "mnt", "--", "ps"], 125, &["mnt", "tools"]),
        ];
        for (words, code, said) in cases {
            expect(agent, words, code, said);
        }
        let tty = ["-t", "container/web-one", "--", "echo", "done"];
        let done = run(agent.plugin(Listener::Unix).args(tty)).expect_success();
        assert_eq!(done.out(), "done\n");
        assert!(done.err().contains("warning: -t is given, but stdin is not a terminal"), "{done}");
        let late = ["--timeout", "300ms", "container/web-one", "--", "sleep", "600"];
        let late = run(agent.plugin(Listener::Unix).args(late)).expect_code(125);
        assert!(late.err().contains("the session was ended after 300ms"), "{late}");
    });
}

#[test]
fn an_agent_that_is_not_there_is_said_so() {
    let mut plugin = harness::plugin();
    let nowhere = "/nonexistent/agent.sock";
    plugin.args(["--agent", &format!("unix:{nowhere}"), "container/web-one", "--", "true"]);
    let done = refused(&mut plugin, 125);
    assert!(done.err().contains(&format!("cannot reach the agent at unix:{nowhere}")), "{done}");
    assert!(done.err().contains("hint: start the agent: nsdebug-agent serve"), "{done}");
    let done = refused(harness::plugin().args(["container/web-one", "--", "true"]), 2);
    assert!(done.err().contains("a cluster does not know containers by their ID"), "{done}");
}
