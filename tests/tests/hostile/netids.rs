//! Another network by its number: what `NET_ADMIN` reaches from a container, and who therefore has no session with it.

use harness::{Listener, Neighbour, Serve, may_skip, refused};

use crate::stage::Stage;

/// Attempts on a link of the other network.
const ATTEMPTS: [&str; 3] = ["look", "make", "delete"];

#[test]
fn a_network_that_a_wire_leads_to_is_reached_by_net_admin_alone_and_that_takes_the_right_to_the_node()
 {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    // What stands for the node: at the other end of the container's wire, with a card of its own.
    let node = Neighbour::of(site.pid());
    node.ip("link add nic0 type veth peer name nic1").expect_success();
    let has_card = || node.ip("link show nic0").code() == 0;

    for profile in ["restricted", "baseline", "general"] {
        let said = stage.session(&site, profile, &["netids", "nic0"]).expect_success();
        assert!(said.out().starts_with("ids 1\n"), "{profile} sees the wire: {said}");
        for what in ATTEMPTS {
            let refused = ["EPERM", "EACCES"].map(|errno| format!("{what} {errno}\n"));
            assert!(refused.iter().any(|line| said.out().contains(line)), "{profile}: {said}");
        }
    }

    let serve = Serve::new().in_toolbox(&stage.tree()).option("--max-profile", "netadmin");
    let agent = serve.start(&stage.containerd);
    let mut plugin = agent.plugin(Listener::Unix);
    plugin.args(["container/site", "--profile", "netadmin", "--", "netids", "nic0"]);
    let refused = refused(&mut plugin, 125);
    assert!(refused.err().contains("reaches the node's network"), "{refused}");
    assert!(refused.out().is_empty() && has_card(), "{refused}");
    drop(agent);

    // That is what the refusal is for.
    let said = stage.session(&site, "netadmin", &["netids", "nic0"]).expect_success();
    for what in ATTEMPTS {
        assert!(said.out().contains(&format!("{what} done\n")), "{said}");
    }
    assert!(!has_card(), "{said}");
}
