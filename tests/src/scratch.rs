//! A folder of one test, whose name marks everything the test brings into being, so that all of it can be
//! found and removed: by the test itself, or by the next one when the test was killed.
//!
//! What is marked: the folder; mounts below it; processes with a path below it among their arguments; control
//! groups and network links of its name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::node::NodeSnapshot;
use crate::process::{Process, all_pids, arguments};
use crate::{cgroup, cluster, node};

pub(crate) const PREFIX: &str = "nsdebug-test-";
/// Held with a lock for as long as the owner lives; the kernel lets go when it dies, however it dies.
const OWNER_LOCK: &str = "owner.lock";
/// Taken shared by every test that starts something, exclusively by one that compares the node.
const NODE_LOCK: &str = "nsdebug-node.lock";
/// A killed process is gone at once, unless the machine swaps.
const DEATH_LIMIT: Duration = Duration::from_secs(5);

/// The node with no other test on it, and what it was when that began.
///
/// A test that has a [`Scratch`] of its own already would wait for itself: this comes first.
#[derive(Debug)]
#[must_use = "other tests start again when this is dropped"]
pub struct QuietNode {
    before: NodeSnapshot,
    lock: File,
}

impl QuietNode {
    /// Wait for the other tests to end, and look at the node.
    pub fn wait() -> Self {
        let lock = lock_file(&std::env::temp_dir().join(NODE_LOCK));
        lock.lock().expect("the lock of the node");
        sweep();
        Self { before: NodeSnapshot::take(), lock }
    }

    /// What the node was.
    pub fn before(&self) -> &NodeSnapshot {
        &self.before
    }

    /// Fail the test unless the node is, or within seconds becomes, what it was.
    pub fn assert_untouched(&self) {
        self.before.assert_untouched();
    }
}

/// See the module.
#[derive(Debug)]
#[must_use = "everything in it is ended and removed when this is dropped"]
pub struct Scratch {
    folder: TempDir,
    _owner: File,
    _node: File,
}

impl Scratch {
    /// Beside other tests; waits while one has the node to itself.
    pub fn new() -> Self {
        static SWEPT: OnceLock<()> = OnceLock::new();
        let node = lock_file(&std::env::temp_dir().join(NODE_LOCK));
        node.lock_shared().expect("the lock of the node");
        SWEPT.get_or_init(sweep);
        Self::holding(node)
    }

    /// On a node that the test has to itself.
    pub fn on(node: &QuietNode) -> Self {
        Self::holding(node.lock.try_clone().expect("a descriptor can be duplicated"))
    }

    fn holding(node: File) -> Self {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a temporary folder");
        let owner = lock_file(&folder.path().join(OWNER_LOCK));
        owner.lock().expect("a lock nobody else knows of");
        Self { folder, _owner: owner, _node: node }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The mark: also the name of this test's control groups.
    pub fn name(&self) -> &str {
        self.path().file_name().and_then(|name| name.to_str()).expect("a plain name")
    }

    /// A network link's name: the mark's end, as the kernel allows 15 characters.
    pub(crate) fn link(&self) -> String {
        link_of(self.name())
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear(self.path());
    }
}

fn lock_file(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a lock file can be made")
}

fn link_of(name: &str) -> String {
    format!("nsd{}", name.trim_start_matches(PREFIX))
}

/// Clear what tests left that are no more.
fn sweep() {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let folder = entry.path();
        let marked = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Ok(owner) = File::open(folder.join(OWNER_LOCK)) else { continue };
        if marked && owner.try_lock().is_ok() {
            clear(&folder);
            // What cannot be removed now is met again by the next test.
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

fn clear(folder: &Path) {
    let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { return };
    cluster::take_down(folder);
    let sockets = shim_sockets(folder);
    kill_marked(folder);
    cgroup::remove(name);
    node::unmount_below(folder);
    for socket in sockets {
        // Gone already where its shim ended in peace.
        let _ = std::fs::remove_file(socket);
    }
    let link = link_of(name);
    if Path::new("/sys/class/net").join(&link).exists() {
        let _ = Command::new("ip").args(["link", "delete", &link]).status();
    }
}

/// containerd keeps the sockets of its shims outside of any folder of ours; each bundle says where.
fn shim_sockets(folder: &Path) -> Vec<PathBuf> {
    let bundles = cgroup::deepest_first(&folder.join("state")).into_iter();
    let addresses =
        bundles.filter_map(|bundle| std::fs::read_to_string(bundle.join("address")).ok());
    addresses.filter_map(|text| Some(PathBuf::from(text.strip_prefix("unix://")?))).collect()
}

/// Daemons were asked to end by their own guards; what is left is shims, or has lost its test.
fn kill_marked(folder: &Path) {
    for pid in all_pids() {
        let Some(process) = Process::open(pid) else { continue };
        let marked = |argument: &String| argument.contains(&*folder.to_string_lossy());
        // Asked after the number is held, so that it is this process that has the arguments.
        if pid != std::process::id() && arguments(pid).iter().any(marked) {
            process.signal(Signal::KILL);
            process.wait(DEATH_LIMIT);
        }
    }
}
