//! The command line: what can be asked, and how failures are said, once.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use daemon::logging::{self, LogArgs};
use daemon::{OWN_FAILURE, USAGE, failed, hint};
use tokio::runtime;
use tracing::Level;

use crate::config::{Config, ServeArgs};
use crate::serve::{Gateway, NotInPod};

const EXIT_CODES: &str = "\
Exit codes:
  0    it stopped on a signal
  125  it could not start
  2    wrong usage";

const LOG_LEVEL: &str =
    "Log level, or levels by module such as `warn,gateway=debug` [default: info]";

/// Serves nsdebug.dev/v1alpha1 behind kube-apiserver
#[derive(Debug, Parser)]
#[command(name = "nsdebug-gateway", version, after_help = EXIT_CODES)]
#[command(mut_arg("log_level", |flag| flag.help(LOG_LEVEL)))]
pub struct Cli {
    #[command(flatten)]
    logging: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API to kube-apiserver, and let agents connect
    #[command(after_help = EXIT_CODES)]
    Serve(Box<ServeArgs>),
}

/// Does what the command line says.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let Cli { logging, command: Command::Serve(args) } = cli;
    logging::start(logging, Level::INFO);
    let config = match Config::try_from(*args) {
        Ok(config) => config,
        Err(error) => return failed(&wire::chain(&error), USAGE),
    };
    // All threads there are: bytes of many sessions are decrypted and encrypted here.
    let served = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
        .and_then(|runtime| runtime.block_on(async { Gateway::start(config).await?.run().await }));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = failed(&wire::chain(error.as_ref()), OWN_FAILURE);
            if error.is::<NotInPod>() {
                hint("outside of a pod, give --kubeconfig");
            }
            code
        }
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
