//! One file per subcommand; a session itself needs no name.

pub(crate) mod complete;
mod doctor;
mod run;
mod version;

use crate::cli::{Arguments, Subcommand, UsageError};
use crate::error::Failure;
use crate::outcome::Outcome;
use crate::verbose;

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome, Failure> {
    if arguments.verbose {
        verbose::start();
    }
    match arguments.subcommand.take() {
        None => run::run(arguments),
        Some(_) if arguments.target.is_some() => Err(UsageError::WordAfterTarget.into()),
        Some(Subcommand::Doctor { target, command }) => {
            doctor::run(Arguments { target, command, ..arguments })
        }
        Some(Subcommand::Version { client }) => version::run(&arguments, client),
    }
}
