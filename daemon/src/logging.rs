//! Logs go to stderr, as text for people or JSON for machines. stdout belongs to a tool or the audit.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How to log, on every subcommand.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Format of log lines, which go to stderr
    #[arg(long, global = true, env = "NSDEBUG_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: Format,

    // Each program puts its own words here, with one of its modules and its default.
    /// What to log: a level, or levels by module
    #[arg(long, global = true, env = "NSDEBUG_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<Targets>,
}

/// Starts logging, from `usual` on where nothing else was asked for. Only the first call counts.
pub fn start(args: LogArgs, usual: Level) {
    let LogArgs { log_format, log_level } = args;
    let lines = lines(log_format, io::stderr, io::stderr().is_terminal());
    let filter = log_level.unwrap_or_else(|| Targets::new().with_default(usual));
    // An error says that a subscriber is set already, as in tests that start several programs.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// What writes lines of that format to `writer`.
fn lines<S, W>(format: Format, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        Format::Text => lines.boxed(),
        // Without the list of spans, which has the current one again.
        Format::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a page").write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_names_its_span_once() {
        for format in [Format::Text, Format::Json] {
            let page = Page::default();
            let writer = page.clone();
            let lines = lines(format, move || writer.clone(), false);
            tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
                let span = tracing::info_span!("session", id = "only-once");
                span.in_scope(|| tracing::info!("said"));
            });
            let page = String::from_utf8(page.0.lock().expect("a page").clone()).expect("text");
            assert_eq!(page.matches("only-once").count(), 1, "{format:?}: {page}");
        }
    }
}
