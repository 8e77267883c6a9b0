//! One file per subcommand; there is only the session itself so far, which needs no name.

pub(crate) mod run;
