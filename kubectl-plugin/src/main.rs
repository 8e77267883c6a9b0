//! `kubectl nsdebug`: one session with a tool that runs inside a container's namespaces.
//!
//! From here: `cli` declares the command line, `command::run` makes it a request, `connect` opens
//! the websocket, `session` streams it, `outcome` decides the exit code. Errors are printed here
//! and nowhere else. Nothing of `entry` or Linux namespaces is known on this side.

mod cli;
mod command;
mod connect;
mod duration;
mod error;
mod local;
mod outcome;
mod output;
mod pump;
mod session;
mod signals;
mod target;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(), // help and version come this way too
    };
    match command::run::run(arguments) {
        Ok(outcome) => {
            if let Some(note) = &outcome.note {
                output::error(note, None);
            }
            ExitCode::from(outcome.code)
        }
        Err(failure) => {
            output::error(&output::chain(&failure), failure.hint().as_deref());
            ExitCode::from(failure.exit_code())
        }
    }
}
