//! Why no container could be named, each with what to do about it.
//!
//! Texts are for the person who typed the name; the HTTP code of each is in `server::error`.

use std::fmt;
use std::path::PathBuf;

use super::task::TaskState;

/// Names listed in one message: a screenful, not a node's inventory.
const MOST_LISTED: usize = 10;

/// Why a query has no answer. `container` is always `NAMESPACE/ID`, with its pod where it has one.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error(
        "no container's ID begins with `{prefix}` (searched the containerd namespaces: {searched})"
    )]
    NotFound { prefix: String, searched: Shortlist },
    #[error(
        "`{prefix}` is the beginning of more than one container's ID, give more of it or the containerd namespace: {candidates}"
    )]
    Ambiguous { prefix: String, candidates: Shortlist },
    #[error("container {container} is {state}, and only a running container can be entered")]
    NotRunning { container: String, state: TaskState },
    #[error(
        "{container} is the sandbox of pod {pod}: name one of the pod's containers ({containers})"
    )]
    IsSandbox { container: String, pod: String, containers: Shortlist },
    #[error(
        "there is no container `{container}` of pod {pod} on this node, containers of it here: {containers}"
    )]
    NoSuchContainerInPod { pod: String, container: String, containers: Shortlist },
    #[error("pod {pod} cannot be entered yet: its node has not created its sandbox")]
    NoSandbox { pod: String },
    #[error("no pod {pod} is on this node, pods of that namespace here: {pods}")]
    NoSuchPod { pod: String, pods: Shortlist },
    #[error(
        "container {container} is run by `{runtime}`, in a virtual machine or behind another kernel: nsdebug could only enter the sandbox around it, not its processes"
    )]
    OtherRuntime { container: String, runtime: String },
    #[error(
        "container {container} was restarted during the look-up: its process was {before} and is now {now}; try again"
    )]
    Restarted { container: String, before: u32, now: u32 },
    #[error("`{}` is not a valid containerd namespace", given.escape_debug())]
    BadNamespace { given: String },
    #[error("containerd does not answer on {}", socket.display())]
    Unreachable {
        socket: PathBuf,
        #[source]
        source: Unreachable,
    },
    #[error("containerd refused to {asked}")]
    Answer {
        asked: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
}

/// What is wrong with the socket, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    #[error("there is no such socket: start containerd, or name its socket with --containerd")]
    Missing,
    #[error("permission denied: run this as root")]
    Denied,
    #[error("no process listens on it: start containerd, or name its socket with --containerd")]
    Refused,
    #[error("no answer within {seconds} s: containerd hangs, or this is another program's socket")]
    Silent { seconds: u64 },
    #[error("the connection failed: is this containerd's gRPC socket (--containerd)?")]
    Broken(#[source] Box<tonic::Status>),
}

/// A bounded list of names for a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortlist {
    shown: Vec<String>,
    more: usize,
}

impl FromIterator<String> for Shortlist {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let mut shown: Vec<String> = names.into_iter().collect();
        shown.sort();
        shown.dedup();
        let more = shown.len().saturating_sub(MOST_LISTED);
        shown.truncate(MOST_LISTED);
        Self { shown, more }
    }
}

impl fmt::Display for Shortlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shown.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.shown.join(", "))?;
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: usize) -> String {
        (0..names).map(|n| format!("web-{n:02}")).collect::<Shortlist>().to_string()
    }

    #[test]
    fn a_list_of_names_is_bounded_and_says_how_many_are_left_out() {
        assert_eq!(listed(0), "none");
        assert_eq!(listed(2), "web-00, web-01");
        assert!(listed(10).ends_with("web-09"), "{}", listed(10));
        assert!(listed(13).ends_with("web-09 and 3 more"), "{}", listed(13));
    }

    #[test]
    fn a_name_is_listed_once() {
        let list: Shortlist = ["b", "a", "b"].map(str::to_owned).into_iter().collect();
        assert_eq!(list.to_string(), "a, b");
    }
}
