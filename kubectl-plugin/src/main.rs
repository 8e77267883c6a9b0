//! `kubectl nsdebug`: one session with a tool that runs inside a container's namespaces.
//!
//! From here: `cli` declares the command line, `command::run` makes it a request, `kubernetes` (or
//! `connect`, straight to one agent) opens the websocket, `session` streams it, `outcome` decides the
//! exit code. Errors are printed here
//! and nowhere else. Nothing of `entry` or Linux namespaces is known on this side.

mod cli;
mod command;
mod connect;
mod duration;
mod error;
mod kubernetes;
mod outcome;
mod output;
mod pump;
mod runtime;
mod session;
mod signals;
mod stdio;
mod stop;
mod target;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(words) = command::complete::asked(std::env::args_os()) {
        command::complete::run(&words);
        return ExitCode::SUCCESS;
    }
    let arguments = match cli::Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(), // help and version come this way too
    };
    match command::run(arguments) {
        Ok(outcome) => {
            if let Some(note) = &outcome.note {
                output::error(note, None);
            }
            ExitCode::from(outcome.code)
        }
        Err(failure) if failure.is_kubectl_s_own() => {
            output::plain(&output::chain(&failure));
            if let Some(hint) = failure.hint() {
                output::hint(&hint);
            }
            ExitCode::from(failure.exit_code())
        }
        Err(failure) => {
            output::error(&output::chain(&failure), failure.hint().as_deref());
            ExitCode::from(failure.exit_code())
        }
    }
}
