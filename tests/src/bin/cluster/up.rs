//! Starting a cluster that stays, with nsdebug in it, and saying how to use it.

use std::path::Path;
use std::process::ExitCode;

use harness::{Cluster, Requirement, Version};

/// Start what does not run yet, and install or upgrade.
pub(crate) fn up(folder: &Path) -> ExitCode {
    let needed = [Cluster::requirement(Version::chosen()), Cluster::installation_requirement()];
    if let Requirement::Missing(why) = Requirement::all(needed) {
        eprintln!("cluster: {why}");
        return ExitCode::FAILURE;
    }
    let say = |step: &str| eprintln!("cluster: {step}");
    let running = Cluster::running(folder);
    // Dropping the value leaves a detached cluster running.
    let cluster = running.unwrap_or_else(|| {
        // What an earlier one left, if it was not ended in order.
        Cluster::end(folder);
        Cluster::start_detached(folder, Version::chosen(), &say)
    });
    say("nsdebug");
    cluster.install(&[]);
    say_how(folder);
    ExitCode::SUCCESS
}

fn say_how(folder: &Path) {
    let enter = folder.join("in");
    let enter = enter.display();
    println!("The cluster runs, with nsdebug in it. On its node, as its administrator:\n");
    println!("  {enter} kubectl get pods -A");
    println!("  {enter} kubectl nsdebug -n shop pod/api -- ps -ef");
    println!("  {enter} kubectl get apiservice v1alpha1.nsdebug.dev");
    println!("  {enter} kubectl exec -n nsdebug ds/nsdebug-agent -- nsdebug-agent sessions");
    println!("  {enter} helm get values nsdebug -n nsdebug --all");
    println!("  {enter} nsdebug-agent exec --pod shop/api -- ps -ef      # without the cluster");
    println!("  {enter} bash\n\n`make cluster-down` ends it.");
}
