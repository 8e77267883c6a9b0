//! Kubernetes' own servers that stop or start again: what does not need them goes on.

use harness::Daemon;

use crate::stage::{Lasting, installed, serves};

#[test]
fn containerd_is_not_on_the_path_of_a_session_and_is_found_again() {
    let Some(cluster) = installed() else { return };
    let session = Lasting::start(&cluster);
    cluster.restart_daemon(Daemon::Containerd);
    serves(&cluster);
    session.assert_goes_on();
}

#[test]
fn an_api_server_that_starts_again_ends_what_it_carried() {
    let Some(cluster) = installed() else { return };
    let session = Lasting::start(&cluster);
    cluster.restart_daemon(Daemon::ApiServer);
    session.assert_ends("the connection to the agent was lost");
    serves(&cluster);
}

#[test]
fn a_kubelet_that_stops_and_starts_changes_nothing() {
    let Some(cluster) = installed() else { return };
    let session = Lasting::start(&cluster);
    cluster.stop_daemon(Daemon::Kubelet);
    serves(&cluster);
    cluster.start_daemon(Daemon::Kubelet);
    serves(&cluster);
    session.assert_goes_on();
}
