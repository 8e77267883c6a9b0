//! Namespaces by the numbers that the kernel prints: whose are the node's, and where a session must not be.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};

use crate::message::{Failure, Step};
use crate::plan::Plan;
use crate::procfs::unless_gone;

/// The directory of a process's namespaces.
pub(crate) fn namespaces_of(directory: BorrowedFd<'_>, process: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(directory, format!("{process}/ns"), flags, Mode::empty())?)
}

/// The inode number that identifies a namespace. The link says it (namespaces(7)); to follow the link
/// would make the inode.
pub(crate) fn namespace(namespaces: &OwnedFd, kind: &str) -> io::Result<Option<u64>> {
    match readlinkat(namespaces, kind, Vec::new()) {
        Ok(link) => Ok(Some(number(&link.to_string_lossy()).ok_or(io::ErrorKind::InvalidData)?)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Of `net:[4026531840]`.
fn number(link: &str) -> Option<u64> {
    link.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// Whose namespaces are the node's own: its threads', which never have others, or its init's, where this
/// process sees them; else this process's.
pub(crate) fn of_node() -> io::Result<Vec<OwnedFd>> {
    let kernel = Some("/proc/2").filter(|process| is_kernel_thread(process));
    let processes = kernel.into_iter().chain(["/proc/1", "/proc/self"]);
    processes.filter_map(|process| if_seen(namespaces_of(CWD, process)).transpose()).collect()
}

/// The node's namespace of this kind.
pub(crate) fn nodes(of_node: &[OwnedFd], kind: &str) -> io::Result<Option<u64>> {
    let mut all = of_node.iter().map(|namespaces| if_seen(namespace(namespaces, kind)));
    all.find_map(|found| found.map(Option::flatten).transpose()).transpose()
}

/// Nothing, of a process that is not there or closed to this one. Every other error stays one: who cannot tell the
/// node's namespaces does not know what is shared with it.
fn if_seen<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        other => unless_gone(other),
    }
}

/// Whether this process is in the node's own namespace of this kind, or cannot know it.
pub(crate) fn in_nodes_own(kind: &str) -> bool {
    let ours = namespaces_of(CWD, "/proc/self").and_then(|ours| namespace(&ours, kind));
    let nodes = of_node().and_then(|node| nodes(&node, kind));
    nodes.ok().flatten() == ours.ok().flatten()
}

pub(crate) fn is_kernel_thread(process: &str) -> bool {
    // Only a kernel thread has no program.
    std::fs::read(format!("{process}/cmdline")).is_ok_and(|line| line.is_empty())
}

/// The inode number that the first pid namespace of every machine has (`PROC_PID_INIT_INO`,
/// `linux/proc_ns.h`): any container has a process of that number as well.
pub(crate) const INITIAL_PIDS: u64 = 0xEFFF_FFFC;

/// The inode number of the pid namespace whose numbers this process goes by.
pub(crate) fn own_pids() -> io::Result<u64> {
    namespace(&own()?, "pid")?.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Whether this process is in the pid namespace that the machine has started with.
pub fn in_initial_pids() -> io::Result<bool> {
    Ok(own_pids()? == INITIAL_PIDS)
}

/// The kinds in whose namespaces of the node a container is worth as much as the node.
const OF_THE_NODE: [&str; 3] = ["ipc", "net", "pid"];

/// Every kind that a session must not have in common with its agent, by its file under `/proc/PID/ns`. A
/// user namespace is never left and none is joined: what a session holds is counted in this one.
const APART: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "uts"];

/// The namespaces that the agent, and so a helper before it has joined anything, and the node are in.
#[derive(Debug)]
pub(crate) struct Surroundings(Vec<Known>);

#[derive(Debug)]
struct Known {
    kind: &'static str,
    agents: u64,
    nodes: Option<u64>,
}

/// Where a session must not be.
#[derive(Debug)]
pub(crate) struct Elsewhere(Vec<(&'static str, Vec<u64>)>);

impl Surroundings {
    /// To be called in the helper, while it still is where its agent is.
    pub(crate) fn now() -> io::Result<Self> {
        let ours = namespaces_of(CWD, "/proc/self")?;
        let node = of_node()?;
        let mut known = Vec::with_capacity(APART.len());
        for kind in APART {
            // A kernel without this kind has nothing to keep apart.
            let Some(agents) = namespace(&ours, kind)? else { continue };
            let nodes = if OF_THE_NODE.contains(&kind) { nodes(&node, kind)? } else { None };
            known.push(Known { kind, agents, nodes });
        }
        Ok(Self(known))
    }

    /// Where `plan` must not be. What it stays in is left out; what is the node's and not the agent's is
    /// in, unless host targets may be entered.
    pub(crate) fn elsewhere(&self, plan: &Plan) -> Elsewhere {
        let stays = |kind: &str| plan.stays().iter().any(|stays| stays.as_str() == kind);
        let apart = self.0.iter().filter(|known| !stays(known.kind));
        let numbers = |known: &Known| {
            let nodes = known.nodes.filter(|_| !plan.may_be_on_node());
            (known.kind, [known.agents].into_iter().chain(nodes).collect())
        };
        Elsewhere(apart.map(numbers).collect())
    }
}

impl Elsewhere {
    /// Sees that this process, or its next child where only that changes, is in none of them. `own` is
    /// the directory of its own namespaces, from [`own`].
    pub(crate) fn prove(&self, own: &OwnedFd) -> Result<(), Failure> {
        for (kind, elsewhere) in &self.0 {
            let file = match *kind {
                "pid" => "pid_for_children",
                "time" => "time_for_children",
                other => other,
            };
            let about = |errno| Failure { step: Step::Apart, errno, path: Some((*kind).into()) };
            let found = namespace(own, file);
            let found = found.map_err(|error| about(error.raw_os_error().unwrap_or(0)))?;
            if found.is_none_or(|found| elsewhere.contains(&found)) {
                return Err(about(0));
            }
        }
        Ok(())
    }
}

/// The directory of this process's own namespaces: to be opened while there is a `/proc` that shows it.
pub(crate) fn own() -> io::Result<OwnedFd> {
    namespaces_of(CWD, "/proc/self")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_namespace_says_its_number() {
        assert_eq!(number("net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(number("net:[]"), None);
        assert_eq!(number("4026531840"), None);
        let followed = std::fs::metadata("/proc/self/ns/net").expect("a namespace");
        let ours = namespaces_of(CWD, "/proc/self").expect("a directory");
        let read = namespace(&ours, "net").expect("a link");
        assert_eq!(read, Some(std::os::unix::fs::MetadataExt::ino(&followed)));
        assert_eq!(namespace(&ours, "nothing").expect("no link"), None);
    }

    #[test]
    fn who_is_where_it_must_not_be_is_told_the_kind() {
        let own = own().expect("own namespaces");
        let uts = namespace(&own, "uts").expect("a link").expect("this kind");
        let failure = Elsewhere(vec![("uts", vec![uts])]).prove(&own).expect_err("it is there");
        assert_eq!((failure.step, failure.path), (Step::Apart, Some("uts".into())));
        assert_eq!(Elsewhere(vec![("uts", vec![uts + 1])]).prove(&own), Ok(()));
        // What cannot be seen to be elsewhere is not.
        assert!(Elsewhere(vec![("nothing", vec![1])]).prove(&own).is_err());
    }
}
