//! Logs go to stderr, as text for people or JSON for machines. stdout belongs to the audit.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// How to log.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// How log lines are written to stderr
    #[arg(long, global = true, env = "NSDEBUG_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: Format,

    /// What to log: a level, or levels by module such as `warn,gateway=debug` [default: info]
    #[arg(long, global = true, env = "NSDEBUG_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<Targets>,
}

/// Starts logging. Only the first call counts.
pub(crate) fn start(args: LogArgs) {
    let LogArgs { log_format, log_level } = args;
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let lines = match log_format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let filter = log_level.unwrap_or_else(|| Targets::new().with_default(Level::INFO));
    // An error says that a subscriber is set already, as in tests that start several gateways.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}
