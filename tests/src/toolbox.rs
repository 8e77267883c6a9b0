//! The tree of tools of confined sessions: as `make image` leaves it, or built by the first test that needs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::running::Running;

/// It downloads some 60 MB of packages, once.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// Where the tree is.
pub fn toolbox_tree() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(|| {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let tree = repository.join("target/toolbox");
        if !tree.join("usr/bin").is_dir() {
            let mut build = Command::new(repository.join("image/build.py"));
            Running::start(build.args(["toolbox", "--toolbox-only"]))
                .finish_within(BUILD_LIMIT)
                .expect_success();
        }
        tree.canonicalize().expect("a tree that was built")
    })
}
