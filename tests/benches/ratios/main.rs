//! How fast it is, against what one would do without it: one table of ratios, each within one run.
//!
//! The two of a pair run alternately, so that what the machine does meanwhile befalls both. Nothing is asserted:
//! the reaches are goals, and a busy machine is no failure.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

mod commands;
mod confined;
mod copies;
mod footprint;
mod table;

use harness::{Containerd, QuietNode, Requirement, RunSpec, Scratch, Serve, Version, skip};

/// `cargo bench` passes options of its own; words are the groups of rows to print, else all are.
fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |group: &str| words.is_empty() || words.iter().any(|word| word == group);
    let programs = ["nsenter", "unshare", "dd"].map(Requirement::program);
    if skip([Requirement::containerd(Version::chosen())].into_iter().chain(programs)) {
        return;
    }
    let node = QuietNode::wait();
    let containerd = Containerd::start_in(Scratch::on(&node), Version::chosen());
    let web = containerd.run(&RunSpec::new("web-1"));
    let agent =
        Serve::new().with_tls().option("--max-sessions-per-caller", "64").start(&containerd);
    table::print_head();
    if wanted("footprint") {
        footprint::agent(&agent).print();
        footprint::session(&agent).print();
    }
    if wanted("commands") {
        commands::rows(&containerd, &web, &agent).iter().for_each(table::Row::print);
    }
    if wanted("confined") {
        confined::rows(&containerd, &web).iter().for_each(table::Row::print);
    }
    if wanted("copies") {
        copies::unix(&agent).print();
        copies::tls(&agent).print();
    }
}
