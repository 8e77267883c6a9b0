//! A session that is refused, and its dry run, which has to say the same.

use std::ffi::OsStr;
use std::process::Command;

use crate::running::{Finished, run, with_words};

/// Run `kubectl nsdebug`, whose session has to be refused with `code`, and ask `doctor` too.
#[track_caller]
pub fn refused(session: &mut Command, code: i32) -> Finished {
    let refused = run(session).expect_code(code);
    assert_doctor(&refused);
    refused
}

/// Fails unless `doctor`, behind which the words of the session are put, says no and why: in the words that it
/// was `refused` with.
#[track_caller]
pub fn assert_doctor(refused: &Finished) {
    /// Of a wrong command line there is no session to ask about.
    const USAGE: i32 = 2;
    let doctor = run(&mut doctor(refused.command()));
    let words = refused.err();
    let words = words.lines().find(|line| !line.starts_with("warning: ")).unwrap_or_default();
    let words = words.strip_prefix("error: ").unwrap_or(words);
    if refused.code() == USAGE {
        assert_eq!(doctor.code(), USAGE, "{doctor}");
        assert!(doctor.err().contains(words), "{words:?} is not in what is said: {doctor}");
        return;
    }
    assert_eq!(doctor.code(), 1, "the session is refused ({words}), and not by {doctor}");
    let said = doctor.out();
    let is_why = |line: &str| line.starts_with("no ") && line.contains(words);
    assert!(said.lines().any(is_why), "{words:?} is no line of a no: {doctor}");
    assert!(said.ends_with("marked `no`.\n"), "{doctor}");
}

/// The same words behind `doctor`.
fn doctor(session: &Command) -> Command {
    let words: Vec<&OsStr> = session.get_args().collect();
    // Behind `kubectl nsdebug`, or at once where it is the program itself.
    let place = words.iter().position(|word| *word == "nsdebug").map_or(0, |place| place + 1);
    let words = [&words[..place], &[OsStr::new("doctor")], &words[place..]].concat();
    with_words(session, &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doctor_is_put_before_the_session_s_own_words() {
        let words = |command: &Command| -> Vec<String> {
            command.get_args().map(|word| word.display().to_string()).collect()
        };
        let mut session = Command::new("kubectl");
        session.args(["nsdebug", "api", "--", "nsdebug"]).env("A", "b").env_remove("C");
        let asked = doctor(&session);
        assert_eq!(words(&asked), ["nsdebug", "doctor", "api", "--", "nsdebug"]);
        assert!(asked.get_envs().eq(session.get_envs()));
        let mut session = Command::new("kubectl-nsdebug");
        session.args(["--agent", "unix:/a", "api"]);
        assert_eq!(words(&doctor(&session)), ["doctor", "--agent", "unix:/a", "api"]);
    }
}
