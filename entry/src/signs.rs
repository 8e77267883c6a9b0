//! What makes a target worth as much as its node, as the agent decides it: its list, and how it is read.
//!
//! Pure, and serialisable: a helper that finds more mounts than its agent has seen judges them alike.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSigns {
    /// Capabilities by which a process comes to rule its node.
    pub powers: Capabilities,
    /// Those by which it does where it may open the node's devices.
    pub with_open_devices: Capabilities,
    /// Where container runtimes listen. One of these names is such a socket wherever it is.
    pub sockets: Vec<String>,
    /// Sockets that this agent itself listens on or asks, and its keys, by their paths on the node.
    pub own: Vec<String>,
    /// What this agent runs in sessions or writes down, by its path on the node.
    pub own_to_write: Vec<String>,
    /// Folders that decide what the node runs, or have its keys.
    pub folders: Vec<String>,
    /// Of these, what belongs to one container each; `*` is any one name.
    pub of_containers: Vec<String>,
    /// Of these, what gives nothing away to who only reads it.
    pub harmless_to_read: Vec<String>,
}

/// Something of the node that a target has mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    pub what: OfNode,
    /// Where the target has it.
    pub place: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfNode {
    /// What gives orders to its kernel, in words.
    Kernel(&'static str),
    /// A file or folder, by its path there.
    File { path: String, read_only: bool },
}

impl HostSigns {
    /// Which of `all` makes a target that has it worth as much as its node, in words.
    pub(crate) fn find<'r>(&self, all: impl IntoIterator<Item = &'r Reached>) -> Option<String> {
        all.into_iter().find_map(|Reached { what, place }| {
            let why = match what {
                OfNode::Kernel(what) => (*what).to_owned(),
                OfNode::File { path, read_only } => self.file(path, *read_only)?,
            };
            let which = if place == "/" { ", which is its own root directory" } else { "" };
            Some(format!("it has {why}, at {}{which}", place.escape_debug()))
        })
    }

    fn file(&self, path: &str, read_only: bool) -> Option<String> {
        let path = &plain(path);
        let is_below = |pattern: &String| is_below(path, pattern);
        let name = path.rsplit('/').next();
        let is_way =
            |socket: &&String| self::is_below(socket, path) || socket.rsplit('/').next() == name;
        if let Some(socket) = self.sockets.iter().find(is_way) {
            return Some(format!(
                "the container runtime's socket {socket} of the node, or a directory around it"
            ));
        }
        // A name of such is not known for what it is: a socket of another program may be called the same.
        let leads_to = |own: &&String| self::is_below(own, path) || self::is_below(path, own);
        if let Some(own) = self.own.iter().find(leads_to) {
            return Some(format!("{} of this agent, or a directory around it", own.escape_debug()));
        }
        if let Some(own) = self.own_to_write.iter().find(leads_to).filter(|_| !read_only) {
            return Some(format!(
                "{} of this agent, or a directory around it, writable",
                own.escape_debug()
            ));
        }
        // What leads out of a folder is not known to be in it.
        let leads_out = path.split('/').any(|part| part == "..");
        let is_of_node = |folder: &String| is_below(folder) || self::is_below(folder, path);
        let counts =
            self.folders.iter().any(is_of_node) && !self.of_containers.iter().any(is_below);
        let is_harmless = read_only && self.harmless_to_read.iter().any(is_below);
        let how = if read_only { "to read" } else { "writable" };
        (leads_out || counts && !is_harmless)
            .then(|| format!("{} of the node, {how}", path.escape_debug()))
    }
}

/// `path` without what may be said in two ways.
fn plain(path: &str) -> String {
    let path = path
        .strip_prefix("/var/run")
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .map_or_else(|| path.to_owned(), |rest| format!("/run{rest}"));
    if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path }
}

/// Whether `path` is what `pattern` says, or in it.
fn is_below(path: &str, pattern: &str) -> bool {
    let mut names = Path::new(path).iter();
    Path::new(pattern)
        .iter()
        .all(|wanted| names.next().is_some_and(|name| wanted == "*" || name == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs() -> HostSigns {
        let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        HostSigns {
            sockets: list(&["/run/containerd/containerd.sock", "/run/docker.sock"]),
            own: list(&["/srv/nsdebug/agent.sock"]),
            own_to_write: list(&["/opt/tools"]),
            folders: list(&["/etc", "/run", "/usr", "/var/lib/kubelet"]),
            of_containers: list(&["/run/containerd/task/*/*", "/var/lib/kubelet/pods/*/*"]),
            harmless_to_read: list(&["/usr/lib", "/var/log"]),
            ..HostSigns::default()
        }
    }

    fn said(path: &str, read_only: bool) -> Option<String> {
        let what = OfNode::File { path: path.to_owned(), read_only };
        signs().find(&[Reached { what, place: "/host".to_owned() }])
    }

    #[test]
    fn of_its_own_root_it_is_said_that_it_is_that() {
        let what = OfNode::File { path: "/usr/local/root".to_owned(), read_only: false };
        let why = signs().find(&[Reached { what, place: "/".to_owned() }]);
        let expected =
            "it has /usr/local/root of the node, writable, at /, which is its own root directory";
        assert_eq!(why.as_deref(), Some(expected));
    }

    #[test]
    fn a_way_to_a_runtime_counts_whether_it_may_be_written_or_not() {
        for path in
            ["/", "/run", "/var/run/", "/run/containerd", "/run/docker.sock", "/x/docker.sock"]
        {
            for read_only in [false, true] {
                let why = said(path, read_only).unwrap_or_else(|| panic!("{path}"));
                assert!(why.contains("runtime's socket") && why.ends_with("at /host"), "{why}");
            }
        }
    }

    #[test]
    fn a_folder_counts_with_all_in_it_and_around_it_but_what_is_one_containers() {
        for path in
            ["/etc", "/etc/cron.d", "/var", "/var/lib/kubelet/pods/u", "/run/containerd/task/k"]
        {
            assert!(said(path, false).is_some_and(|why| why.contains("writable")), "{path}");
            assert!(said(path, true).is_some_and(|why| why.contains("to read")), "{path}");
        }
        for path in [
            "/srv/nsdebug2",
            "/srv/spire/agent.sock",
            "/etcetera",
            "/var/lib/kubelet/pods/u/etc-hosts",
            "/run/containerd/task/k/c/rootfs",
        ] {
            assert_eq!((said(path, false), said(path, true)), (None, None), "{path}");
        }
        assert!(said("/var/lib/kubelet/pods/u/v/../../../pki", true).is_some());
    }

    #[test]
    fn what_the_agent_itself_is_told_to_use_counts_wherever_that_is() {
        for path in ["/srv", "/srv/nsdebug", "/srv/nsdebug/agent.sock"] {
            for read_only in [false, true] {
                let why = said(path, read_only).unwrap_or_else(|| panic!("{path}"));
                assert!(
                    why.contains("it has /srv/nsdebug/agent.sock of this agent, or a directory"),
                    "{why}"
                );
            }
        }
        for path in ["/opt", "/opt/tools", "/opt/tools/usr/bin"] {
            let why = said(path, false).unwrap_or_else(|| panic!("{path}"));
            assert!(
                why.contains("/opt/tools of this agent, or a directory around it, writable"),
                "{why}"
            );
            assert_eq!(said(path, true), None, "{path}");
        }
    }

    #[test]
    fn what_is_the_same_everywhere_may_be_read() {
        assert_eq!(said("/usr/lib/libc.so", true), None);
        assert!(said("/usr/lib/libc.so", false).is_some());
        assert!(said("/usr", true).is_some(), "there is more in it");
    }

    #[test]
    fn what_gives_orders_to_the_kernel_counts_wherever_it_is() {
        let reached = Reached { what: OfNode::Kernel("all of it"), place: "/a b".to_owned() };
        assert_eq!(
            HostSigns::default().find(&[reached]).as_deref(),
            Some("it has all of it, at /a b")
        );
    }
}
