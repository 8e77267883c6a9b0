//! The chart and helm, without a cluster: what it renders to, and the plain manifest that is made of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::built_helm;
use crate::requirement::Requirement;
use crate::running::{Finished, run};

/// What the chart is rendered for: the oldest Kubernetes that it says it runs on. helm would take its own idea of one.
const KUBE_VERSION: &str = "1.30.0";
/// The values of `manifests/install.yaml`: as they are, but for the namespace, which helm makes by a flag.
const PLAIN_VALUES: &str = "createNamespace=true";
const PLAIN_HEADER: &str =
    "# The chart with its own values, in the namespace `nsdebug`. Made by `make manifests`.\n";

/// The folder of the chart.
pub fn chart() -> PathBuf {
    repository().join("charts/nsdebug")
}

/// The plain manifest, as it is in the repository.
pub fn plain_manifest_file() -> PathBuf {
    repository().join("manifests/install.yaml")
}

/// helm, which is built once with the cluster's programs.
pub fn helm() -> Command {
    Command::new(built_helm().join("helm"))
}

/// What [`helm`] takes.
pub fn helm_requirement() -> Requirement {
    let helm = built_helm().join("helm");
    Requirement::program(helm.to_str().expect("a plain path"))
}

/// Render a chart with `--set VALUE` for each of `values`.
pub fn render(chart: &Path, values: &[&str]) -> Finished {
    let mut template = helm();
    template.args(["template", "nsdebug"]).arg(chart);
    template.args(["--namespace", "nsdebug", "--kube-version", KUBE_VERSION]);
    for value in values {
        template.args(["--set", value]);
    }
    run(&mut template)
}

/// What [`plain_manifest_file`] has to be.
pub fn plain_manifest() -> String {
    let mut template = helm();
    template.args(["template", "nsdebug"]).arg(chart()).args(["--namespace", "nsdebug"]);
    // What `helm test` needs is of no use to anybody else.
    template.args(["--kube-version", KUBE_VERSION, "--skip-tests", "--set", PLAIN_VALUES]);
    format!("{PLAIN_HEADER}{}", run(&mut template).expect_success().out())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository")
}
