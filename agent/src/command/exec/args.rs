//! The command line of `exec`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ArgGroup;
use clap::builder::BoolishValueParser;
use entry::{Kinds, RunAs};
use wire::{BadName, ContainerPrefix, Label, ObjectName, Profile, TimeSpan};

use crate::config::{CONTAINERD_SOCKET, TOOLBOX};
use crate::limits::LimitArgs;
use crate::tools::Tools;

/// Run one tool in a container of this node, without a daemon.
#[derive(Clone, Debug, clap::Args)]
#[command(group(ArgGroup::new("target").required(true).args(["container", "pod", "pid"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the command line")]
pub struct ExecArgs {
    /// The container's ID, or a unique beginning of it of at least 4 characters
    #[arg(long, env = "NSDEBUG_CONTAINER", value_name = "ID")]
    pub container: Option<ContainerPrefix>,

    /// A pod on this node: its first running container, or the one that -c names
    #[arg(long, env = "NSDEBUG_POD", value_name = "NAMESPACE/NAME")]
    pub pod: Option<PodName>,

    /// The container of this process, of any container runtime
    #[arg(
        long,
        env = "NSDEBUG_PID",
        value_name = "PID",
        value_parser = clap::value_parser!(i32).range(1..)
    )]
    pub pid: Option<i32>,

    /// Name of the container of --pod
    // clap waives `requires` where the required flag conflicts with one that is given.
    #[arg(
        short = 'c',
        env = "NSDEBUG_CONTAINER_NAME",
        value_name = "NAME",
        requires = "pod",
        conflicts_with_all = ["container", "pid"]
    )]
    pub container_name: Option<Label>,

    /// containerd's socket
    #[arg(long, env = "NSDEBUG_CONTAINERD", value_name = "SOCKET", default_value = CONTAINERD_SOCKET)]
    pub containerd: PathBuf,

    /// The containerd namespace to look in [default: `k8s.io` for --pod, all of them for --container]
    #[arg(long, env = "NSDEBUG_CONTAINERD_NAMESPACE", value_name = "NAME")]
    pub containerd_namespace: Option<String>,

    /// Kinds of namespace to join, from pid,net,ipc,uts,cgroup,time [default: all that the target has of its
    /// own]
    #[arg(long, env = "NSDEBUG_NAMESPACES", value_name = "LIST")]
    pub namespaces: Option<Kinds>,

    /// Join the target's user namespace too: the tool then has no rights outside of it
    #[arg(long, env = "NSDEBUG_JOIN_USER", value_parser = BoolishValueParser::new())]
    pub join_user: bool,

    /// Which tools to run
    #[arg(long, env = "NSDEBUG_TOOLS", value_enum, default_value = "host")]
    pub tools: Tools,

    /// The directory of the toolbox, for --tools toolbox
    #[arg(long, env = "NSDEBUG_TOOLBOX", value_name = "DIR", default_value = TOOLBOX)]
    pub toolbox: PathBuf,

    #[arg(long, env = "NSDEBUG_PROFILE", value_name = "NAME", help = profile_help())]
    pub profile: Option<Profile>,

    /// User of the tool, in a toolbox: UID, UID:GID or `target` [default: as the profile says]
    #[arg(long, env = "NSDEBUG_RUN_AS", value_name = "USER")]
    pub run_as: Option<RunAs>,

    /// Let the tool write to /target, the container's files, in a toolbox
    #[arg(long, env = "NSDEBUG_WRITE", value_parser = BoolishValueParser::new())]
    pub write: bool,

    /// Enter targets that share the node's pid, net, ipc or mount namespace, that hold a capability such
    /// as `SYS_ADMIN` or that have the node's own files or kernel settings mounted, in a toolbox
    #[arg(long, env = "NSDEBUG_ALLOW_HOST_TARGETS", value_parser = BoolishValueParser::new())]
    pub allow_host_targets: bool,

    #[command(flatten)]
    pub limits: LimitArgs,

    /// Longest duration of the session, such as `90s` or `1h30m`. A tool that ignores the
    /// signal at its end, or is suspended (SIGSTOP), is killed 4 s later [default: until the tool ends]
    #[arg(
        long,
        env = "NSDEBUG_SESSION_LIMIT",
        value_name = "DURATION",
        value_parser = TimeSpan::at_least(Duration::from_secs(1))
    )]
    pub session_limit: Option<TimeSpan>,

    /// Pass stdin to the tool
    #[arg(short = 'i', long, env = "NSDEBUG_STDIN", value_parser = BoolishValueParser::new())]
    pub stdin: bool,

    /// Give the tool a terminal
    #[arg(short = 't', long, env = "NSDEBUG_TTY", value_parser = BoolishValueParser::new())]
    pub tty: bool,

    /// Print the planned steps to stdout and exit
    #[arg(long, env = "NSDEBUG_EXPLAIN", value_parser = BoolishValueParser::new())]
    pub explain: bool,

    /// The tool and its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

fn profile_help() -> String {
    let (all, usual) = (Profile::names(), Profile::default());
    format!(
        "Rights of the tool, in a toolbox: {all} (netadmin reaches the node's network too) [default: {usual}]"
    )
}

/// A pod as `--pod` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    pub namespace: Label,
    pub name: ObjectName,
}

#[derive(Debug, thiserror::Error)]
pub enum BadPodName {
    #[error("a pod is named NAMESPACE/NAME, for example default/web")]
    NoNamespace,
    #[error("not a namespace and a pod: {0}")]
    Name(BadName),
}

impl FromStr for PodName {
    type Err = BadPodName;

    fn from_str(text: &str) -> Result<Self, BadPodName> {
        let (namespace, name) = text.split_once('/').ok_or(BadPodName::NoNamespace)?;
        let namespace = namespace.parse().map_err(BadPodName::Name)?;
        let name = name.parse().map_err(BadPodName::Name)?;
        Ok(Self { namespace, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};
    use std::os::unix::ffi::OsStringExt;

    fn args<S: AsRef<std::ffi::OsStr>>(words: &[S]) -> Result<ExecArgs, String> {
        let command = ExecArgs::augment_args(clap::Command::new("exec").no_binary_name(true));
        let matches = command
            .try_get_matches_from(words.iter().map(AsRef::as_ref))
            .map_err(|error| error.to_string())?;
        ExecArgs::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn exactly_one_target_is_asked_for() {
        assert!(args(&["--", "ps"]).is_err());
        assert!(args(&["--pid", "1", "--container", "abcd", "--", "ps"]).is_err());
        assert!(args(&["--pid", "0", "--", "ps"]).is_err());
        let both = args(&["--pod", "shop/web", "-c", "app", "--", "ps"]).expect("a pod");
        assert_eq!(both.container_name.map(|name| name.to_string()).as_deref(), Some("app"));
        assert!(args(&["--pid", "1", "-c", "app", "--", "ps"]).is_err());
    }

    #[test]
    fn a_pod_without_its_namespace_says_how_to_write_one() {
        let error = args(&["--pod", "web", "--", "ps"]).expect_err("no namespace");
        assert!(error.contains("default/web"), "{error}");
    }

    #[test]
    fn the_tool_may_have_any_bytes_and_flags_of_its_own() {
        let raw = OsString::from_vec(b"\xff\xfe".to_vec());
        let mut words: Vec<OsString> = ["--pid", "1", "--", "ps", "-t"].map(Into::into).to_vec();
        words.push(raw.clone());
        let args = args(&words).expect("a command");
        assert_eq!(args.command, [OsString::from("ps"), "-t".into(), raw]);
        assert!(!args.tty);
    }

    #[test]
    fn a_profile_is_one_of_those_there_are() {
        let wrong = args(&["--pid", "1", "--profile", "genral", "--", "ps"]).expect_err("none");
        let said = format!("there is no profile `genral`; profiles are {}", Profile::names());
        assert!(wrong.contains(&said), "{wrong}");
    }

    #[test]
    fn a_command_is_needed() {
        assert!(args(&["--pid", "1"]).is_err());
        assert!(args(&["--pid", "1", "--"]).is_err());
    }
}
