//! How fast it is, against what one would do without it: one table of ratios, each within one run.
//!
//! The two of a pair run alternately, so that what the machine does meanwhile befalls both. Nothing is asserted:
//! the reaches are goals, and a busy machine is no failure.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

mod commands;
mod copies;
mod footprint;
mod table;

use harness::{Containerd, QuietNode, Requirement, RunSpec, Scratch, Serve, Version, skip};

/// `cargo bench` passes words of its own; this program takes none.
fn main() {
    let programs = ["nsenter", "unshare", "dd"].map(Requirement::program);
    if skip([Requirement::containerd(Version::chosen())].into_iter().chain(programs)) {
        return;
    }
    let node = QuietNode::wait();
    let containerd = Containerd::start_in(Scratch::on(&node), Version::chosen());
    let web = containerd.run(&RunSpec::new("web-1"));
    let agent = Serve::new().with_tls().start(&containerd);
    table::print_head();
    footprint::agent(&agent).print();
    footprint::session(&agent).print();
    for row in commands::rows(&containerd, &web, &agent) {
        row.print();
    }
    copies::unix(&agent).print();
    copies::tls(&agent).print();
}
