//! What may be entered, decided from what is observed: pods without a running container, user namespaces, and
//! targets that are worth as much as the node.

use std::process::Command;

use harness::session_process::SUPERVISOR;
use harness::{
    Containerd, Finished, IdMap, NamespaceMode, PodSpec, RunSpec, agent, run, toolbox_tree,
};

use crate::on_containerd;
use crate::stage::Serving;

/// `nsdebug-agent exec` with the toolbox.
fn exec(containerd: &Containerd, words: &[&str], tool: &[&str]) -> Finished {
    let mut command: Command = agent();
    command.args(["exec", "--tools", "toolbox", "--toolbox"]).arg(toolbox_tree());
    command.arg("--containerd").arg(containerd.socket()).args(words).arg("--").args(tool);
    run(&mut command)
}

fn of_node(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a link");
    link.to_string_lossy().into_owned()
}

/// What a tool sees of a pod without its containers: the network, and nobody but itself.
const SEEN: [&str; 3] = ["sh", "-c", "ip -4 -br address; ps -e -o comm="];

fn assert_sandbox_seen(seen: &Finished, why: &str) {
    let (out, err) = (seen.out(), seen.err());
    assert!(out.contains("10.87.0."), "{seen}");
    assert!(err.contains(why) && err.contains("namespaces of its pod"), "{seen}");
    let commands: Vec<_> = out.lines().filter(|line| !line.contains(' ')).collect();
    assert!(commands.iter().all(|line| ["sh", "ps", SUPERVISOR].contains(line)), "{seen}");
}

#[test]
fn a_pod_whose_container_does_not_run_is_entered_by_its_sandbox() {
    on_containerd(|containerd| {
        let pods = containerd.pods();
        let pod = pods.run(&PodSpec::new("shop", "crashing"));
        let agent = Serving::start(containerd, &[]);
        let by_name = ["--pod", "shop/crashing"];
        assert_sandbox_seen(
            &exec(containerd, &by_name, &SEEN).expect_success(),
            "no container yet",
        );

        let id = pod.create("app", &["serve"]);
        let created = exec(containerd, &by_name, &SEEN).expect_success();
        assert_sandbox_seen(&created, "container app");
        let stopped = pod.start("crash", &["exit", "3"]);
        // containerd may take the remains away at once, and then only knows that nothing runs.
        harness::until("it to have ended", crate::stage::LIMIT, || {
            exec(containerd, &["--container", &stopped], &["true"]).err().contains("of its pod")
        });
        assert_sandbox_seen(&exec(containerd, &["--container", &id], &SEEN), "container app");
        let mut words = vec!["-n", "shop", "pod/crashing", "-c", "crash", "--"];
        words.extend(SEEN);
        let served = run(&mut agent.plugin(&words)).expect_success();
        assert_sandbox_seen(&served, "note: container");
        assert!(served.err().contains("container crash"), "{served}");
    });
}

#[test]
fn without_a_sandbox_what_does_not_run_is_not_entered() {
    on_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("webcontainer"));
        web.stop();
        let refused =
            exec(containerd, &["--container", "webcontainer"], &["true"]).expect_code(125);
        assert!(refused.err().contains("only a running container"), "{refused}");
        let pods = containerd.pods();
        let pod = pods.run(&PodSpec::new("shop", "over"));
        pod.create("app", &["serve"]);
        let sandbox = pod.sandbox().to_owned();
        containerd
            .ctr("k8s.io", &["task", "kill", "--signal", "SIGKILL", &sandbox])
            .expect_success();
        harness::until("the sandbox to be seen dead", crate::stage::LIMIT, || {
            let refused = exec(containerd, &["--pod", "shop/over"], &["true"]);
            refused.code() == 125 && refused.err().contains("only a running container")
        });
    });
}

#[test]
fn in_a_user_namespace_of_its_own_the_tool_stays_outside() {
    on_containerd(|containerd| {
        let map = IdMap { first_on_node: 200_000, count: 65_536 };
        let mapped = containerd.run(&RunSpec::new("mapped").user_namespace(map));
        let script = "readlink /proc/self/ns/user /proc/self/ns/pid; ps -p 1 -o uid=";
        let seen = exec(containerd, &["--container", "mapped"], &["sh", "-c", script]);
        let seen = seen.expect_success().out();
        let lines: Vec<_> = seen.lines().map(str::trim).collect();
        assert_eq!(lines, [of_node("user"), mapped.namespace_of("pid"), "200000".to_owned()]);
        assert_ne!(mapped.namespace_of("user"), of_node("user"));
    });
}

/// The targets of T16, by what each is.
fn host_targets() -> [(&'static str, RunSpec, &'static str); 5] {
    let sleeper = |id| RunSpec::new(id).arguments(&["sleep", "86400"]);
    [
        ("hostnet", sleeper("hostnet").host_network(), "the node's net namespace"),
        ("hostpid", sleeper("hostpid").host_pid(), "the node's pid namespace"),
        (
            "hostipc",
            sleeper("hostipc").option(&["--with-ns", "ipc:/proc/self/ns/ipc"]),
            "the node's ipc namespace",
        ),
        ("privileged", sleeper("privileged").privileged(), "CAP_SYS_ADMIN"),
        ("tracer", sleeper("tracer").option(&["--cap-add", "CAP_SYS_PTRACE"]), "CAP_SYS_PTRACE"),
    ]
}

#[test]
fn host_targets_need_leave_and_the_nodes_processes_are_never_joined() {
    on_containerd(|containerd| {
        let agent = Serving::start(containerd, &[]);
        let allowing = Serving::start(containerd, &["--allow-host-targets"]);
        for (id, spec, why) in host_targets() {
            let _target = containerd.run(&spec);
            let answer = agent.answer(&format!("containers/{id}/exec?command=true"), "");
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(why), "{id}: {answer}");
            let refused = exec(containerd, &["--container", id], &["true"]).expect_code(125);
            assert!(refused.err().contains(why), "{refused}");

            let target = format!("container/{id}");
            let script = "readlink /proc/self/ns/pid; ls -d /proc/[0-9]* | wc -l";
            let seen = run(&mut allowing.plugin(&[&target, "--", "sh", "-c", script]));
            let seen = seen.expect_success();
            let out = seen.out();
            let (pids, count) = out.split_once('\n').expect("two lines");
            assert_ne!(pids, of_node("pid"), "{seen}");
            assert!(count.trim().parse::<u32>().expect("a number") < 10, "{seen}");
            exec(containerd, &["--container", id, "--allow-host-targets"], &["true"])
                .expect_success();
        }
    });
}

#[test]
fn a_container_beside_that_may_trace_is_named_until_it_has_ended() {
    on_containerd(|containerd| {
        let sleeper = |id| RunSpec::new(id).arguments(&["sleep", "86400"]);
        let watched = containerd.run(&sleeper("watched"));
        let agent = Serving::start(containerd, &[]);
        let session = || run(&mut agent.plugin(&["container/watched", "--", "true"]));
        session().expect_success();
        let pids = format!("pid:/proc/{}/ns/pid", watched.pid());
        let tracing = ["--with-ns", &pids, "--cap-add", "CAP_SYS_PTRACE"];
        let debugger = containerd.run(&sleeper("debugger").option(&tracing));
        let refused = session().expect_code(125);
        let who = "container debugger in the target's pid namespace has";
        for words in [who, "CAP_SYS_PTRACE", "ends with its shell", "--namespaces net"] {
            assert!(refused.err().contains(words), "{words}: {refused}");
        }
        let without = ["container/watched", "--namespaces", "net", "--", "true"];
        run(&mut agent.plugin(&without)).expect_success();
        drop(debugger);
        session().expect_success();
    });
}

#[test]
fn exec_names_a_container_as_its_labels_do_and_else_by_its_id() {
    on_containerd(|containerd| {
        let sleeper = |id| RunSpec::new(id).arguments(&["sleep", "86400"]);
        // As the kubelet's containers are labelled.
        let labelled = |id: &'static str, container: &str| {
            let pod = sleeper(id).label("io.cri-containerd.kind", "container");
            let pod = pod.label("io.kubernetes.pod.name", "api-0");
            let pod = pod.label("io.kubernetes.pod.namespace", "shop");
            let pod = pod.label("io.kubernetes.pod.uid", "u1");
            pod.label("io.kubernetes.container.name", container)
        };
        let web = containerd.run(&labelled("webcontainer", "web"));
        let pids = format!("pid:/proc/{}/ns/pid", web.pid());
        let tracing = ["--with-ns", &pids, "--cap-add", "CAP_SYS_PTRACE"];
        let session = |target: &[&str]| exec(containerd, target, &["true"]).expect_code(125).err();
        let of_web = ["--container", "webcontainer"];
        let debugger = containerd.run(&labelled("debugger", "dbg").option(&tracing));
        let said = session(&of_web);
        assert!(said.contains("container dbg of pod shop/api-0 in the target's pid"), "{said}");
        // By its process nothing is asked of containerd.
        let said = session(&["--pid", &web.pid().to_string()]);
        assert!(said.contains("container debugger in the target's pid"), "{said}");
        let said = session(&["--container", "debugger"]);
        let why = "container dbg of pod shop/api-0 is a host target: ";
        assert!(said.contains(why) && said.contains("--allow-host-targets enters it"), "{said}");
        drop(debugger);
        let _plain = containerd.run(&sleeper("plain").option(&tracing));
        let said = session(&of_web);
        assert!(said.contains("container plain in the target's pid namespace"), "{said}");
    });
}

#[test]
fn no_program_of_a_target_is_executed_but_its_copy_is() {
    on_containerd(|containerd| {
        let _target = containerd.run(&RunSpec::new("programs").arguments(&["sleep", "86400"]));
        let of = ["--container", "programs"];
        let refused = exec(containerd, &of, &["/target/target-app", "exit", "0"]).expect_code(126);
        assert!(refused.err().contains("nothing below /target is executed"), "{refused}");
        let missing = exec(containerd, &of, &["/target-app", "exit", "0"]).expect_code(127);
        assert!(missing.err().contains("the target's files are below /target"), "{missing}");
        let copy = "cp /target/target-app /tmp && exec /tmp/target-app exit 7";
        exec(containerd, &of, &["sh", "-c", copy]).expect_code(7);
    });
}

#[test]
fn a_pod_on_the_nodes_network_stays_a_host_target_when_only_its_sandbox_runs() {
    on_containerd(|containerd| {
        let pods = containerd.pods();
        let spec = PodSpec::new("shop", "node").host_network().processes(NamespaceMode::Node);
        let _pod = pods.run(&spec);
        let refused = exec(containerd, &["--pod", "shop/node"], &["true"]).expect_code(125);
        assert!(refused.err().contains("net and pid namespace"), "{refused}");
        let words = ["--pod", "shop/node", "--allow-host-targets"];
        let seen = exec(containerd, &words, &["readlink", "/proc/self/ns/pid"]).expect_success();
        assert_ne!(seen.out().trim(), of_node("pid"));
    });
}
