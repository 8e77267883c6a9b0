//! What every test here starts from: a containerd, and the words that start a session.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use harness::{
    Container, Containerd, Process, QuietNode, Requirement, Scratch, Version, agent, may_skip,
    until,
};
use rustix::process::Signal;

/// What the end of a session may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A killed init that takes longer waits for a process: for one of ours, presumably.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A containerd, and sessions in its containers.
pub(crate) struct Stage {
    pub(crate) containerd: Containerd,
}

impl Stage {
    /// One for all tests that overlap; it ends with the last of them. None where the test may be left out.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        if may_skip(Requirement::containerd(Version::chosen())) {
            return None;
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = shared
            .upgrade()
            .unwrap_or_else(|| Arc::new(Self { containerd: Containerd::start(Version::chosen()) }));
        *shared = Arc::downgrade(&stage);
        Some(stage)
    }

    /// Run `check` with the node to itself, and compare the node once everything has ended.
    pub(crate) fn alone(check: impl FnOnce(&Self)) {
        if may_skip(Requirement::containerd(Version::chosen())) {
            return;
        }
        let node = QuietNode::wait();
        let stage =
            Self { containerd: Containerd::start_in(Scratch::on(&node), Version::chosen()) };
        check(&stage);
        drop(stage);
        node.assert_untouched();
    }

    /// `nsdebug-agent exec` on this containerd, to be told what to enter and what to run.
    pub(crate) fn exec(&self, words: &[&str]) -> Command {
        let mut exec = exec();
        exec.arg("--containerd").arg(self.containerd.socket()).args(words);
        exec
    }

    /// A session in the container of this ID.
    pub(crate) fn session(&self, container: &str, flags: &[&str], tool: &[&str]) -> Command {
        let mut session = self.exec(&["--container", container]);
        session.args(flags).arg("--").args(tool);
        session
    }

    /// A path that belongs to this containerd's folder, for what a tool is to make or not to make.
    pub(crate) fn file(&self, name: &str) -> String {
        self.containerd.path().join(name).to_str().expect("a plain path").to_owned()
    }
}

/// `nsdebug-agent exec` with the node's tools, in a language that tests can read.
pub(crate) fn exec() -> Command {
    let mut exec = agent();
    exec.args(["exec", "--tools", "host"]).env("LC_ALL", "C").env("COLUMNS", "200");
    exec
}

/// A session in the namespaces of a process.
pub(crate) fn session_of_pid(pid: u32, flags: &[&str], tool: &[&str]) -> Command {
    let mut session = exec();
    session.args(["--pid", &pid.to_string()]).args(flags).arg("--").args(tool);
    session
}

/// Processes of the node that have `mark` among their arguments.
pub(crate) fn marked(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("the node has processes").flatten();
    let lines = entries.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(mark).then(|| format!("{} {line}", entry.file_name().display()))
    });
    lines.collect()
}

/// The inode of one of the node's own namespaces.
pub(crate) fn namespace_of_node(kind: &str) -> String {
    namespace_at(Path::new("/proc/self/ns"), kind)
}

/// The inode of one of a process's namespaces.
pub(crate) fn namespace_of(pid: u32, kind: &str) -> String {
    namespace_at(Path::new(&format!("/proc/{pid}/ns")), kind)
}

fn namespace_at(folder: &Path, kind: &str) -> String {
    let link = std::fs::read_link(folder.join(kind)).expect("a namespace of this kind");
    link.to_str().expect("a plain name").to_owned()
}

/// Wait until the container has only the processes that it had `before`; zombies are processes too.
pub(crate) fn settles(container: &Container<'_>, before: usize) {
    let what = format!("container {} to have {before} processes again", container.id());
    until(&what, PATIENCE, || container.processes().len() == before);
}

/// Kill a container's first process and see it go: it cannot before every process in its pid namespace is reaped.
pub(crate) fn init_goes_at_once(container: &Container<'_>) {
    init_goes(container.pid());
}

/// The same for a container of anybody.
pub(crate) fn init_goes(pid: u32) {
    let init = Process::open(pid).expect("the container runs");
    init.signal(Signal::KILL);
    let state = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    assert!(init.wait(AT_ONCE), "the init of a container does not go:\n{}", state());
}
