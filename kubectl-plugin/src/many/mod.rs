//! One command in many pods: which they are, a session for each, and what all of them say.
//!
//! Each session is what it would be alone: one request, with its own rights, audit and quota. Nothing here knows the
//! command line; `command::many` does.

mod answers;
pub(crate) mod copy;
pub(crate) mod files;
mod fold;
pub(crate) mod follow;
pub(crate) mod form;
mod json;
mod kept;
mod lines;
mod listener;
pub(crate) mod member;
pub(crate) mod naming;
pub(crate) mod one;
mod printer;
mod queue;
mod roster;
pub(crate) mod run;
pub(crate) mod select;
pub(crate) mod session;
mod speaker;
pub(crate) mod streams;
mod table;
mod told;
mod verdict;
