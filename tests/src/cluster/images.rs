//! The images of the cluster: made on the spot, as there is no registry that any of it could reach.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::layout::Layout;
use super::programs::Built;
use crate::containerd::Version;
use crate::image::{self, APP_PATH, Recipe};
use crate::running::run;

/// The namespace that the kubelet's containers and images are in.
pub(super) const NAMESPACE: &str = "k8s.io";
/// The application as distroless images have it: not as root, with the files that a C library looks for.
pub const DISTROLESS_IMAGE: &str = "localhost/nsdebug/distroless-like:1";
const DNS_IMAGE: &str = "localhost/nsdebug/coredns:1";
/// Distroless' own `nonroot`.
const NONROOT: &str = "65532";
const USERS: &str = "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n";

/// Put every image that a cluster starts with into its containerd.
pub(super) fn load_all(layout: &Layout, load: impl Fn(&Path)) {
    let folder = layout.path("images");
    load(&image::archive(&folder));
    load(&distroless(&folder));
    load(&name_server(&folder));
}

/// `ctr` of the cluster's containerd.
pub(super) fn ctr(layout: &Layout, version: Version) -> Command {
    let mut ctr = Command::new(version.program("ctr"));
    ctr.arg("--address").arg(layout.path("containerd/containerd.sock"));
    ctr.args(["--namespace", NAMESPACE]);
    ctr
}

fn distroless(folder: &Path) -> PathBuf {
    let root = folder.join("distroless");
    copy(image::app_binary(), &root.join(&APP_PATH[1..]));
    let file = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("a folder in an own folder");
        std::fs::write(path, text).expect("a file in an own folder");
    };
    file("etc/passwd", USERS);
    file("etc/group", "root:x:0:\nnonroot:x:65532:\n");
    file("etc/nsswitch.conf", "hosts: files dns\n");
    file("etc/os-release", "NAME=\"distroless-like\"\nID=debian\n");
    let recipe = Recipe { tag: DISTROLESS_IMAGE, entrypoint: &[APP_PATH], user: NONROOT };
    image::pack_image(folder, "distroless", &[&APP_PATH[1..], "etc"], &recipe)
}

fn name_server(folder: &Path) -> PathBuf {
    copy(&Built::CoreDns.folder().join("coredns"), &folder.join("coredns/coredns"));
    let recipe = Recipe { tag: DNS_IMAGE, entrypoint: &["/coredns"], user: "0" };
    image::pack_image(folder, "coredns", &["coredns"], &recipe)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a file lies in a folder"))
        .expect("a folder in an own folder");
    std::fs::copy(from, to)
        .unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
}

/// Import an archive.
pub(super) fn load(layout: &Layout, version: Version, archive: &Path) {
    run(ctr(layout, version).args(["image", "import"]).arg(archive)).expect_success();
}
