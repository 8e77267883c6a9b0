//! From what is wanted and what is there to what will be done: pure, and printable.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::kind::{Kind, Kinds};

/// What a caller wants of a session.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kinds to join; `None` means all that the target has of its own.
    pub kinds: Option<Kinds>,
    /// Join the user namespace too, and be its root.
    pub join_user: bool,
    pub tool: Tool,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// The command and its arguments; never empty.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where to run it; `None` keeps the directory of the helper.
    pub directory: Option<PathBuf>,
    /// Make descriptor 0 the controlling terminal.
    pub terminal: bool,
}

/// What the helper, the supervisor and the tool-to-be will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub(crate) join: Kinds,
    pub(crate) user: Option<JoinUser>,
    pub(crate) tool: Tool,
    /// Kinds that were asked for and are the node's own.
    pub(crate) shared: Kinds,
    pub(crate) target: String,
}

/// Joining the user namespace comes last, in the tool: after it, `/proc` could not be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinUser {
    pub(crate) become_root: bool,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("no command is given")]
    NoCommand,
    #[error("process {pid} ({name}) has no user namespace of its own to join")]
    NoUserNamespace { pid: u32, name: String },
}

impl Plan {
    /// What to do for `request`, given `facts`.
    pub fn new(request: Request, facts: &Facts) -> Result<Self, PlanError> {
        let Request { kinds, join_user, tool } = request;
        if tool.argv.first().is_none_or(|name| name.is_empty()) {
            return Err(PlanError::NoCommand);
        }
        let own = facts.own();
        if join_user && !own.contains(Kind::User) {
            let (pid, name) = (facts.pid, facts.name.clone());
            return Err(PlanError::NoUserNamespace { pid, name });
        }
        let wanted = kinds.unwrap_or(own).without(Kind::User);
        Ok(Self {
            join: wanted.iter().filter(|kind| own.contains(*kind)).collect(),
            user: join_user.then_some(JoinUser { become_root: facts.users.has_root }),
            tool,
            shared: wanted.iter().filter(|kind| !own.contains(*kind)).collect(),
            target: format!("process {} ({})", facts.pid, facts.name),
        })
    }

    /// The kinds that will be joined by the one `setns(2)`.
    #[must_use]
    pub fn joins(&self) -> Kinds {
        self.join
    }

    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    pub(crate) fn mounts_proc(&self) -> bool {
        self.join.contains(Kind::Pid)
    }
}

/// The steps in their order, for `--explain`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "target      {}", self.target)?;
        if !self.shared.is_empty() {
            writeln!(f, "not joined  {}: the target shares them with the node", self.shared)?;
        }
        writeln!(f, "helper      unshare the mount namespace, make every mount in it private")?;
        writeln!(f, "            join by one setns: {}", self.join)?;
        writeln!(f, "supervisor  adopt orphans of the session (subreaper)")?;
        if self.mounts_proc() {
            writeln!(f, "            mount the /proc of the target's pid namespace")?;
        } else {
            writeln!(f, "            keep the node's /proc: no pid namespace is joined")?;
        }
        writeln!(f, "            keep no capability but KILL, once the tool is forked")?;
        if let Some(JoinUser { become_root }) = self.user {
            let root = if become_root { ", become its root" } else { "" };
            writeln!(f, "tool        join the user namespace{root}")?;
        }
        let terminal =
            if self.tool.terminal { "with a terminal of its own" } else { "no terminal" };
        writeln!(f, "tool        session leader, {terminal}")?;
        write!(f, "            exec")?;
        for argument in &self.tool.argv {
            write!(f, " {}", argument.to_string_lossy().escape_debug())?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::IdMap;

    fn facts(own: &[Kind]) -> Facts {
        let namespaces = Kind::ALL.map(|kind| (kind, 1, u64::from(own.contains(&kind)) + 1));
        Facts {
            pid: 42,
            name: "app".to_owned(),
            namespaces: namespaces.to_vec(),
            users: IdMap { has_root: true },
        }
    }

    fn request(kinds: Option<&str>) -> Request {
        Request {
            kinds: kinds.map(|list| list.parse().expect("kinds")),
            join_user: false,
            tool: Tool {
                argv: vec!["ps".into(), "-ef".into()],
                env: Vec::new(),
                directory: None,
                terminal: false,
            },
        }
    }

    #[test]
    fn all_that_the_target_has_of_its_own_is_joined_but_the_user_namespace() {
        let facts = facts(&[Kind::Net, Kind::Pid, Kind::Uts, Kind::User]);
        let plan = Plan::new(request(None), &facts).expect("a plan");
        assert_eq!(plan.join.to_string(), "net, pid, uts");
        assert_eq!(plan.user, None);
    }

    #[test]
    fn a_pid_namespace_shared_with_the_node_gets_no_new_proc() {
        let plan = Plan::new(request(Some("pid,net")), &facts(&[Kind::Net])).expect("a plan");
        assert!(!plan.mounts_proc());
        assert_eq!((plan.join.to_string(), plan.shared.to_string()), ("net".into(), "pid".into()));
    }

    #[test]
    fn only_what_is_asked_for_is_joined() {
        let facts = facts(&[Kind::Net, Kind::Pid, Kind::Ipc]);
        let plan = Plan::new(request(Some("net")), &facts).expect("a plan");
        assert_eq!(plan.join.to_string(), "net");
    }

    #[test]
    fn a_user_namespace_that_is_not_there_cannot_be_joined() {
        let request = Request { join_user: true, ..request(None) };
        let error = Plan::new(request, &facts(&[Kind::Pid])).expect_err("no user namespace");
        assert!(error.to_string().contains("42 (app)"), "{error}");
    }

    #[test]
    fn a_session_without_a_command_is_not_planned() {
        let mut request = request(None);
        request.tool.argv.clear();
        assert_eq!(Plan::new(request, &facts(&[])), Err(PlanError::NoCommand));
    }

    #[test]
    fn the_explanation_lists_the_steps_in_their_order() {
        let plan = Plan::new(request(None), &facts(&[Kind::Net, Kind::Pid])).expect("a plan");
        let text = plan.to_string();
        let position = |word: &str| text.find(word).unwrap_or_else(|| panic!("no {word}: {text}"));
        assert!(position("unshare") < position("setns: net, pid"));
        assert!(position("setns") < position("mount the /proc"));
        assert!(position("mount the /proc") < position("exec ps -ef"));
    }
}
