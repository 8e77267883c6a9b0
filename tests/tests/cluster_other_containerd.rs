//! A cluster on the other containerd: it works, nsdebug does in it, and when it ends this machine is as it was.

use std::process::Command;
use std::time::Duration;

use harness::{Cluster, QuietNode, Requirement, Scratch, Version, may_skip, run, until};

/// An agent finds its gateways within seconds.
const SOON: Duration = Duration::from_secs(60);

/// The one that `cluster.rs` does not use.
fn other() -> Version {
    match Version::chosen() {
        Version::V1_6 => Version::V2_2,
        Version::V2_2 => Version::V1_6,
    }
}

/// What of the network and the kernel's settings a cluster would change if it were not apart.
fn settings() -> String {
    let commands = [
        "ip address",
        "ip route show table all",
        "nft list ruleset",
        "sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops",
        "sysctl kernel.keys.root_maxkeys kernel.keys.root_maxbytes net.ipv4.ip_forward",
        "ls /var/log /run /var/lib",
    ];
    let outputs = commands.map(|command| {
        let mut words = command.split(' ');
        run(Command::new(words.next().expect("a program")).args(words)).expect_success().out()
    });
    outputs.join("\n")
}

#[test]
fn a_cluster_that_ended_leaves_the_machine_as_it_was() {
    let needed = [Cluster::requirement(other()), Cluster::installation_requirement()];
    if may_skip(Requirement::all(needed)) {
        return;
    }
    let node = QuietNode::wait();
    let before = settings();
    let cluster = Cluster::start_in(Scratch::on(&node), other(), &|_| {});
    let ps = ["exec", "--pod", "shop/api", "--", "ps", "-ef"];
    let ps = run(cluster.command("nsdebug-agent").args(ps)).expect_success();
    assert!(ps.out().contains("/target-app serve children=2"), "{ps}");
    assert!(!ps.out().contains("kubelet"), "{ps}");
    let address = ["get", "service", "-n", "shop", "web", "-o", "jsonpath={.spec.clusterIP}:80"];
    let address = cluster.kubectl(&address).expect_success().out();
    let get = ["exec", "-n", "shop", "api", "--", "/target-app", "get", &address];
    let greeting = cluster.kubectl(&get).expect_success();
    assert_eq!(greeting.out(), "hello from the container\n");
    cluster.install(&[]);
    until("a session", SOON, || {
        let session = cluster.nsdebug(&["-n", "shop", "pod/api", "--", "ps", "-ef"]);
        session.out().contains("/target-app serve children=2") && session.code() == 0
    });
    assert_eq!(before, settings(), "while the cluster runs");
    let folder = cluster.path().to_owned();
    drop(cluster);
    assert!(!folder.exists(), "{} is still there", folder.display());
    assert_eq!(before, settings());
    node.assert_untouched();
}
