//! The programs of the cluster, as `tests/cluster/programs/build` put them into the cache.

use std::path::{Path, PathBuf};

use crate::containerd::{Version, cache};
use crate::image::digest;
use crate::requirement::Requirement;

/// How many digits of the digest are in the name of a folder.
const KEY_DIGITS: usize = 16;

/// A folder beside the script, and in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Built {
    /// Every part of Kubernetes that runs here, and etcd.
    Kubernetes,
    CoreDns,
    Helm,
}

impl Built {
    const ALL: [Self; 3] = [Self::Kubernetes, Self::CoreDns, Self::Helm];

    fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::CoreDns => "coredns",
            Self::Helm => "helm",
        }
    }

    /// Its folder in the cache: the name says what it was built from.
    pub(crate) fn folder(self) -> PathBuf {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/programs");
        let mut bytes = read(&sources.join("build"));
        let entries = std::fs::read_dir(sources.join(self.name())).expect("the sources are there");
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        bytes.extend(files.iter().flat_map(|path| read(path)));
        cache().join(format!("nsdebug/{}-{}", self.name(), &digest(&bytes)[..KEY_DIGITS]))
    }
}

/// Where helm is, which also works without a cluster.
pub(crate) fn built_helm() -> PathBuf {
    Built::Helm.folder()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Everything it takes to start a cluster on this containerd.
pub(crate) fn requirement(version: Version) -> Requirement {
    let built = Built::ALL.map(|one| {
        let complete = one.folder().join(".complete");
        if complete.is_file() {
            return Requirement::Met;
        }
        Requirement::Missing(format!(
            "{} is not built: run `make cluster-prerequisites`",
            one.name()
        ))
    });
    let tools = ["unshare", "nsenter", "setsid", "tail", "curl", "nft"].map(Requirement::program);
    let plugins = ["/usr/lib/cni/ptp", "/usr/lib/cni/portmap"].map(Requirement::program);
    let all = [Requirement::containerd(version)].into_iter().chain(built).chain(tools);
    Requirement::all(all.chain(plugins))
}
