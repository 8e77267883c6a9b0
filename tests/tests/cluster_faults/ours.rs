//! Gateways and agents that go: in order, one or all of them, or without a word.

use harness::{Process, RELEASE};
use rustix::process::Signal;

use crate::stage::{GATEWAYS, Lasting, SOON, installed, pods, serves};

#[test]
fn a_gateway_that_is_deleted_ends_its_own_sessions_and_no_new_one_waits_for_it() {
    let Some(cluster) = installed() else { return };
    let before = pods(&cluster, "gateway");
    let sessions = [(); 2].map(|()| Lasting::start(&cluster));
    for pod in &before {
        cluster.kubectl(&["delete", "-n", RELEASE, pod, "--timeout=60s"]).expect_success();
        serves(&cluster);
    }
    for session in sessions {
        session.assert_ends("ended by the gateway: it is shutting down");
    }
}

#[test]
fn sessions_end_when_both_gateways_are_replaced() {
    let Some(cluster) = installed() else { return };
    let session = Lasting::start(&cluster);
    cluster.kubectl(&[&["rollout", "restart"], &GATEWAYS[..]].concat()).expect_success();
    session.assert_ends("ended by the gateway: it is shutting down");
    serves(&cluster);
    let status = ["rollout", "status", "--timeout=120s"];
    cluster.kubectl(&[&status[..], &GATEWAYS].concat()).expect_success();
}

#[test]
fn an_agent_that_is_killed_leaves_nothing_and_comes_back() {
    let Some(cluster) = installed() else { return };
    let session = Lasting::start(&cluster);
    let pods = pods(&cluster, "agent");
    let [pod] = &pods[..] else { panic!("one agent, not {pods:?}") };
    let name = pod.trim_start_matches("pod/");
    let agent = Process::open(cluster.pid_of(RELEASE, name, None)).expect("it runs");
    agent.signal(Signal::KILL);
    assert!(agent.wait(SOON), "SIGKILL");
    session.assert_ends("closed the connection during the session");
    serves(&cluster);
}

#[test]
fn an_agent_that_is_told_to_go_says_so_to_its_sessions() {
    let Some(cluster) = installed() else { return };
    let session = Lasting::start(&cluster);
    let before = pods(&cluster, "agent");
    let delete = ["delete", "-n", RELEASE, &before[0], "--timeout=60s"];
    cluster.kubectl(&delete).expect_success();
    session.assert_ends("the agent is shutting down");
    serves(&cluster);
}
