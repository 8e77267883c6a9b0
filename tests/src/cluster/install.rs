//! nsdebug in a cluster, as its users install it: images on the node, and the chart by helm.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use super::{Cluster, SharedCluster};
use crate::chart::{chart, helm_requirement};
use crate::containerd::Version;
use crate::programs;
use crate::requirement::{Requirement, may_skip};
use crate::running::{Finished, Running, run};

/// Where `make image` leaves an archive of each image, and the programs that are in it.
const IMAGES: [(&str, &[&str]); 2] = [
    ("nsdebug-agent.tar", &["nsdebug-agent"]),
    ("nsdebug-gateway.tar", &["nsdebug-gateway", "kubectl-nsdebug"]),
];
/// Images are pulled by nobody, and everything is started again: half a minute on two cores.
const INSTALL_LIMIT: &str = "180s";
/// Of helm itself, past the limit that it was given.
const HELM_LIMIT: std::time::Duration = std::time::Duration::from_secs(240);

/// The namespace and the name of the release.
pub const RELEASE: &str = "nsdebug";

/// By the first test of this process that needs it.
static INSTALLED: OnceLock<()> = OnceLock::new();

impl Cluster {
    /// The cluster of this process with the chart installed as it is, beside others who use it and leave it so.
    /// None where it has to be left out.
    pub fn with_nsdebug() -> Option<SharedCluster> {
        let needed = [Self::requirement(Version::chosen()), Self::installation_requirement()];
        if may_skip(Requirement::all(needed)) {
            return None;
        }
        let cluster = Self::shared();
        INSTALLED.get_or_init(|| drop(cluster.install(&[])));
        Some(cluster)
    }

    /// `kubectl nsdebug`, run by kubectl as the cluster's administrator, to be given arguments.
    pub fn plugin(&self) -> Command {
        let mut kubectl = self.command("kubectl");
        kubectl.arg("nsdebug");
        kubectl
    }

    /// Run it to its end.
    pub fn nsdebug(&self, words: &[&str]) -> Finished {
        run(self.plugin().args(words))
    }

    /// The same as another user, by a kubeconfig of theirs.
    pub fn nsdebug_as(&self, user: &Path, words: &[&str]) -> Finished {
        run(self.plugin().arg("--kubeconfig").arg(user).args(words))
    }

    /// What has to be there for [`Cluster::install`], beside the cluster: images with the programs that are tested.
    pub fn installation_requirement() -> Requirement {
        let images = IMAGES.into_iter().map(|(archive, programs)| fresh(archive, programs));
        Requirement::all([helm_requirement()].into_iter().chain(images))
    }

    /// Install or upgrade, with `--set VALUE` for each of `values`, and wait until users can be served.
    pub fn install(&self, values: &[&str]) -> Finished {
        self.load_our_images();
        self.install_chart(&chart(), values).expect_success()
    }

    /// Put the images of `make image` where the kubelet finds them.
    pub fn load_our_images(&self) {
        for (archive, _) in IMAGES {
            self.load_image(&images_folder().join(archive));
        }
    }

    /// [`Cluster::install`] of any chart, with the images that are there.
    pub fn install_chart(&self, chart: &Path, values: &[&str]) -> Finished {
        let mut upgrade = self.command("helm");
        upgrade.args(["upgrade", "--install", RELEASE]).arg(chart);
        upgrade.args(["--namespace", RELEASE, "--create-namespace"]);
        // Without it, helm keeps what was set before when nothing is.
        upgrade.args(["--reset-values", "--wait", "--timeout", INSTALL_LIMIT]);
        for value in values {
            upgrade.args(["--set", value]);
        }
        let upgraded = patient(&mut upgrade);
        if upgraded.status.success() {
            // helm takes a DaemonSet for ready while no more of it is missing than may be.
            let rolled =
                ["rollout", "status", "-n", RELEASE, "--timeout=60s", "daemonset/nsdebug-agent"];
            let rolled = self.kubectl(&rolled);
            assert!(rolled.status.success(), "{rolled}\n{}", self.installation());
            let available = ["--for=condition=Available", "apiservice/v1alpha1.nsdebug.dev"];
            let waited = self.kubectl(&["wait", available[0], "--timeout=60s", available[1]]);
            assert!(waited.status.success(), "{waited}\n{}", self.installation());
        }
        upgraded
    }

    /// Remove the release, and wait until it is gone.
    pub fn uninstall(&self) -> Finished {
        let mut uninstall = self.command("helm");
        uninstall.args(["uninstall", RELEASE, "--namespace", RELEASE, "--wait"]);
        patient(uninstall.args(["--timeout", INSTALL_LIMIT])).expect_success()
    }

    /// `helm test`.
    pub fn test_installation(&self) -> Finished {
        let mut test = self.command("helm");
        test.args(["test", RELEASE, "--namespace", RELEASE]);
        patient(test.args(["--timeout", INSTALL_LIMIT]))
    }

    /// What a person would look at when an installation does not work.
    pub fn installation(&self) -> String {
        let all = ["get", "pods,events", "-n", RELEASE, "-o", "wide"];
        let service = ["get", "apiservice", "v1alpha1.nsdebug.dev", "-o", "yaml"];
        let logs = |component: &str| {
            let selector = format!("app.kubernetes.io/component={component}");
            self.kubectl(&["logs", "-n", RELEASE, "-l", &selector, "--tail", "40", "--prefix"])
        };
        let (all, service) = (self.kubectl(&all), self.kubectl(&service));
        format!("{all}\n{service}\n{}\n{}", logs("gateway"), logs("agent"))
    }
}

fn patient(command: &mut Command) -> Finished {
    Running::start(command).finish_within(HELM_LIMIT)
}

fn images_folder() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    repository.join("target/image")
}

/// An archive that is older than a program was made of another one.
fn fresh(archive: &str, programs: &[&str]) -> Requirement {
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let made = changed(&images_folder().join(archive)).unwrap_or(SystemTime::UNIX_EPOCH);
    let newer = |program: &&&str| {
        changed(&programs::folder().join(program)).is_none_or(|changed| changed > made)
    };
    match programs.iter().find(newer) {
        None => Requirement::Met,
        Some(program) => Requirement::Missing(format!(
            "target/image/{archive} is not there or older than {program}: run `make image`"
        )),
    }
}
