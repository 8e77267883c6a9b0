//! The command line, declared: the doc comments are the help.
//!
//! What the words mean together is decided in `command::run`.

use std::ffi::OsString;

use clap::builder::{FalseyValueParser, StyledStr};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser};

mod capture;
mod cluster;
mod many;
mod selection;
mod usage;

pub(crate) use capture::CaptureFlags;
pub(crate) use cluster::{CertificateFlags, ClusterFlags};
pub(crate) use many::{ManyFlags, When};
pub(crate) use selection::SelectionFlags;
pub(crate) use usage::UsageError;

use wire::{Profile, TimeSpan};

use crate::connect::Address;
use crate::target::Target;

const EXIT_CODES: &str = "\
Exit codes:
  the tool's own, if it ended by itself
  128+n   the tool was killed by signal n; or nsdebug was (130 is Ctrl-C, 141 a closed pipe)
  127     the tool was not found
  126     the tool cannot be executed
  125     nsdebug itself failed, or the output did not arrive completely; of many pods: of at least one
  123     the tools of many pods had different exit codes
  2       wrong usage
  1       of `doctor`: a session would not work";

/// Run a tool that a container does not have, inside that container's namespaces
///
/// TARGET is POD, pod/NAME, deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME, svc/NAME or node/NAME;
/// with --agent it is POD, pod/NAME or container/ID, where ID is a unique beginning of at least 4 characters.
/// Without COMMAND it starts a shell on the terminal. COMMAND can run in many pods at once: of several TARGETs, of a
/// selector, or of a workload with --all-pods.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-nsdebug",
    bin_name = "kubectl nsdebug",
    version,
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    subcommand_negates_reqs = true,
    override_usage = "kubectl nsdebug TARGET [-c NAME] [-i] [-t] [OPTIONS] [-- COMMAND [ARG]...]
       kubectl nsdebug TARGET... [--all-pods] [OPTIONS] -- COMMAND [ARG]...
       kubectl nsdebug -l SELECTOR [-A] [OPTIONS] -- COMMAND [ARG]...
       kubectl nsdebug capture TARGET... [-f FILTER] (-w FILE | --split DIR | --wireshark) [OPTIONS]
       kubectl nsdebug doctor [TARGET] [OPTIONS] [-- COMMAND [ARG]...]
       kubectl nsdebug version [OPTIONS]"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) subcommand: Option<Subcommand>,

    /// The targets to enter
    #[arg(
        value_name = "TARGET",
        required_unless_present_any = ["selector", "field_selector"],
        conflicts_with_all = ["selector", "field_selector"],
    )]
    pub(crate) targets: Vec<Target>,

    /// The tool to run and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,

    /// Container of the pod, also an init or ephemeral one [default: the one that kubectl would take]
    #[arg(short, long, env = "NSDEBUG_CONTAINER", value_name = "NAME", global = true)]
    pub(crate) container: Option<wire::Label>,

    /// Pass stdin to the tool
    #[arg(short = 'i', long, env = "NSDEBUG_STDIN", value_parser = FalseyValueParser::new(), global = true)]
    pub(crate) stdin: bool,

    /// Give the tool a terminal; implies --stdin
    #[arg(short, long, env = "NSDEBUG_TTY", value_parser = FalseyValueParser::new(), global = true)]
    pub(crate) tty: bool,

    /// Print only the tool's output and errors
    #[arg(short, long, env = "NSDEBUG_QUIET", value_parser = FalseyValueParser::new(), global = true)]
    pub(crate) quiet: bool,

    /// Also print what is asked, of which host and how long that took; never a token or a key
    #[arg(
        short = 'v',
        long,
        env = "NSDEBUG_VERBOSE",
        global = true,
        value_parser = FalseyValueParser::new()
    )]
    pub(crate) verbose: bool,

    /// Kinds of namespace to join, such as `pid,net` [default: all that the container has of its own]
    #[arg(long, env = "NSDEBUG_NAMESPACES", value_name = "LIST", global = true)]
    pub(crate) namespaces: Option<String>,

    #[command(flatten)]
    pub(crate) choice: Choice,

    /// End the session after this time, such as `90s`, `1h30m` or `2d`; 0 means never. The tool is sent TERM and has 5 s to end
    #[arg(long, env = "NSDEBUG_TIMEOUT", value_name = "DURATION", global = true)]
    pub(crate) timeout: Option<TimeSpan>,

    /// Namespace of the target [default: the context's]
    #[arg(short, long, env = "NSDEBUG_NAMESPACE", value_name = "NAME", global = true)]
    pub(crate) namespace: Option<wire::Label>,

    #[command(flatten)]
    pub(crate) selection: SelectionFlags,

    #[command(flatten)]
    pub(crate) many: ManyFlags,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,

    #[command(flatten)]
    pub(crate) certificates: CertificateFlags,

    #[command(flatten)]
    pub(crate) direct: DirectFlags,
}

#[derive(Debug, clap::Subcommand)]
#[command(defer = true)]
pub(crate) enum Subcommand {
    /// Capture the packets of many pods into one file, in order of time
    Capture(Box<CaptureFlags>),
    /// Check whether a session with the same arguments would work, and if not, why
    Doctor {
        /// The target of the session that is checked
        #[arg(conflicts_with_all = ["selector", "field_selector"])]
        target: Option<Target>,

        /// The tool of that session; without it, a shell
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Print the versions of this program and of the gateway in the cluster
    Version {
        /// Print only the version of this program
        #[arg(long, env = "NSDEBUG_CLIENT", value_parser = FalseyValueParser::new())]
        client: bool,
    },
}

/// The way to one agent, past the Kubernetes API.
#[derive(Debug, Args)]
#[command(next_help_heading = "Without a cluster")]
pub(crate) struct DirectFlags {
    /// The agent's address: `unix:PATH` or `https://HOST:PORT`
    #[arg(long, env = "NSDEBUG_AGENT", value_name = "ADDRESS", global = true)]
    pub(crate) agent: Option<Address>,

    /// Containerd namespace of the container, such as `moby`
    #[arg(long, env = "NSDEBUG_CONTAINERD_NAMESPACE", value_name = "NAME", global = true)]
    pub(crate) containerd_namespace: Option<String>,
}

/// What a session may be and hold, as far as its caller chooses.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    #[arg(long, env = "NSDEBUG_PROFILE", value_name = "NAME", global = true, help = profile_help())]
    pub(crate) profile: Option<Profile>,

    /// User of the tool: UID, UID:GID or `target`; without it, as the profile says
    #[arg(long, env = "NSDEBUG_RUN_AS", value_name = "USER", global = true)]
    pub(crate) run_as: Option<String>,

    /// Let the tool write to /target, the container's files
    #[arg(long, env = "NSDEBUG_WRITE", value_parser = FalseyValueParser::new(), global = true)]
    pub(crate) write: bool,

    /// Reason for the session, for the audit log
    #[arg(long, env = "NSDEBUG_REASON", value_name = "TEXT", global = true)]
    pub(crate) reason: Option<String>,
}

fn profile_help() -> String {
    let (all, usual) = (Profile::names(), Profile::default());
    format!("Rights of the tool, as far as the agent gives them: {all}; without it, {usual}")
}

impl Arguments {
    /// Reads the command line; what is wrong with it is for the person.
    pub(crate) fn read<I>(words: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item: Into<OsString> + Clone>,
    {
        Self::try_parse_from(words).map_err(|mut error| {
            let unexpected = error.get(ContextKind::InvalidArg).map(ToString::to_string);
            // A flag that is like one of ours is probably that one.
            let is_commands = unexpected.is_some_and(|word| {
                !word.starts_with('-') || error.get(ContextKind::SuggestedArg).is_none()
            });
            if error.kind() == ErrorKind::UnknownArgument && is_commands {
                let tip = StyledStr::from("the command goes after `--`, with its own flags");
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            }
            error
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declaration_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_name_of_ours() {
        for argument in Arguments::command().get_arguments().filter(|a| a.get_long().is_some()) {
            let Some(long) = argument.get_long().filter(|l| !["help", "version"].contains(l))
            else {
                continue;
            };
            let name = format!("NSDEBUG_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|e| e.to_str()), Some(&*name), "--{long}");
        }
    }
}
