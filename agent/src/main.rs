//! The program `nsdebug-agent`; everything it does is in the library, where tests reach it.

use std::process::ExitCode;

use agent::command::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    // Before any thread exists: a helper must own its whole process.
    if std::env::args_os().nth(1).is_some_and(|first| first == entry::HELPER_ARG) {
        return entry::helper_main();
    }
    command::run(Cli::parse())
}
