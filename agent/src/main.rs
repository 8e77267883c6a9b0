//! The program `nsdebug-agent`; everything it does is in the library, where tests reach it.

use std::process::ExitCode;

use agent::command::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    command::run(Cli::parse())
}
