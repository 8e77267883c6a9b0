//! The program `nsdebug-gateway`; everything it does is in the library, where tests reach it.

use std::process::ExitCode;

use clap::Parser;
use gateway::command::{self, Cli};

fn main() -> ExitCode {
    command::run(Cli::parse())
}
