//! How fast it is on a real Kubernetes as users install it, against what kubectl itself does there: one table of
//! ratios, each within one run.
//!
//! Everything runs on the cluster's node, ours and theirs. Nothing is asserted, as in the other table.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

#[path = "../../tests/gateway/apiserver.rs"]
#[expect(dead_code, reason = "the tests of gateways need more of it")]
mod apiserver;
#[path = "../../tests/gateway/authority.rs"]
#[expect(dead_code, reason = "the tests of gateways need more of it")]
mod authority;
mod commands;
mod crowd;
mod fleet;
mod footprint;
#[path = "../../tests/gateway/rig.rs"]
#[expect(dead_code, reason = "the tests of gateways need more of it")]
mod rig;
mod stage;
mod streams;
#[path = "../ratios/table.rs"]
mod table;

use harness::inside;

use crate::stage::Stage;
use crate::table::Row;

type Group = fn(&Stage) -> Vec<Row>;

/// `cargo bench` passes options of its own; words are the groups of rows to print, else all are.
fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |group: &str| words.is_empty() || words.iter().any(|word| word == group);
    let Some(stage) = Stage::set() else { return };
    table::print_head();
    let groups: [(&str, Group); 5] = [
        ("footprint", footprint::rows),
        ("commands", commands::rows),
        ("streams", streams::rows),
        ("crowd", crowd::rows),
        ("fleet", fleet::rows),
    ];
    for (_, rows) in groups.into_iter().filter(|(name, _)| wanted(name)) {
        // Threads and programs that start in there stay in there.
        inside(stage.cluster.pid(), || rows(&stage)).iter().for_each(Row::print);
    }
}
