//! The program against agents that follow a script: what a person and a shell get of a session.

#![cfg(unix)]

mod api;
mod cluster;
mod doctor;
mod krew;
mod many;
mod many_forms;
mod outcome;
mod refusal;
mod scripted;
mod signals;
mod streams;
mod terminal;
mod tls;
mod verbose;
