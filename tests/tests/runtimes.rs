//! Container runtimes as the tests start them: each starts, runs the toolless container, and leaves the node as it was.

use std::process::Command;

use harness::{
    Containerd, Docker, IdMap, NamespaceMode, Neighbour, PodSpec, QuietNode, Requirement, RunSpec,
    Running, Scratch, Version, inside, may_skip, request, run,
};
use rustix::process::Signal;

const GREETING: &str = "hello from the container\n";

/// Run `check` against each containerd, with the node to itself, and compare the node.
fn on_each_containerd(check: impl Fn(&Containerd)) {
    for version in Version::ALL {
        if may_skip(Requirement::containerd(version)) {
            continue;
        }
        let node = QuietNode::wait();
        let containerd = Containerd::start_in(Scratch::on(&node), version);
        check(&containerd);
        drop(containerd);
        node.assert_untouched();
    }
}

#[test]
fn a_toolless_container_serves_and_leaves_nothing() {
    on_each_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("web").label("app", "web"));
        assert_eq!(request(web.pid(), "/"), GREETING);
        assert_eq!(web.status().as_deref(), Some("RUNNING"));
        let exec = ["task", "exec", "--exec-id", "ps", "web", "ps"];
        let no_ps = containerd.ctr("default", &exec);
        assert_ne!(no_ps.code(), 0, "the image has a ps: {no_ps}");
        web.stop();
        assert_eq!(web.status().as_deref(), Some("STOPPED"));
    });
}

#[test]
fn a_neighbour_reaches_the_container_over_a_wire() {
    on_each_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("web"));
        let neighbour = Neighbour::of(web.pid());
        assert_eq!(neighbour.request("/"), GREETING);
    });
}

#[test]
fn children_are_in_the_containers_pid_namespace_and_zombies_stay() {
    on_each_containerd(|containerd| {
        let spec = RunSpec::new("many").arguments(&["serve", "children=3", "zombies=2"]);
        let many = containerd.run(&spec);
        assert_eq!(many.processes().len(), 6);
    });
}

#[test]
fn namespaces_can_be_the_nodes() {
    on_each_containerd(|containerd| {
        let of_node = |kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a link");
        let arguments = ["serve", "port=18473"];
        let open =
            containerd.run(&RunSpec::new("open").arguments(&arguments).host_network().host_pid());
        for kind in ["net", "pid"] {
            assert_eq!(Some(open.namespace_of(kind).as_str()), of_node(kind).to_str());
        }
        assert_ne!(Some(open.namespace_of("ipc").as_str()), of_node("ipc").to_str());
    });
}

#[test]
fn a_container_can_have_its_own_user_namespace() {
    on_each_containerd(|containerd| {
        let map = IdMap { first_on_node: 200_000, count: 65_536 };
        let mapped = containerd.run(&RunSpec::new("mapped").user_namespace(map));
        let uid_map = std::fs::read_to_string(format!("/proc/{}/uid_map", mapped.pid()));
        let words = uid_map.expect("the container runs");
        assert_eq!(words.split_whitespace().collect::<Vec<_>>(), ["0", "200000", "65536"]);
        assert_eq!(request(mapped.pid(), "/"), GREETING);
    });
}

#[test]
fn a_container_can_be_made_and_not_started() {
    on_each_containerd(|containerd| {
        let idle = containerd.create(&RunSpec::new("idle").namespace("moby"));
        assert_eq!((idle.pid(), idle.status()), (0, None));
        let containers = containerd.ctr("moby", &["containers", "ls", "--quiet"]);
        assert_eq!(containers.out(), "idle\n");
    });
}

#[test]
fn a_pod_has_its_own_network_and_the_labels_of_a_kubelet() {
    on_each_containerd(|containerd| {
        let pods = containerd.pods();
        let pod = pods.run(&PodSpec::new("default", "api"));
        let id = pod.start("web", &["serve"]);
        assert_eq!(pods.sandboxes(), [pod.sandbox()]);
        harness::until("the pod to serve", std::time::Duration::from_secs(10), || {
            inside(pod.pid(&id), || std::net::TcpStream::connect("127.0.0.1:8080").is_ok())
        });
        let addresses = inside(pod.pid(&id), || run(Command::new("ip").args(["address"])));
        assert!(addresses.out().contains("10.87.0."), "{addresses}");
        let labels = containerd.ctr("k8s.io", &["containers", "info", &id]);
        for label in ["io.kubernetes.pod.name", "io.kubernetes.container.name"] {
            assert!(labels.out().contains(label), "{labels}");
        }
    });
}

#[test]
fn the_containers_of_a_pod_can_share_processes() {
    on_each_containerd(|containerd| {
        let pods = containerd.pods();
        let spec = PodSpec::new("default", "shared").host_network().processes(NamespaceMode::Pod);
        let pod = pods.run(&spec);
        let (one, two) = (pod.start("one", &["sleep", "600"]), pod.start("two", &["sleep", "600"]));
        let namespace = |id: &str| {
            let path = format!("/proc/{}/ns/pid", pod.pid(id));
            std::fs::read_link(path).expect("the container runs")
        };
        assert_eq!(namespace(&one), namespace(&two));
        pod.stop(&two);
    });
}

#[test]
fn a_pod_can_use_the_nodes_processes_and_have_a_container_that_never_ran() {
    on_each_containerd(|containerd| {
        let pods = containerd.pods();
        let spec =
            PodSpec::new("kube-system", "agent").host_network().processes(NamespaceMode::Node);
        let pod = pods.run(&spec);
        let id = pod.start("main", &["sleep", "600"]);
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).expect("a link");
        assert_eq!(of(&pod.pid(&id).to_string()), of("self"));
        let idle = pod.create("idle", &["sleep", "600"]);
        let tasks = containerd.ctr("k8s.io", &["task", "ls"]).out();
        let line = tasks.lines().find(|line| line.contains(&idle));
        assert!(line.is_none_or(|line| line.contains("CREATED")), "{tasks}");
    });
}

#[test]
fn a_container_can_be_privileged() {
    on_each_containerd(|containerd| {
        let strong = containerd.run(&RunSpec::new("strong").privileged());
        let status = std::fs::read_to_string(format!("/proc/{}/status", strong.pid()));
        let ours = std::fs::read_to_string("/proc/self/status").expect("a status");
        let capabilities = |status: &str| {
            status.lines().find(|line| line.starts_with("CapEff")).map(str::to_owned)
        };
        assert_eq!(capabilities(&status.expect("the container runs")), capabilities(&ours));
    });
}

#[test]
fn containers_outlive_a_restart_of_containerd() {
    if may_skip(Requirement::containerd(Version::chosen())) {
        return;
    }
    let mut containerd = Containerd::start(Version::chosen());
    let pid = {
        // The guard would end the container, and it borrows what is restarted.
        let web = std::mem::ManuallyDrop::new(containerd.run(&RunSpec::new("web")));
        web.pid()
    };
    containerd.restart();
    assert_eq!(request(pid, "/"), GREETING);
    let tasks = containerd.ctr("default", &["task", "ls"]);
    assert!(tasks.out().contains("RUNNING"), "{tasks}");
}

#[test]
fn what_a_killed_test_left_is_swept_by_its_folder() {
    if may_skip(Requirement::containerd(Version::chosen())) {
        return;
    }
    let node = QuietNode::wait();
    {
        let containerd = Containerd::start_in(Scratch::on(&node), Version::chosen());
        // Neither guard runs: the scratch folder alone has to find the container and its shim.
        std::mem::forget(containerd.run(&RunSpec::new("left")));
        containerd.run(&RunSpec::new("left-too").namespace("k8s.io")).stop();
    }
    node.assert_untouched();
}

#[test]
fn docker_runs_the_container_and_leaves_nothing() {
    if may_skip(Requirement::docker()) {
        return;
    }
    let node = QuietNode::wait();
    {
        let docker = Docker::start_in(Scratch::on(&node));
        let web = docker.run("web");
        assert!(docker.docker(&["ps"]).out().contains(web.short_id()));
        assert!(docker.containerd_socket().exists());
        harness::until("the container to serve", std::time::Duration::from_secs(10), || {
            inside(web.pid(), || std::net::TcpStream::connect("127.0.0.1:8080").is_ok())
        });
        assert_eq!(request(web.pid(), "/"), GREETING);
    }
    node.assert_untouched();
}

#[test]
fn what_a_killed_process_left_is_swept_by_the_next() {
    if may_skip(Requirement::containerd(Version::chosen())) {
        return;
    }
    let before = QuietNode::wait().before().clone();
    let demo = Running::start(&mut Command::new(env!("CARGO_BIN_EXE_demo")));
    demo.wait_for_stdout("it serves");
    demo.signal(Signal::KILL);
    demo.finish().expect_code(137);
    // Waiting for the node ends with the killed demo's lock, and then sweeps.
    let node = QuietNode::wait();
    before.assert_untouched();
    drop(node);
}
