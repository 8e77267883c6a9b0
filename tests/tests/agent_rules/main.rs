//! Sessions that are looked after: listed, ended, limited and written down, and which targets they may have.

mod audit;
mod checked;
mod dry_run;
mod limits;
mod node;
mod people;
mod stage;
mod targets;
mod together;
mod zombies;

use harness::{Containerd, QuietNode, Requirement, Scratch, Version, may_skip};

/// Run `check` with a containerd, on a node that must be the same afterwards.
fn on_containerd(check: impl Fn(&Containerd)) {
    let version = Version::chosen();
    if may_skip(Requirement::containerd(version)) {
        return;
    }
    let node = QuietNode::wait();
    let containerd = Containerd::start_in(Scratch::on(&node), version);
    check(&containerd);
    drop(containerd);
    node.assert_untouched();
}
