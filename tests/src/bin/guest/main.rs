//! The only program of the second kernel's file system that is not a tool: its init, the tests that run there,
//! the containers they enter, and what an attacker or a tool tries.
//!
//! It is a program of its own because tests run as the first process over there; see `tests/second_kernel.rs`.

mod apparmor;
mod container;
mod groups;
mod host_tools;
mod init;
mod probe;
mod session;
mod suite;
mod toolbox;
mod yama;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tests"] => suite::run(),
        ["contain", profile] => container::contain(profile),
        ["contained", profile] => container::contained(profile),
        ["serve"] => container::serve(),
        ["under", profile, command @ ..] => apparmor::under(profile, command),
        [probe, operands @ ..] if probe::exists(probe) => probe::run(probe, operands),
        // The kernel passes on what it does not know of its command line.
        _ => init::main(),
    }
}
