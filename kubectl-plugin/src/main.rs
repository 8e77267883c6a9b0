//! `kubectl nsdebug`: one session with a tool that runs inside a container's namespaces.
//!
//! From here: `cli` declares the command line, `command::run` makes it a request, `kubernetes` (or
//! `connect`, straight to one agent) opens the websocket, `session` streams it, `outcome` decides the
//! exit code. Errors are printed here
//! and nowhere else. Nothing of `entry` or Linux namespaces is known on this side.

mod capture;
mod cli;
mod command;
mod connect;
mod dry_run;
mod ending;
mod error;
mod kubernetes;
mod many;
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
mod verbose;
mod window;

use std::process::ExitCode;

use outcome::Outcome;

fn main() -> ExitCode {
    if let Some(words) = command::complete::asked(std::env::args_os()) {
        command::complete::run(&words);
        return ExitCode::SUCCESS;
    }
    let arguments = match cli::Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(), // help and version come this way too
    };
    let quiet = arguments.quiet;
    let (code, hint) = match command::run(arguments) {
        Ok(Outcome { code, note, hint }) => {
            if let Some(note) = &note {
                output::error(note);
            }
            (code, hint)
        }
        Err(failure) => {
            let said = wire::chain(&failure);
            let say = if failure.is_kubectl_s_own() { output::plain } else { output::error };
            say(&said);
            (failure.exit_code(), failure.hint())
        }
    };
    if let Some(hint) = hint.filter(|_| !quiet) {
        output::hint(&hint);
    }
    ExitCode::from(code)
}
