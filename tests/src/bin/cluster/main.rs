//! `make cluster`: a Kubernetes of one node on this machine with nsdebug in it, and nothing of it beside its own folder.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "people read what it says")]

mod up;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use harness::{Cluster, Scratch, Version};

const USAGE: &str = "usage: cluster up FOLDER        start it, and install nsdebug; it stays
       cluster down FOLDER      end it, and remove all of it
       cluster keep             start it in a folder of its own, say which, and end it with the input
       cluster manifest FILE    write what the chart renders to; takes no cluster";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up", folder] => up::up(Path::new(folder)),
        ["down", folder] => {
            Cluster::end(Path::new(folder));
            ExitCode::SUCCESS
        }
        ["keep"] => keep(),
        ["manifest", file] => {
            std::fs::write(file, harness::plain_manifest()).expect("the file can be written");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn keep() -> ExitCode {
    let cluster = Cluster::start_in(Scratch::new(), Version::chosen(), &|_| {});
    println!("{}", cluster.path().display());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
