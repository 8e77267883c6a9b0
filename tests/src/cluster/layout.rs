//! Where everything of a cluster lies, and the addresses of its network, which exist in its own namespace only.

use std::path::{Path, PathBuf};

use crate::image::digest;
use crate::scratch;

/// The name of the only node.
pub(crate) const NODE_NAME: &str = "n1";
pub(crate) const NODE_ADDRESS: &str = "10.88.0.1";
/// What the pods of the cluster get, and what the only node has of it.
pub(crate) const POD_ADDRESSES: &str = "10.89.0.0/16";
const NODE_POD_ADDRESSES: &str = "10.89.0.0/24";
pub(crate) const SERVICE_ADDRESSES: &str = "10.96.0.0/16";
/// The first address of the Services is the API server's.
pub(crate) const API_SERVICE_ADDRESS: &str = "10.96.0.1";
const DNS_ADDRESS: &str = "10.96.0.10";
/// The API server, from anywhere in the cluster.
pub(crate) const API_SERVER: &str = "https://10.88.0.1:6443";
pub(crate) const API_SERVER_ADDRESS: &str = "10.88.0.1:6443";

/// The kernel's limit for the path of a socket is 108 bytes; the kubelet's is the longest below our folder.
const LONGEST_SOCKET: &str = "kubelet/pod-resources/kubelet.sock.temporary";
const SOCKET_PATH_LIMIT: usize = 108;

/// Folders that exist before anything starts.
const FOLDERS: [&str; 12] = [
    "certificates",
    "containerd/cni",
    "daemons",
    "images",
    "kubeconfig",
    "kubelet",
    "manifests",
    "node/log",
    "node/proc",
    "node/run/containerd",
    "node/sys",
    "static-pods",
];

/// The folder of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    folder: PathBuf,
}

impl Layout {
    pub(crate) fn of(folder: &Path) -> Self {
        let folder = std::path::absolute(folder).expect("this process has a working directory");
        let longest = folder.join(LONGEST_SOCKET).as_os_str().len();
        assert!(longest < SOCKET_PATH_LIMIT, "too long for sockets: {}", folder.display());
        Self { folder }
    }

    pub(crate) fn make_folders(&self) {
        for below in FOLDERS {
            std::fs::create_dir_all(self.path(below)).expect("a folder in an own folder");
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// [`Layout::path`] for an argument or a configuration.
    pub(crate) fn text(&self, below: &str) -> String {
        self.path(below).to_str().expect("a plain path").to_owned()
    }

    /// The name of the control group that all others of the cluster lie in.
    pub(crate) fn name(&self) -> String {
        match self.folder.file_name().and_then(|name| name.to_str()) {
            Some(name) if name.starts_with(scratch::PREFIX) => name.to_owned(),
            _ => format!("nsdebug-cluster-{}", &digest(self.text("").as_bytes())[..8]),
        }
    }

    /// A file from its template.
    pub(crate) fn write(&self, below: &str, template: &str) {
        std::fs::write(self.path(below), self.fill(template))
            .unwrap_or_else(|error| panic!("cannot write {below}: {error}"));
    }

    fn fill(&self, template: &str) -> String {
        let folder = self.folder.to_str().expect("a plain path");
        let name = self.name();
        let known = [
            ("@FOLDER@", folder),
            ("@NAME@", &name),
            ("@NODE@", NODE_ADDRESS),
            ("@PODS@", NODE_POD_ADDRESSES),
            ("@DNS@", DNS_ADDRESS),
        ];
        known.iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled() {
        let layout = Layout::of(Path::new("/tmp/nsdebug-test-x"));
        assert_eq!(layout.fill("@FOLDER@/a @NAME@"), "/tmp/nsdebug-test-x/a nsdebug-test-x");
    }

    #[test]
    fn a_cluster_of_no_test_has_a_name_of_its_own() {
        let name = |folder| Layout::of(Path::new(folder)).name();
        assert!(name("/tmp/a/cluster").starts_with("nsdebug-cluster-"));
        assert_ne!(name("/tmp/a/cluster"), name("/tmp/b/cluster"));
    }
}
