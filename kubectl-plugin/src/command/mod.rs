//! One file per subcommand; a session itself needs no name.

mod capture;
pub(crate) mod complete;
mod doctor;
mod many;
mod run;
mod version;

use crate::cli::{Arguments, Subcommand};
use crate::error::Failure;
use crate::outcome::Outcome;
use crate::verbose;

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome, Failure> {
    if arguments.verbose {
        verbose::start();
    }
    match arguments.subcommand.take() {
        None if many::is_meant(&arguments) => many::run(&arguments),
        None => run::run(arguments),
        Some(Subcommand::Capture(flags)) => capture::run(arguments, *flags),
        Some(Subcommand::Doctor { target, command }) => {
            many::is_not_meant(&arguments, "doctor")?;
            let targets = target.into_iter().collect();
            doctor::run(Arguments { targets, command, ..arguments })
        }
        Some(Subcommand::Version { client }) => version::run(&arguments, client),
    }
}
