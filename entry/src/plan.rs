//! From what is wanted and what is there to what will be done: pure, and printable.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capability::{Capabilities, Capability};
use crate::facts::{Facts, Shared};
use crate::kind::{Kind, Kinds};
use crate::privilege::Identity;
use crate::profile::{Profile, RunAs, UNPRIVILEGED};
use crate::signs::HostSigns;
use crate::watch::Watch;

/// What a caller wants of a session.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kinds to join; `None` means all that the target has of its own.
    pub kinds: Option<Kinds>,
    /// Join the user namespace too, and be its root.
    pub join_user: bool,
    /// A toolbox and a profile; without, the node's own files and all that the caller holds.
    pub limits: Option<ConfinementRequest>,
    pub tool: Tool,
}

/// What a confined session may be and hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfinementRequest {
    /// The tree of tools on the node, with empty directories and files to mount over.
    pub tree: PathBuf,
    pub profile: Profile,
    /// Who the tool is; without, as the profile says.
    pub run_as: Option<RunAs>,
    /// Mount `/target` writable.
    pub write: bool,
    /// Enter targets that are worth as much as the node.
    pub host_targets: bool,
    /// What makes a target one of those.
    pub signs: HostSigns,
    /// The target is the node itself, and its processes are what there is to see.
    pub node: bool,
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
    /// Kinds of which a confined session stays where its target and its agent both are.
    pub(crate) stay: Kinds,
    /// Kinds of which a confined session gets a new and empty one.
    pub(crate) make: Kinds,
    /// The host name is an empty one: the target's was not asked for.
    pub(crate) nameless: bool,
    pub(crate) user: Option<JoinUser>,
    pub(crate) confinement: Option<Confinement>,
    pub(crate) tool: Tool,
    /// Kinds that were asked for and are the node's own.
    pub(crate) shared: Kinds,
    pub(crate) target: String,
    pub(crate) pids: Option<u64>,
}

/// What keeps a tool in its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) tree: PathBuf,
    pub(crate) profile: Profile,
    pub(crate) who: Identity,
    pub(crate) write: bool,
    pub(crate) host_targets: bool,
    /// The target is the node itself.
    pub(crate) node: bool,
    /// What is added to the profile, for the tool to look into the target's processes.
    pub(crate) gained: Capabilities,
    /// Places below `/target` that are covered.
    pub(crate) hidden: Vec<OsString>,
    /// What to do about mounts that the target's process did not show.
    pub(crate) watch: Watch,
    /// Numbers of users and groups that no process around may have: its files and its memory would be the tool's to
    /// read.
    pub(crate) unshared: Vec<u32>,
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
    #[error("joining the user namespace needs the node's own tools")]
    ConfinedUser,
    #[error("the profile `{profile}` cannot write to /target: use --profile general or higher")]
    MayNotWrite { profile: Profile },
    #[error(
        "the node has no user to run as: `restricted` and --run-as target would run the tool as root; use `baseline`, `general` or --run-as UID"
    )]
    NobodyOnNode,
    #[error(
        "cannot run as uid {uid}, gid {gid}: process {pid} ({name}) is uid {its} and cannot become that user, so the tool could read files that the target cannot; that needs the right to host targets"
    )]
    NotTheTargets { pid: u32, name: String, its: u32, uid: u32, gid: u32 },
    #[error(
        "cannot read the mounts of the node's first process: {why}; without them the agent cannot tell what of the node the target has"
    )]
    NodeUnseen { why: String },
    #[error(
        "process {pid} ({name}) has each of the users and groups that the profile `baseline` could be: use another profile"
    )]
    NoFreeUser { pid: u32, name: String },
    #[error(
        "process {pid} ({name}) is a host target, and host targets are not allowed here: {why}"
    )]
    HostTarget { pid: u32, name: String, why: String },
}

impl Plan {
    /// What to do for `request`, given `facts`.
    pub fn new(request: Request, facts: &Facts) -> Result<Self, PlanError> {
        let Request { kinds, join_user, limits, tool } = request;
        if tool.argv.first().is_none_or(|name| name.is_empty()) {
            return Err(PlanError::NoCommand);
        }
        let own = facts.own();
        if join_user && !own.contains(Kind::User) {
            let (pid, name) = (facts.pid, facts.name.clone());
            return Err(PlanError::NoUserNamespace { pid, name });
        }
        if join_user && limits.is_some() {
            return Err(PlanError::ConfinedUser);
        }
        let confinement = limits.map(|limits| confinement(limits, facts)).transpose()?;
        let wanted = kinds.unwrap_or(own).without(Kind::User);
        let join: Kinds = wanted.iter().filter(|kind| own.contains(*kind)).collect();
        let (stay, make) = match &confinement {
            Some(confinement) => {
                let stay = confinement.stays(kinds, facts);
                let rest = facts.kinds().without(Kind::User).iter();
                let rest = rest.filter(|kind| !join.contains(*kind) && !stay.contains(*kind));
                (stay, rest.collect())
            }
            None => (Kinds::default(), Kinds::default()),
        };
        let joins_pids = wanted.contains(Kind::Pid) && own.contains(Kind::Pid);
        Ok(Self {
            confinement,
            join,
            stay,
            make,
            nameless: kinds.is_some_and(|kinds| !kinds.contains(Kind::Uts)),
            user: join_user.then_some(JoinUser { become_root: facts.users.has_root() }),
            tool,
            shared: wanted.iter().filter(|kind| !own.contains(*kind)).collect(),
            target: format!("process {} ({})", facts.pid, facts.name),
            pids: facts.pids().filter(|_| joins_pids || stay.contains(Kind::Pid)),
        })
    }

    /// The kinds that will be joined by the one `setns(2)`.
    #[must_use]
    pub fn joins(&self) -> Kinds {
        self.join
    }

    /// The pid namespace of others that the tool will be in, by its inode number.
    #[must_use]
    pub fn pids(&self) -> Option<u64> {
        self.pids
    }

    /// Whether the tool's files are a toolbox's, and not the node's.
    #[must_use]
    pub fn is_confined(&self) -> bool {
        self.confinement.is_some()
    }

    /// What the tool holds; `None` of a tool with the node's files, which holds all that its caller does.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        self.confinement.as_ref().map(|confinement| confinement.profile)
    }

    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// A confined tool gets an empty pid namespace where it joins none: it does not see the node's
    /// processes because its target does, but where the node is its target.
    pub(crate) fn needs_own_pids(&self) -> bool {
        self.make.contains(Kind::Pid)
    }

    /// Of each kind there is, a confined session joins the target's, stays in what the target has in
    /// common with the agent, or gets a new one.
    pub(crate) fn stays(&self) -> Kinds {
        self.stay
    }

    pub(crate) fn makes(&self) -> Kinds {
        self.make
    }

    /// Whether a new host name has to be given: that of a new namespace is a copy of the agent's.
    pub(crate) fn has_no_name(&self) -> bool {
        self.nameless && self.make.contains(Kind::Uts)
    }

    /// Whether the session may be in namespaces of the node's.
    pub(crate) fn may_be_on_node(&self) -> bool {
        self.confinement.as_ref().is_none_or(|confinement| confinement.host_targets)
    }

    pub(crate) fn mounts_proc(&self) -> bool {
        self.join.contains(Kind::Pid)
    }
}

fn confinement(limits: ConfinementRequest, facts: &Facts) -> Result<Confinement, PlanError> {
    let ConfinementRequest { tree, profile, run_as, write, host_targets, signs, node } = limits;
    if write && !profile.may_write() {
        return Err(PlanError::MayNotWrite { profile });
    }
    if let Some(why) = facts.unseen.clone() {
        return Err(PlanError::NodeUnseen { why });
    }
    match facts.host_target(&signs) {
        Some(why) if !host_targets => {
            let (pid, name) = (facts.pid, facts.name.clone());
            return Err(PlanError::HostTarget { pid, name, why });
        }
        _ => {}
    }
    let who = identity(run_as, profile, host_targets, node, facts)?;
    let gained = gained(profile, host_targets, facts);
    // A tool of `baseline` looks, and does not become the pod: other profiles are its user, or may trace it.
    let nobody = profile == Profile::Baseline && UNPRIVILEGED.contains(&who.uid);
    let is_guest = run_as == Some(NOBODY) && !host_targets && !facts.can_be(who.uid, who.gid);
    // A node has processes of any number, and the right to it is the right to them.
    let alone = (nobody || is_guest) && !node;
    let unshared = if alone { vec![who.uid, who.gid] } else { Vec::new() };
    let hidden = if nobody { facts.secrets.clone() } else { Vec::new() };
    let signs = (!host_targets && facts.may_be_root()).then_some(signs);
    let watch = Watch { seen: facts.mounts.clone(), signs, covers: nobody };
    Ok(Confinement {
        tree,
        profile,
        who,
        write,
        host_targets,
        node,
        gained,
        hidden,
        watch,
        unshared,
    })
}

/// The user of `baseline`, where the target has not that one itself.
const NOBODY: RunAs = RunAs::Ids { uid: UNPRIVILEGED[0], gid: UNPRIVILEGED[0] };

fn identity(
    run_as: Option<RunAs>,
    profile: Profile,
    host_targets: bool,
    node: bool,
    facts: &Facts,
) -> Result<Identity, PlanError> {
    let only = |id| Identity { uid: id, gid: id, groups: Vec::new() };
    match (run_as, profile.run_as()) {
        (None | Some(NOBODY), NOBODY) => {
            let free = UNPRIVILEGED.into_iter().find(|id| !facts.has_id(*id));
            let (pid, name) = (facts.pid, facts.name.clone());
            free.map(only).ok_or(PlanError::NoFreeUser { pid, name })
        }
        (Some(RunAs::Ids { uid, gid }), _) => {
            // A caller who may enter the node itself reaches every file already.
            if !host_targets && profile != Profile::Sysadmin && !is_open_to(facts, uid, gid) {
                let (pid, name, its) = (facts.pid, facts.name.clone(), facts.uid);
                return Err(PlanError::NotTheTargets { pid, name, its, uid, gid });
            }
            Ok(Identity { uid, gid, groups: Vec::new() })
        }
        (Some(RunAs::Target), _) if node => Err(PlanError::NobodyOnNode),
        (None, RunAs::Ids { uid, gid }) => Ok(Identity { uid, gid, groups: Vec::new() }),
        (None, RunAs::Target) if node && profile == Profile::Restricted => {
            Err(PlanError::NobodyOnNode)
        }
        (_, RunAs::Target) | (Some(RunAs::Target), _) => {
            Ok(Identity { uid: facts.uid, gid: facts.gid, groups: facts.groups.clone() })
        }
    }
}

/// What a tool holds beside its profile, to look into its target's processes.
///
/// Without `SYS_PTRACE` the kernel lets a process look into another of its own user and user namespace that is
/// permitted no more than it is. So a tool is given what its target's process has, of what containers usually
/// have. `SYS_PTRACE` would reach whatever enters the target's pid namespace, a runtime's process too, which has
/// all power over the node until it has become the container's: it is for who may rule the node anyway.
fn gained(profile: Profile, host_targets: bool, facts: &Facts) -> Capabilities {
    if !profile.looks_into_processes() {
        return Capabilities::NONE;
    }
    // What a process in a user namespace of its own holds there is nothing out here.
    let of_its_own = facts.own().contains(Kind::User);
    let targets = if of_its_own { Capabilities::NONE } else { facts.permitted };
    let targets = targets.intersection(USUAL.into_iter().collect());
    if host_targets { targets.with(Capability::SysPtrace) } else { targets }
}

/// What container runtimes give who asks for nothing (containerd's and Docker's default). Of a tool they are
/// no more than of its target: it has files of its own and the target's, no other devices, and a filter.
const USUAL: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Whether a tool may be this user and group: 65533, or a user that the target could be.
fn is_open_to(facts: &Facts, uid: u32, gid: u32) -> bool {
    (uid, gid) == (UNPRIVILEGED[0], UNPRIVILEGED[0]) || facts.can_be(uid, gid)
}

/// The steps in their order, for `--explain`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "target      {}", self.target)?;
        if !self.shared.is_empty() {
            writeln!(f, "not joined  {}: the target shares them with the node", self.shared)?;
        }
        writeln!(f, "helper      unshare the mount namespace, make every mount in it private")?;
        if let Some(Confinement { tree, write, .. }) = &self.confinement {
            let how = if *write { "writable" } else { "read-only" };
            writeln!(f, "            root: {} read-only, /target {how}", tree.display())?;
        }
        writeln!(f, "            join by one setns: {}", self.join)?;
        if !self.make.is_empty() {
            writeln!(f, "            unshare, so that nothing is the agent's: {}", self.make)?;
        }
        if !self.stay.is_empty() {
            writeln!(f, "            stay where the target is: {}", self.stay)?;
        }
        if self.needs_own_pids() {
            writeln!(f, "            in a pid namespace of its own the tool sees only itself")?;
        } else if self.stay.contains(Kind::Pid) {
            writeln!(f, "            stay among the node's processes")?;
        }
        if let Some(confinement) = &self.confinement {
            confinement.explain(f)?;
        }
        writeln!(f, "supervisor  adopt orphans of the session (subreaper)")?;
        match (&self.confinement, self.mounts_proc()) {
            (Some(confinement), _) if confinement.profile != Profile::Sysadmin => {
                writeln!(f, "            keep no capability, once the tool is forked")?;
            }
            (Some(_), _) => {
                writeln!(f, "            keep no capability but KILL, once the tool is forked")?;
            }
            (None, true) => {
                writeln!(f, "            mount the /proc of the target's pid namespace")?;
            }
            (None, false) => {
                writeln!(f, "            keep the node's /proc: no pid namespace is joined")?;
            }
        }
        if self.confinement.is_none() {
            writeln!(f, "            keep no capability but KILL, once the tool is forked")?;
        }
        if let Some(JoinUser { become_root }) = self.user {
            let root = if become_root { ", become its root" } else { "" };
            writeln!(f, "tool        join the user namespace{root}")?;
        }
        let terminal =
            if self.tool.terminal { "with a terminal of its own" } else { "no terminal" };
        writeln!(f, "tool        session leader, {terminal}")?;
        if self.confinement.is_some() {
            writeln!(f, "            no core dumps, system-call filter")?;
            writeln!(f, "            packet rings within the session's memory, made by a broker")?;
        }
        write!(f, "            exec")?;
        for argument in &self.tool.argv {
            write!(f, " {}", argument.to_string_lossy().escape_debug())?;
        }
        writeln!(f)
    }
}

impl Confinement {
    /// The kinds of which this session stays where its agent is: where that is what was asked for, and
    /// only for a target that is worth as much as the node.
    fn stays(&self, kinds: Option<Kinds>, facts: &Facts) -> Kinds {
        let Self { node, host_targets, .. } = self;
        let wanted = |kind: &Kind| kinds.is_none_or(|kinds| kinds.contains(*kind));
        let shared = |kind: Kind| match kind {
            Kind::User => false,
            // A pod that shows the node's processes shows them to nobody else.
            Kind::Pid => *node && facts.shared_with_node.contains(&Shared::Pid),
            // The node has whatever the agent has in common with it.
            _ if *node => true,
            Kind::Ipc => facts.shared_with_node.contains(&Shared::Ipc),
            Kind::Net => facts.shared_with_node.contains(&Shared::Net),
            // Of these an empty one takes nothing away.
            Kind::Cgroup | Kind::Time | Kind::Uts => false,
        };
        let stays = |kind: &Kind| *host_targets && wanted(kind) && shared(*kind);
        facts.kinds().iter().filter(|kind| !facts.own().contains(*kind)).filter(stays).collect()
    }

    fn explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, who: Identity { uid, gid, groups }, hidden, .. } = self;
        writeln!(f, "            mount /proc read-only, leave the node's root")?;
        writeln!(
            f,
            "            choose a canary: a capability that no process of the target can hold"
        )?;
        let groups: Vec<_> = groups.iter().map(u32::to_string).collect();
        let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(", ") };
        writeln!(f, "            profile {profile}: become uid {uid}, gid {gid}, groups {groups}")?;
        if *profile == Profile::Restricted && *uid == 0 {
            writeln!(f, "              that is root: the target's own user, with root's files")?;
        }
        if !hidden.is_empty() {
            writeln!(f, "            not in /target: its Secrets and tokens")?;
        }
        writeln!(f, "            capabilities: the canary, and {}", profile.capabilities())?;
        for (capability, why) in profile.reasons() {
            writeln!(f, "              {}: {why}", capability.as_str())?;
        }
        self.explain_looking(f)?;
        writeln!(f, "            no_new_privs; only then fork into what the target can see")
    }

    /// What the tool can do to processes.
    fn explain_looking(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, node, gained, .. } = self;
        let traces_all = gained.contains(Capability::SysPtrace);
        let usual: Capabilities =
            gained.iter().filter(|one| *one != Capability::SysPtrace).collect();
        if !usual.is_empty() {
            writeln!(f, "              {usual}: the target's own, to look into its processes")?;
        }
        let what = match profile {
            _ if *node => "the target is the node: this is root on the node",
            Profile::Sysadmin => "full control of the container, and root of the node",
            _ if !profile.looks_into_processes() => return Ok(()),
            _ if traces_all => {
                "SYS_PTRACE: full control of the container, and of any process of the node that enters it (runc, kubectl exec): this is root on the node"
            }
            _ => {
                "strace, gdb, lsof, ss -p: full control of the container, that is of its processes of this user, their volumes, and its identity in the cluster"
            }
        };
        writeln!(f, "              {what}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::facts::IdMap;
    use crate::signs::{OfNode, Reached};

    fn facts(own: &[Kind]) -> Facts {
        let namespaces = Kind::ALL.map(|kind| (kind, 1, u64::from(own.contains(&kind)) + 1));
        Facts {
            pid: 42,
            name: "app".to_owned(),
            namespaces: namespaces.to_vec(),
            users: IdMap::parse("0 0 4294967295"),
            group_map: IdMap::parse("0 0 4294967295"),
            uid: 1000,
            gid: 1001,
            groups: vec![2000],
            permitted: Capabilities::NONE,
            capabilities: Capabilities::NONE,
            shared_with_node: Vec::new(),
            reached: Vec::new(),
            mounts: BTreeSet::new(),
            declared: None,
            secrets: vec!["/run/secrets/kubernetes.io".into()],
            unseen: None,
        }
    }

    fn request(kinds: Option<&str>) -> Request {
        Request {
            kinds: kinds.map(|list| list.parse().expect("kinds")),
            join_user: false,
            limits: None,
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

    fn confined(profile: Profile) -> Request {
        let limits = ConfinementRequest {
            tree: "/toolbox".into(),
            profile,
            run_as: None,
            write: false,
            host_targets: false,
            signs: HostSigns {
                powers: [Capability::SysPtrace, Capability::Bpf].into_iter().collect(),
                folders: vec!["/etc".to_owned()],
                ..HostSigns::default()
            },
            node: false,
        };
        Request { limits: Some(limits), ..request(None) }
    }

    #[test]
    fn a_restricted_tool_is_who_the_target_is() {
        let plan = Plan::new(confined(Profile::Restricted), &facts(&[Kind::Pid])).expect("a plan");
        let confinement = plan.confinement.expect("confined");
        let targets = Identity { uid: 1000, gid: 1001, groups: vec![2000] };
        assert_eq!(confinement.who, targets);
    }

    #[test]
    fn the_explanation_says_what_it_means_to_trace() {
        let explained = |profile, node| {
            let mut request = confined(profile);
            let limits = request.limits.as_mut().expect("limits");
            (limits.node, limits.host_targets) = (node, node);
            Plan::new(request, &facts(&[Kind::Pid])).expect("a plan").to_string()
        };
        let control = "strace, gdb, lsof, ss -p: full control of the container, that is of its processes of this \
                       user, their volumes, and its identity in the cluster\n";
        for profile in [Profile::General, Profile::Netadmin] {
            let text = explained(profile, false);
            assert!(text.contains(control) && !text.contains("root of"), "{text}");
            assert!(explained(profile, true).contains("this is root on the node\n"));
        }
        for profile in [Profile::Restricted, Profile::Baseline] {
            let text = explained(profile, false);
            assert!(!text.contains("full control"), "{text}");
        }
        let text = explained(Profile::Sysadmin, false);
        assert!(text.contains("full control of the container, and root of the node\n"), "{text}");
    }

    /// Who a tool would be, or why not.
    fn who(
        profile: Profile,
        facts: &Facts,
        change: impl FnOnce(&mut ConfinementRequest),
    ) -> Result<Identity, PlanError> {
        let mut request = confined(profile);
        change(request.limits.as_mut().expect("limits"));
        Ok(Plan::new(request, facts)?.confinement.expect("confined").who)
    }

    #[test]
    fn a_tool_that_may_trace_is_who_its_target_is() {
        let facts = facts(&[Kind::Pid]);
        let targets = Identity { uid: 1000, gid: 1001, groups: vec![2000] };
        for profile in [Profile::General, Profile::Netadmin] {
            assert_eq!(who(profile, &facts, |_| ()), Ok(targets.clone()));
        }
        let nobody = |id| Identity { uid: id, gid: id, groups: Vec::new() };
        assert_eq!(who(Profile::Baseline, &facts, |_| ()), Ok(nobody(65533)));
        for (uid, gid, groups, taken) in
            [(65533, 0, vec![], 65531), (0, 65533, vec![65531], 65530), (0, 0, vec![65533], 65531)]
        {
            let same = Facts { uid, gid, groups, ..facts.clone() };
            assert_eq!(who(Profile::Baseline, &same, |_| ()), Ok(nobody(taken)));
        }
        let all = Facts { groups: UNPRIVILEGED.to_vec(), ..facts.clone() };
        assert!(who(Profile::Baseline, &all, |_| ()).is_err());
        let root = Identity { uid: 0, gid: 0, groups: Vec::new() };
        assert_eq!(who(Profile::Sysadmin, &facts, |_| ()), Ok(root));
    }

    #[test]
    fn nobody_runs_as_a_user_that_the_target_could_not_be() {
        let ids = |uid, gid| {
            move |limits: &mut ConfinementRequest| limits.run_as = Some(RunAs::Ids { uid, gid })
        };
        let plain = facts(&[Kind::Pid]);
        assert!(who(Profile::General, &plain, ids(0, 0)).is_err());
        assert!(who(Profile::General, &plain, ids(1000, 0)).is_err());
        assert!(who(Profile::General, &plain, ids(1000, 2000)).is_ok());
        assert!(who(Profile::General, &plain, ids(65533, 65533)).is_ok());
        assert!(who(Profile::Sysadmin, &plain, ids(0, 0)).is_ok());
        let allowed = who(Profile::General, &plain, |limits| {
            ids(0, 0)(limits);
            limits.host_targets = true;
        });
        assert!(allowed.is_ok());
        let becomes = [Capability::Setuid, Capability::Setgid].into_iter().collect();
        let root = Facts { permitted: becomes, ..plain.clone() };
        assert!(who(Profile::General, &root, ids(0, 0)).is_ok());
        // All that it holds it holds in there.
        let map = IdMap::parse("0 100000 65536");
        let mapped = Facts {
            permitted: Capabilities::ALL,
            users: map.clone(),
            group_map: map,
            ..facts(&[Kind::Pid, Kind::User])
        };
        assert!(who(Profile::General, &mapped, ids(0, 0)).is_err());
        assert!(who(Profile::General, &mapped, ids(100_000, 100_033)).is_ok());
    }

    #[test]
    fn on_the_node_nobody_is_root_by_being_the_target() {
        let node = Facts { uid: 0, gid: 0, ..facts(&[]) };
        let on_node = |run_as| {
            move |limits: &mut ConfinementRequest| {
                (limits.node, limits.host_targets, limits.run_as) = (true, true, run_as);
            }
        };
        assert_eq!(who(Profile::Restricted, &node, on_node(None)), Err(PlanError::NobodyOnNode));
        for profile in [Profile::Restricted, Profile::Baseline, Profile::General] {
            let refused = who(profile, &node, on_node(Some(RunAs::Target)));
            assert_eq!(refused, Err(PlanError::NobodyOnNode), "{profile}");
        }
        assert_eq!(who(Profile::Baseline, &node, on_node(None)).map(|who| who.uid), Ok(65533));
        assert_eq!(who(Profile::General, &node, on_node(None)).map(|who| who.uid), Ok(0));
    }

    #[test]
    fn secrets_are_hidden_from_who_is_nobody() {
        let hidden = |profile| {
            let plan = Plan::new(confined(profile), &facts(&[Kind::Pid])).expect("a plan");
            plan.confinement.expect("confined").hidden
        };
        assert_eq!(hidden(Profile::Baseline), ["/run/secrets/kubernetes.io"]);
        for profile in [Profile::Restricted, Profile::General] {
            assert!(hidden(profile).is_empty(), "{profile}");
        }
    }

    #[test]
    fn a_tool_that_looks_into_processes_holds_what_they_usually_hold_and_traces_all_only_for_the_node_s_master()
     {
        let facts = |own: &[Kind]| {
            let permitted = [Capability::DacOverride, Capability::NetAdmin, Capability::SysPtrace];
            Facts { permitted: permitted.into_iter().collect(), ..facts(own) }
        };
        let gains = |own: &[Kind], profile, host_targets| {
            let mut request = confined(profile);
            request.limits.as_mut().expect("limits").host_targets = host_targets;
            let plan = Plan::new(request, &facts(own)).expect("a plan");
            plan.confinement.expect("confined").gained
        };
        let usual = Capabilities::NONE.with(Capability::DacOverride);
        let all = Capabilities::NONE.with(Capability::SysPtrace);
        assert_eq!(gains(&[Kind::Pid], Profile::General, false), usual);
        assert_eq!(gains(&[Kind::Pid], Profile::General, true), usual.union(all));
        assert_eq!(gains(&[Kind::Pid, Kind::User], Profile::General, false), Capabilities::NONE);
        assert_eq!(gains(&[Kind::Pid, Kind::User], Profile::General, true), all);
        assert_eq!(gains(&[Kind::Pid], Profile::Baseline, true), Capabilities::NONE);
    }

    #[test]
    fn a_confined_tool_never_sees_the_node_s_processes() {
        let plan = Plan::new(confined(Profile::General), &facts(&[Kind::Net])).expect("a plan");
        assert!(plan.needs_own_pids());
        let plan = Plan::new(confined(Profile::General), &facts(&[Kind::Pid])).expect("a plan");
        assert!(!plan.needs_own_pids());
    }

    #[test]
    fn what_is_worth_as_much_as_the_node_needs_leave_and_says_why() {
        let of_node = Facts { shared_with_node: vec![Shared::Net], ..facts(&[Kind::Pid]) };
        let tracer =
            Facts { capabilities: [Capability::SysPtrace].into_iter().collect(), ..facts(&[]) };
        let loader = Facts { capabilities: [Capability::Bpf].into_iter().collect(), ..facts(&[]) };
        for (facts, why) in
            [(&of_node, "net namespace"), (&tracer, "CAP_SYS_PTRACE"), (&loader, "CAP_BPF")]
        {
            let refused = Plan::new(confined(Profile::Baseline), facts).expect_err("a host target");
            assert!(refused.to_string().contains(why), "{refused}");
            let mut allowed = confined(Profile::Baseline);
            allowed.limits.as_mut().expect("limits").host_targets = true;
            assert!(Plan::new(allowed, facts).is_ok());
        }
    }

    #[test]
    fn the_node_s_processes_are_shown_of_the_node_itself_and_of_no_pod_that_shares_them() {
        let shares = Facts { shared_with_node: vec![Shared::Pid], ..facts(&[Kind::Net]) };
        let planned = |node, kinds| {
            let mut request =
                Request { limits: confined(Profile::General).limits, ..request(kinds) };
            let limits = request.limits.as_mut().expect("limits");
            (limits.host_targets, limits.node) = (true, node);
            Plan::new(request, &shares).expect("a plan")
        };
        let of_pod = planned(false, None);
        assert_eq!(of_pod.stays(), Kinds::default());
        assert!(of_pod.needs_own_pids() && of_pod.pids().is_none());
        let of_node = planned(true, None);
        assert!(!of_node.needs_own_pids() && of_node.pids() == shares.pids());
        assert!(of_node.to_string().contains("stay among the node's processes"), "{of_node}");
        assert_eq!(of_node.joins().to_string(), "net");
        assert!(planned(true, Some("net")).needs_own_pids());
    }

    #[test]
    fn of_every_kind_a_confined_session_has_the_targets_or_a_new_one() {
        let facts = facts(&[Kind::Net, Kind::Pid, Kind::Ipc, Kind::Uts]);
        for kinds in [None, Some("net"), Some("time,uts"), Some("pid,net,ipc,uts,cgroup,time")] {
            let request = Request { limits: confined(Profile::General).limits, ..request(kinds) };
            let plan = Plan::new(request, &facts).expect("a plan");
            assert_eq!(plan.stays(), Kinds::default(), "{kinds:?}");
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::User) {
                let (joins, makes) = (plan.joins().contains(kind), plan.makes().contains(kind));
                assert!(joins != makes, "{kind} of {kinds:?}: {plan}");
            }
        }
    }

    #[test]
    fn what_a_host_target_shares_is_stayed_in_only_where_it_was_asked_for() {
        let shares = Facts { shared_with_node: vec![Shared::Net, Shared::Pid], ..facts(&[]) };
        let planned = |node, kinds| {
            let mut request =
                Request { limits: confined(Profile::General).limits, ..request(kinds) };
            let limits = request.limits.as_mut().expect("limits");
            (limits.host_targets, limits.node) = (true, node);
            Plan::new(request, &shares).expect("a plan").stays().to_string()
        };
        assert_eq!(planned(false, None), "net");
        assert_eq!(planned(false, Some("pid")), "none");
        assert_eq!(planned(true, Some("uts,pid")), "pid, uts");
        assert_eq!(planned(true, None), "cgroup, ipc, net, pid, time, uts");
    }

    #[test]
    fn who_reaches_the_node_by_a_mount_is_a_host_target_outside_of_a_user_namespace() {
        let what = OfNode::File { path: "/etc".to_owned(), read_only: false };
        let reached = Reached { what, place: "/host".to_owned() };
        let facts = |own: &[Kind]| Facts { reached: vec![reached.clone()], ..facts(own) };
        let refused = Plan::new(confined(Profile::General), &facts(&[Kind::Pid]));
        assert!(refused.expect_err("a host target").to_string().contains("/etc of the node"));
        // A namespace in which the node's root has a number is one that a process can make for itself.
        let own = facts(&[Kind::Pid, Kind::User]);
        assert!(Plan::new(confined(Profile::General), &own).is_err());
        let map = IdMap::parse("0 100000 65536");
        let apart = Facts { users: map.clone(), group_map: map, ..own };
        assert!(Plan::new(confined(Profile::General), &apart).is_ok());
    }

    #[test]
    fn power_in_a_user_namespace_of_its_own_is_none_here() {
        let facts = Facts { capabilities: Capabilities::ALL, ..facts(&[Kind::User, Kind::Pid]) };
        assert!(Plan::new(confined(Profile::General), &facts).is_ok());
    }

    #[test]
    fn writing_is_not_for_every_profile() {
        let mut request = confined(Profile::Baseline);
        request.limits.as_mut().expect("limits").write = true;
        let refused = Plan::new(request, &facts(&[Kind::Pid])).expect_err("read-only");
        assert!(refused.to_string().contains("use --profile general"), "{refused}");
    }
}
