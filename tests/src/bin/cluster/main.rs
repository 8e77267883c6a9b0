//! `make cluster`: a Kubernetes of one node on this machine, and nothing of it beside its own folder.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "people read what it says")]

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use harness::{Cluster, Requirement, Scratch, Version};

const USAGE: &str = "usage: cluster up FOLDER      start it; it stays
       cluster down FOLDER    end it, and remove all of it
       cluster keep           start it in a folder of its own, say which, and end it with the input";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up", folder] => up(Path::new(folder)),
        ["down", folder] => {
            Cluster::end(Path::new(folder));
            ExitCode::SUCCESS
        }
        ["keep"] => keep(),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn up(folder: &Path) -> ExitCode {
    if let Requirement::Missing(why) = Cluster::requirement(Version::chosen()) {
        eprintln!("cluster: {why}");
        return ExitCode::FAILURE;
    }
    if Cluster::running(folder).is_none() {
        // What an earlier one left, if it was not ended in order.
        Cluster::end(folder);
        let say = |step: &str| eprintln!("cluster: {step}");
        // Dropping the value leaves a detached cluster running.
        let _ = Cluster::start_detached(folder, Version::chosen(), &say);
    }
    let enter = folder.join("in");
    let enter = enter.display();
    println!("The cluster runs. On its node, as its administrator:\n");
    println!("  {enter} kubectl get pods -A");
    println!("  {enter} nsdebug-agent exec --pod shop/api -- ps -ef");
    println!("  {enter} bash\n\n`make cluster-down` ends it.");
    ExitCode::SUCCESS
}

fn keep() -> ExitCode {
    let cluster = Cluster::start_in(Scratch::new(), Version::chosen(), &|_| {});
    println!("{}", cluster.path().display());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
