//! Images made on the spot: one static binary and nothing else, packed as `docker save` does.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::programs::cargo_target;
use crate::running::run;

/// What the containers of the tests run.
pub const APP_IMAGE: &str = "localhost/nsdebug/target-app:1";
/// The first container of every pod.
pub const PAUSE_IMAGE: &str = "localhost/nsdebug/pause:1";
/// Where the binary is in either.
pub(crate) const APP_PATH: &str = "/target-app";

/// The binary, built if its source is newer: it needs `rustc` and nothing else.
pub fn app_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("target_app"))
}

/// A static binary of `apps/NAME.rs` and the modules beside it.
pub fn built(name: &str) -> PathBuf {
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps");
    let source = apps.join(name).with_extension("rs");
    let read = |path: &Path| std::fs::read(path).expect("the source of the application");
    let code = [read(&source), read(&apps.join("kernel.rs"))].concat();
    let folder = cargo_target().join("test-apps");
    // The name says which source it was built from, so a build is either the right one or not there.
    let binary = folder.join(format!("{}-{}", name.replace('_', "-"), &digest(&code)[..16]));
    if !binary.is_file() {
        std::fs::create_dir_all(&folder).expect("a folder below target");
        // Made elsewhere and moved: other tests, of this process or not, may be doing the same.
        let elsewhere = tempfile::tempdir_in(&folder).expect("a folder below target");
        let fresh = elsewhere.path().join(name);
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition=2024", "-Copt-level=1", "-Ctarget-feature=+crt-static"]);
        rustc.args(["-Cstrip=symbols", "-o"]).arg(&fresh).arg(&source);
        run(&mut rustc).expect_success();
        std::fs::rename(&fresh, &binary).expect("both are in one folder");
    }
    binary
}

/// A root file system as a tar file in `folder`: the binary, and no other file.
pub(crate) fn root_tar(folder: &Path) -> PathBuf {
    let root = folder.join("image-root");
    std::fs::create_dir_all(&root).expect("a folder for the image");
    std::fs::copy(app_binary(), root.join(&APP_PATH[1..])).expect("the binary is copied");
    let archive = folder.join("layer.tar");
    pack(&archive, &root, &[&APP_PATH[1..]]);
    archive
}

/// Both images in one archive that `ctr image import` takes.
pub(crate) fn archive(folder: &Path) -> PathBuf {
    let layer = root_tar(folder);
    let layer_digest = digest(&std::fs::read(&layer).expect("the layer was just written"));
    let images = [("app", APP_IMAGE, "serve"), ("pause", PAUSE_IMAGE, "pause")];
    let manifest: Vec<_> = images
        .iter()
        .map(|(name, tag, command)| {
            let config = json!({
                "architecture": architecture(),
                "os": "linux",
                "config": { "Entrypoint": [APP_PATH, command], "Env": ["PATH=/"] },
                "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
            });
            write_json(&folder.join(format!("{name}.json")), &config);
            json!({ "Config": format!("{name}.json"), "RepoTags": [tag], "Layers": ["layer.tar"] })
        })
        .collect();
    write_json(&folder.join("manifest.json"), &json!(manifest));
    let archive = folder.join("images.tar");
    pack(&archive, folder, &["manifest.json", "app.json", "pause.json", "layer.tar"]);
    archive
}

/// What an image is beside its files.
pub(crate) struct Recipe<'r> {
    pub(crate) tag: &'r str,
    pub(crate) entrypoint: &'r [&'r str],
    pub(crate) user: &'r str,
}

/// An archive of one image, whose files are those called `names` in `FOLDER/NAME`.
pub(crate) fn pack_image(folder: &Path, name: &str, names: &[&str], recipe: &Recipe) -> PathBuf {
    let file = |ending: &str| format!("{name}.{ending}");
    let layer = folder.join(file("layer"));
    pack(&layer, &folder.join(name), names);
    let layer_digest = digest(&std::fs::read(&layer).expect("the layer was just written"));
    let Recipe { tag, entrypoint, user } = recipe;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": entrypoint, "Env": ["PATH=/"], "User": user },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
    });
    write_json(&folder.join(file("json")), &config);
    let manifest =
        json!([{ "Config": file("json"), "RepoTags": [tag], "Layers": [file("layer")] }]);
    write_json(&folder.join("manifest.json"), &manifest);
    let archive = folder.join(file("tar"));
    pack(&archive, folder, &["manifest.json", &file("json"), &file("layer")]);
    archive
}

fn write_json(path: &Path, value: &serde_json::Value) {
    std::fs::write(path, value.to_string()).expect("a file in an own folder");
}

/// The same bytes for the same files, whatever packs them and when.
fn pack(archive: &Path, folder: &Path, names: &[&str]) {
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-cf"]).arg(archive);
    run(tar.arg("-C").arg(folder).args(names)).expect_success();
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// As Go and so every image format spells it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
