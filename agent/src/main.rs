//! The program `nsdebug-agent`; everything it does is in the library, where tests reach it.

use std::process::ExitCode;

use agent::command::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    // Before any thread exists: a helper must own its whole process.
    match std::env::args_os().nth(1) {
        Some(first) if first == entry::HELPER_ARG => return entry::helper_main(),
        Some(first) if first == entry::RELAY_ARG => return entry::relay_main(),
        _ => {}
    }
    command::run(Cli::parse())
}
