//! Why a session did not start, in words, with the exit code that a shell would have used.

use std::ffi::OsStr;
use std::io;

use entry::{
    CgroupError, Exhausted, Failure, ImageError, Plan, PlanError, SessionError, SpawnError, Step,
    TargetError,
};
use rustix::io::Errno;

use super::PolicyError;
use super::instead::instead_of;
use crate::limits::NoCgroups;
use crate::registry::Neighbour;
use crate::runtime::LocateError;
use crate::session::local::deadline::not_started;

/// One failure to start, for any caller.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Neighbour(#[from] Neighbour),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    NoCgroups(#[from] NoCgroups),
    #[error("the session ended before its tool ran: {limit}")]
    OutOfMemory { limit: Exhausted },
    #[error(
        "the sessions of this node have reached their limit of processes: wait until one ends, or raise --all-sessions-pids of the agent (chart: allSessions.pids); zombies count until the first process of their container reaps them"
    )]
    NoProcesses,
    #[error("cannot create the tool's standard streams")]
    Streams { source: io::Error },
    #[error("cannot watch the session")]
    Watch { source: io::Error },
    #[error("cannot take over the signals that are passed on to the tool")]
    Signals { source: io::Error },
    #[error("cannot start the event loop for requests to containerd")]
    Runtime { source: io::Error },
    #[error("the target exited before it could be entered")]
    TargetExited,
    #[error("the session was killed before its tool ran")]
    Lost,
    #[error("{}", not_started())]
    NotStarted,
    #[error("cannot enter the target: {step}: permission denied")]
    Permission { step: Step },
    #[error(
        "cannot start the tool: {} in the target's pid namespace has, or can get, CAP_SYS_PTRACE and could control the tool",
        tracer(container.as_deref())
    )]
    Traceable { container: Option<String> },
    #[error(
        "cannot run the tool with the user or group {id}: a process in the target's pid namespace has it, and the tool could read that process's files and memory"
    )]
    NotAlone { id: String },
    #[error(
        "the target's processes hold every capability that could protect the tool from them (the canary), so the target is a host target, and host targets are not allowed here"
    )]
    NoCanary,
    #[error(
        "the target's process hides mounts of its container that make it a host target, and host targets are not allowed here: {why}"
    )]
    Exposed { why: String },
    #[error(
        "the session would share the {kind} namespace with the agent or the node: the target has just joined it and is a host target"
    )]
    NotApart { kind: String },
    #[error("there is no `{name}` {place}{}; looked in {path}", instead.map_or_else(String::new, |it| format!(": {it}")))]
    NoSuchTool { name: String, place: &'static str, path: String, instead: Option<&'static str> },
    #[error("there is no file `{name}` {place}")]
    NoSuchFile { name: String, place: &'static str },
    #[error(
        "`{path}` is a file of the target, and nothing below /target is executed: copy it to /tmp and execute it there, where it finds the libraries of the toolbox and not its own"
    )]
    OfTarget { path: String },
    #[error("{target} is a host target: {why}; {because}")]
    HostTarget { target: String, why: String, because: &'static str, hint: &'static str },
    #[error(
        "sessions on the node itself are not allowed here: its agent runs without --allow-host-targets (chart: hostTargets)"
    )]
    NodeNotAllowed,
    #[error("cannot open the toolbox {path}")]
    NoToolbox { path: String, source: io::Error },
    #[error("cannot start the session: {step} failed at {path}")]
    FailedAt { step: Step, path: String, source: io::Error },
    #[error("`{path}` is a directory")]
    IsDirectory { path: String },
    #[error("`{path}` exists, but the interpreter or loader that it names does not")]
    NoInterpreter { path: String },
    #[error(
        "the command line is too long for the kernel: one argument may have 128 KiB, all of them and the environment a quarter of the stack limit"
    )]
    TooLong,
    #[error("cannot execute `{path}`")]
    NotExecutable { path: String, source: io::Error },
    #[error("cannot start the session: {step} failed")]
    Failed { step: Step, source: io::Error },
}

impl StartError {
    /// Names what the `failure` to carry out `plan` was.
    #[must_use]
    pub fn of(failure: &Failure, plan: &Plan) -> Self {
        let name = plan.tool().argv.first().map_or(OsStr::new(""), |name| name.as_os_str());
        let place = if plan.is_confined() { "in the toolbox" } else { "on this node" };
        // Some steps fail of themselves, without a word of the kernel's.
        let errno = Errno::from_io_error(&failure.error()).unwrap_or(Errno::IO);
        let path = failure.path.as_deref().map_or_else(|| printable(name), printable);
        match (failure.step, errno) {
            (Step::FindTool, _) if name.as_encoded_bytes().contains(&b'/') => {
                let place = if plan.is_confined() { FILES_ELSEWHERE } else { place };
                Self::NoSuchFile { name: printable(name), place }
            }
            (Step::FindTool, _) => {
                let instead = name.to_str().filter(|_| plan.is_confined()).and_then(instead_of);
                Self::NoSuchTool { name: printable(name), place, path, instead }
            }
            (Step::Exec, Errno::ACCESS) if plan.is_confined() && path.starts_with("/target/") => {
                Self::OfTarget { path }
            }
            (Step::Exec, Errno::TOOBIG) => Self::TooLong,
            (Step::Exec, Errno::NOENT) => Self::NoInterpreter { path },
            (Step::Exec, Errno::ISDIR) => Self::IsDirectory { path },
            (Step::Exec, _) => Self::NotExecutable { path, source: failure.error() },
            (Step::Join, Errno::SRCH) => Self::TargetExited,
            (Step::OpenToolbox, _) => Self::NoToolbox { path, source: failure.error() },
            (Step::Traceable, _) => {
                Self::Traceable { container: failure.path.as_deref().map(printable) }
            }
            (Step::NotAlone, _) => Self::NotAlone { id: path },
            (Step::NoCanary, _) => Self::NoCanary,
            (Step::Exposed, _) => {
                // Escaped where it was made.
                let why = failure.path.as_deref().map(OsStr::to_string_lossy);
                Self::Exposed { why: why.unwrap_or_default().into_owned() }
            }
            (Step::StartBroker | Step::ForkSupervisor | Step::ForkTool, Errno::AGAIN) => {
                Self::NoProcesses
            }
            (Step::Apart, _) if failure.errno == 0 => Self::NotApart { kind: path },
            (step, Errno::PERM | Errno::ACCESS) => Self::Permission { step },
            (step, _) if failure.path.is_some() => {
                Self::FailedAt { step, path, source: failure.error() }
            }
            (step, _) => Self::Failed { step, source: failure.error() },
        }
    }

    /// 127: not found. 126: found and not executable. 125: ours.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoSuchTool { .. } | Self::NoSuchFile { .. } => 127,
            Self::IsDirectory { .. }
            | Self::OfTarget { .. }
            | Self::NoInterpreter { .. }
            | Self::TooLong
            | Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }
}

/// Where there is no file that a tool of the toolbox is taken from.
const FILES_ELSEWHERE: &str = "in the toolbox; the target's files are below /target";

fn tracer(container: Option<&str>) -> String {
    container.map_or_else(|| "a process".to_owned(), |container| format!("container {container}"))
}

fn printable(text: &OsStr) -> String {
    text.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    use entry::{ConfinementRequest, HostSigns, Profile, Request, Target, Tool};

    fn error(step: Step, errno: Errno, path: Option<&str>, name: &str) -> StartError {
        of_number(step, errno.raw_os_error(), path, name)
    }

    fn of_number(step: Step, errno: i32, path: Option<&str>, name: &str) -> StartError {
        of_plan(step, errno, path, name, None)
    }

    fn in_toolbox(step: Step, errno: Errno, path: Option<&str>, name: &str) -> StartError {
        let limits = ConfinementRequest {
            tree: "/toolbox".into(),
            profile: Profile::General,
            run_as: None,
            write: false,
            host_targets: true,
            signs: HostSigns::default(),
            node: false,
        };
        of_plan(step, errno.raw_os_error(), path, name, Some(limits))
    }

    fn of_plan(
        step: Step,
        errno: i32,
        path: Option<&str>,
        name: &str,
        limits: Option<ConfinementRequest>,
    ) -> StartError {
        let failure = Failure { step, errno, path: path.map(OsString::from) };
        let tool =
            Tool { argv: vec![name.into()], env: Vec::new(), directory: None, terminal: false };
        let request = Request { kinds: None, join_user: false, limits, tool };
        let target = Target::open(std::process::id()).expect("ourselves");
        let plan = Plan::new(request, &target.facts().expect("facts")).expect("a plan");
        StartError::of(&failure, &plan)
    }

    #[test]
    fn a_tool_that_is_nowhere_is_127_and_says_where_it_was_looked_for() {
        let error = error(Step::FindTool, Errno::NOENT, Some("/usr/bin:/bin"), "tcpdmp");
        assert_eq!(error.exit_code(), 127);
        assert_eq!(error.to_string(), "there is no `tcpdmp` on this node; looked in /usr/bin:/bin");
    }

    #[test]
    fn what_the_toolbox_has_instead_is_named_and_of_no_node() {
        let said = |name| in_toolbox(Step::FindTool, Errno::NOENT, Some("/bin"), name).to_string();
        assert_eq!(
            said("netstat"),
            "there is no `netstat` in the toolbox: `ss` has it; looked in /bin"
        );
        assert!(said("gdb").contains("nsdebug-agent-gdb"), "{}", said("gdb"));
        assert_eq!(said("tcpdmp"), "there is no `tcpdmp` in the toolbox; looked in /bin");
        let file = said("/app/server");
        assert!(file.ends_with("the target's files are below /target"), "{file}");
        let on_node = error(Step::FindTool, Errno::NOENT, Some("/bin"), "netstat").to_string();
        assert!(!on_node.contains("`ss`"), "{on_node}");
    }

    #[test]
    fn a_program_of_the_target_is_not_executed_and_that_is_said() {
        let path = "/target/app/server";
        let error = in_toolbox(Step::Exec, Errno::ACCESS, Some(path), path);
        assert_eq!(error.exit_code(), 126);
        for words in ["nothing below /target is executed", "copy it to /tmp"] {
            assert!(error.to_string().contains(words), "{error}");
        }
        let own = in_toolbox(Step::Exec, Errno::ACCESS, Some("/etc/hosts"), "/etc/hosts");
        assert!(matches!(own, StartError::NotExecutable { .. }), "{own}");
    }

    #[test]
    fn what_is_found_and_cannot_run_is_126() {
        let directory = error(Step::Exec, Errno::ISDIR, Some("/usr"), "/usr");
        assert_eq!(
            (directory.exit_code(), directory.to_string()),
            (126, "`/usr` is a directory".into())
        );
        let denied = error(Step::Exec, Errno::ACCESS, Some("/etc/hosts"), "/etc/hosts");
        assert!(matches!(denied, StartError::NotExecutable { .. }));
        assert_eq!(error(Step::Exec, Errno::TOOBIG, None, "echo").exit_code(), 126);
        assert_eq!(error(Step::Exec, Errno::NOENT, Some("/x.sh"), "/x.sh").exit_code(), 126);
    }

    #[test]
    fn everything_before_the_tool_is_ours() {
        let gone = error(Step::Join, Errno::SRCH, None, "ps");
        assert_eq!((gone.exit_code(), gone.to_string().contains("exited")), (125, true));
        let denied = error(Step::UnshareMounts, Errno::PERM, None, "ps");
        assert!(denied.to_string().starts_with("cannot enter the target"), "{denied}");
    }

    #[test]
    fn a_step_that_has_no_error_number_is_named_all_the_same() {
        let error = of_number(Step::Traceable, 0, None, "ps");
        assert!(error.to_string().contains("a process in the target's pid namespace"), "{error}");
        let error = of_number(Step::Traceable, 0, Some("debugger"), "ps").to_string();
        assert!(error.contains("container debugger in the target's pid namespace"), "{error}");
        let error = of_number(Step::Exposed, 0, Some("it has the node's /etc"), "ps");
        assert!(error.to_string().ends_with("not allowed here: it has the node's /etc"), "{error}");
        let error = of_number(Step::Apart, 0, Some("net"), "ps");
        assert!(error.to_string().contains("would share the net namespace"), "{error}");
    }

    #[test]
    fn a_name_that_would_move_a_terminal_is_escaped() {
        let error = error(Step::FindTool, Errno::NOENT, Some("/bin"), "\u{1b}[2J");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}
