//! Bad input, and the text that a person gets for it.

use std::path::Path;
use std::process::Command;

use harness::{Finished, PodSpec, Requirement, RunSpec, agent, run, skip};

use crate::stage::{Stage, exec};

/// Fail the test unless `done` ended with `code` and its stderr holds every one of `words`.
fn refused(done: Finished, code: i32, words: &[&str]) {
    let done = done.expect_code(code);
    assert_eq!(done.out(), "", "a refusal is no output: {done}");
    for word in words {
        assert!(done.err().contains(word), "{word:?} is not said: {done}");
    }
}

/// nsdebug's own failure is one line.
fn refused_in_a_line(done: Finished, words: &[&str]) {
    assert_eq!(done.err().lines().count(), 1, "{done}");
    assert!(done.err().starts_with("error: "), "{done}");
    refused(done, 125, words);
}

/// Nsdebug's own failure is one line, and what to do about it another.
fn refused_with_a_hint(done: Finished, words: &[&str], hint: &str) {
    let err = done.err();
    let (error, rest) = err.split_once('\n').expect("two lines");
    assert!(error.starts_with("error: ") && !error.contains("hint"), "{done}");
    assert_eq!(rest, format!("hint: {hint}\n"), "{done}");
    refused(done, 125, words);
}

/// A command line that cannot be.
fn misused(words: &[&str], expected: &[&str]) {
    refused(run(exec().args(words)), 2, expected);
}

#[test]
fn an_id_that_means_none_or_several_containers_is_refused_with_the_choice() {
    let Some(stage) = Stage::shared() else { return };
    let _one = stage.containerd.run(&RunSpec::new("bad-twin-one"));
    let _two = stage.containerd.run(&RunSpec::new("bad-twin-two").namespace("moby"));
    let _both = [
        stage.containerd.run(&RunSpec::new("bad-both").option(&["--cgroup", ""])),
        stage.containerd.create(&RunSpec::new("bad-both").namespace("k8s.io")),
    ];
    let id = |id: &str| run(&mut stage.session(id, &[], &["ps"]));
    let unknown = "no container's ID begins with `bad-none` (searched the containerd namespaces: default, k8s.io, moby)";
    refused_in_a_line(id("bad-none"), &[unknown]);
    let twins =
        "give more of it or the containerd namespace: default/bad-twin-one, moby/bad-twin-two";
    refused_in_a_line(id("bad-twin"), &["`bad-twin` is the beginning of more than one", twins]);
    refused_in_a_line(id("bad-both"), &["default/bad-both, k8s.io/bad-both"]);
    let within = |namespace: &str| {
        run(&mut stage.session("bad-twin", &["--containerd-namespace", namespace], &["true"]))
    };
    within("moby").expect_success();
    refused_in_a_line(within("k8s.io"), &["(searched the containerd namespaces: k8s.io)"]);
}

#[test]
fn a_container_that_does_not_run_is_refused_with_its_state() {
    let Some(stage) = Stage::shared() else { return };
    let stopped = stage.containerd.run(&RunSpec::new("bad-stopped"));
    stopped.stop();
    let _created = stage.containerd.create(&RunSpec::new("bad-created"));
    let paused = stage.containerd.run(&RunSpec::new("bad-paused"));
    let pause = |command: &str| {
        stage.containerd.ctr("default", &["task", command, paused.id()]).expect_success()
    };
    pause("pause");
    let only = "only a running container can be entered";
    let states = [
        ("bad-stopped", "container default/bad-stopped is stopped with exit code 137"),
        ("bad-created", "container default/bad-created is not started yet, or has ended"),
        ("bad-paused", "container default/bad-paused is paused"),
    ];
    for (id, state) in states {
        refused_in_a_line(run(&mut stage.session(id, &[], &["ps"])), &[state, only]);
    }
    pause("resume");
}

#[test]
fn pods_and_their_containers_are_listed_where_the_name_is_wrong() {
    let Some(stage) = Stage::shared() else { return };
    let pods = stage.containerd.pods();
    let pod = pods.run(&PodSpec::new("shop", "cart"));
    let other = pods.run(&PodSpec::new("shop", "pay"));
    pod.start("web", &["sleep", "600"]);
    pod.create("log", &["sleep", "600"]);
    let asked = |words: &[&str]| {
        let mut session = stage.exec(words);
        run(session.args(["--", "ps"]))
    };
    refused_in_a_line(
        asked(&["--pod", "shop/car"]),
        &["no pod shop/car is on this node, pods of that namespace here: cart, pay"],
    );
    refused_in_a_line(asked(&["--pod", "none/cart"]), &["pods of that namespace here: none"]);
    refused_in_a_line(
        asked(&["--pod", "shop/cart", "-c", "app"]),
        &[
            "there is no container `app` of pod shop/cart on this node, containers of it here: log, web",
        ],
    );
    let sandbox = format!("k8s.io/{} is the sandbox of pod shop/cart", pod.sandbox());
    let choice = "name one of the pod's containers (log, web)";
    refused_in_a_line(asked(&["--container", &pod.sandbox()[..12]]), &[&sandbox, choice]);
    drop(other);
}

#[test]
fn a_containerd_that_is_not_there_is_named_with_what_helps() {
    let Some(stage) = Stage::shared() else { return };
    let at = |socket: &str| {
        run(exec().args(["--containerd", socket, "--container", "abcd", "--", "ps"]))
    };
    let help = "start containerd, or name its socket with --containerd";
    let nowhere = stage.file("no.sock");
    let says = format!("containerd does not answer on {nowhere}: there is no such socket: ");
    refused_in_a_line(at(&nowhere), &[&says, help]);
    let deaf = stage.file("deaf.sock");
    drop(std::os::unix::net::UnixListener::bind(&deaf).expect("a socket in an own folder"));
    refused_in_a_line(at(&deaf), &["no process listens on it", help]);
    refused_in_a_line(at("/etc/passwd"), &["containerd does not answer on /etc/passwd"]);
}

#[test]
fn a_process_that_is_not_there_is_named() {
    if skip([Requirement::root()]) {
        return;
    }
    // Above `pid_max` of any kernel, so that nobody has it.
    let pid = (1 << 22).to_string();
    let done = run(exec().args(["--pid", &pid, "--", "ps"]));
    refused_in_a_line(done, &["error: there is no process 4194304"]);
}

#[test]
fn without_the_rights_to_enter_the_needed_ones_are_named() {
    let Some(stage) = Stage::shared() else { return };
    if skip([Requirement::program("setpriv")]) {
        return;
    }
    let container = stage.containerd.run(&RunSpec::new("bad-rights"));
    let as_another = |setpriv: &[&str], words: &[&str]| {
        let whole = stage.exec(words);
        // Where that user can execute it.
        let program = stage.file("nsdebug-agent");
        if !Path::new(&program).exists() {
            std::fs::copy(whole.get_program(), &program).expect("a copy of the program");
        }
        let mut command = Command::new("setpriv");
        command.args(setpriv).arg("--").arg(program).args(whole.get_args());
        run(command.args(["--", "ps"]))
    };
    let pid = container.pid().to_string();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    run(Command::new("chmod").arg("711").arg(stage.containerd.path())).expect_success();
    let denied = as_another(&nobody, &["--container", container.id()]);
    refused_in_a_line(
        denied,
        &["containerd does not answer on", "permission denied: run this as root"],
    );
    let denied = as_another(&nobody, &["--pid", &pid]);
    let hint = "run as root: this process has uid 65534";
    refused_with_a_hint(denied, &["cannot inspect process", "permission denied"], hint);
    let weak = as_another(&["--bounding-set", "-sys_admin"], &["--container", container.id()]);
    let hint = "run with CAP_SYS_ADMIN, which this process lacks";
    refused_with_a_hint(weak, &["cannot enter the target: ", "permission denied"], hint);
    let weak = as_another(&["--bounding-set", "-sys_admin,-sys_ptrace"], &["--pid", &pid]);
    let hint = "run with CAP_SYS_ADMIN and CAP_SYS_PTRACE, which this process lacks";
    refused_with_a_hint(weak, &["permission denied"], hint);
}

#[test]
fn an_empty_command_is_refused() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("bad-command"));
    let done = run(&mut stage.session(container.id(), &[], &[""]));
    refused_in_a_line(done, &["no command is given"]);
    let done = run(&mut stage.session(container.id(), &[], &[]));
    refused(done, 2, &["required", "COMMAND", "--help"]);
}

#[test]
fn a_command_line_that_cannot_be_says_what_would_be() {
    let kinds = "choose from pid, net, ipc, uts, cgroup, time";
    let lost = [
        "`mnt` cannot be joined",
        "the tools would no longer be visible",
        "/target",
        "/proc/1/root",
    ];
    misused(&["--pid", "1", "--namespaces", "mnt", "--", "ps"], &lost);
    misused(&["--pid", "1", "--namespaces", "nte", "--", "ps"], &["`nte`", kinds]);
    misused(&["--pid", "1", "--namespaces", "", "--", "ps"], &["--namespaces"]);
    misused(&["--pid", "1", "--namespaces", "user", "--", "ps"], &["--join-user"]);
    misused(&["--pid", "1", "--namespace", "net", "--", "ps"], &["similar", "--namespaces"]);
    misused(&["--pid", "1", "--conteiner", "abcd", "--", "ps"], &["'--conteiner'", "similar"]);
    misused(&["--pid", "1", "ps"], &["'ps'", "--"]);
    misused(&["--", "ps"], &["required", "--container", "--pod", "--pid"]);
    misused(&["--pid", "1", "--container", "abcd", "--", "ps"], &["cannot be used with"]);
    misused(&["--pid", "0", "--", "ps"], &["'0'", "--pid"]);
    misused(&["--pid", "4000000000", "--", "ps"], &["not in 1..=2147483647"]);
    misused(&["--pid", "web", "--", "ps"], &["'web'", "--pid"]);
    misused(&["--container", "abc", "--", "ps"], &["`abc` is too short", "at least 4 characters"]);
    misused(&["--container", "../../etc", "--", "ps"], &["cannot be a container ID"]);
    misused(&["--container", &"a".repeat(77), "--", "ps"], &["at most 76"]);
    misused(&["--pod", "web", "--", "ps"], &["NAMESPACE/NAME", "default/web"]);
    misused(&["--pod", "shop/Web", "--", "ps"], &["invalid name `Web`"]);
    misused(&["--container", "abcd", "-c", "web", "--", "ps"], &["cannot be used with"]);
    misused(&["--pid", "1", "--tools", "host", "--", "ps"], &["--tools", "multiple times"]);
    let done = run(agent().arg("exce"));
    refused(done, 2, &["'exce'", "similar", "'exec'"]);
}
