//! The command line: what can be asked, and how failures are said, once.

mod ask;
pub mod check;
pub mod exec;
pub mod serve;
pub mod sessions;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use daemon::logging::{self, LogArgs};
use tracing::Level;

use crate::config::ServeArgs;

const EXIT_CODES: &str = "\
Exit codes:
  the tool's own, of `exec`; else
  128+n  the tool was killed by signal n
  127    there is no such tool
  126    the tool cannot be executed
  125    nsdebug itself failed
  2      wrong usage
  1      of `check`: a session could not work here";

const EXIT_CODES_WITHOUT_TOOL: &str = "\
Exit codes:
  0      done
  125    nsdebug itself failed
  2      wrong usage";

const EXIT_CODES_OF_CHECK: &str = "\
Exit codes:
  0      a session could work here
  1      a session could not work here
  2      wrong usage";

const LOG_LEVEL: &str = "Log level, or levels by module such as `warn,agent=debug` \
                         [default: info for `serve`, else warn]";

/// Runs tools that a container does not have, inside its Linux namespaces
#[derive(Debug, Parser)]
#[command(name = "nsdebug-agent", version, after_help = EXIT_CODES)]
#[command(mut_arg("log_level", |flag| flag.help(LOG_LEVEL)))]
pub struct Cli {
    #[command(flatten)]
    logging: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// Run one tool in a container of this node, without a daemon
    #[command(after_help = EXIT_CODES)]
    Exec(Box<exec::ExecArgs>),
    /// Serve sessions on sockets of this node, and to gateways
    #[command(after_help = EXIT_CODES_WITHOUT_TOOL)]
    Serve(Box<ServeArgs>),
    /// List the sessions that an agent on this node serves
    #[command(after_help = EXIT_CODES_WITHOUT_TOOL)]
    Sessions(sessions::SessionsArgs),
    /// End a session that an agent on this node serves
    #[command(after_help = EXIT_CODES_WITHOUT_TOOL)]
    Kill(sessions::KillArgs),
    /// Check what this node supports, and name what is missing
    #[command(after_help = EXIT_CODES_OF_CHECK)]
    Check(check::CheckArgs),
}

/// Does what the command line says.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let Cli { logging, command } = cli;
    let level = match command {
        Command::Serve(_) => Level::INFO,
        // The terminal belongs to the tool.
        Command::Exec(_) | Command::Check(_) | Command::Sessions(_) | Command::Kill(_) => {
            Level::WARN
        }
    };
    logging::start(logging, level);
    match command {
        Command::Exec(args) => exec::run(*args),
        Command::Serve(args) => serve::run(*args),
        Command::Check(args) => check::run(&args),
        Command::Sessions(args) => sessions::list(&args),
        Command::Kill(args) => sessions::kill(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_name() {
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
            for flag in command.get_opts().filter(|flag| flag.get_id() != "help") {
                let name = flag.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                let what = format!("--{} of {}", flag.get_id(), command.get_name());
                assert!(name.starts_with("NSDEBUG_"), "{what} has `{name}`");
            }
        }
    }
}
