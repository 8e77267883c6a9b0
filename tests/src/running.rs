//! A program that runs, with its output captured and a hard end to its time.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::captured::{Captured, contains};
use crate::process::Process;

/// No program of these tests needs longer on a slow machine; one that does is hanging.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// After the program's end its pipes close at once, unless something it started holds them open.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A program that was started; killed when dropped.
#[derive(Debug)]
#[must_use = "the program is killed when this is dropped"]
pub struct Running {
    child: Child,
    command: Command,
    stdin: Option<ChildStdin>,
    stdout: Captured,
    stderr: Captured,
}

impl Running {
    /// Start `command` with pipes on all three; its stdin stays open until [`Running::close_stdin`].
    pub fn start(command: &mut Command) -> Self {
        Self::start_reading(command, Stdio::piped())
    }

    /// The same with another stdin.
    pub fn start_reading(command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            command: with_words(command, &command.get_args().collect::<Vec<_>>()),
            stdin: child.stdin.take(),
            stdout: Captured::from(child.stdout.take().expect("stdout is a pipe")),
            stderr: Captured::from(child.stderr.take().expect("stderr is a pipe")),
            child,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Send `bytes` to the program; false when it no longer reads.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(bytes).is_ok())
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// What the program wrote to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Bytes that the program wrote to stdout so far.
    pub fn stdout_length(&self) -> usize {
        self.stdout.length()
    }

    /// What the program wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Wait until `text` is on stdout.
    pub fn wait_for_stdout(&self, text: &str) {
        let found = self.stdout.wait(TIME_LIMIT, |bytes| contains(bytes, text.as_bytes()));
        assert!(found, "no {text:?} on the stdout of {}", self.describe());
    }

    /// Wait until `text` is on stderr.
    pub fn wait_for_stderr(&self, text: &str) {
        let found = self.stderr.wait(TIME_LIMIT, |bytes| contains(bytes, text.as_bytes()));
        assert!(found, "no {text:?} on the stderr of {}", self.describe());
    }

    /// Send a signal; a program that has ended already does not mind.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = Process::open(self.child.id()) {
            process.signal(signal);
        }
    }

    pub fn has_ended(&self) -> bool {
        Process::open(self.child.id()).is_none_or(|process| process.wait(Duration::ZERO))
    }

    /// Wait for the end; false when the time was up.
    pub(crate) fn wait_until_ended(&self, limit: Duration) -> bool {
        let in_time = Process::open(self.child.id()).is_none_or(|process| process.wait(limit));
        in_time && self.stdout.wait_for_end(DRAIN_LIMIT) && self.stderr.wait_for_end(DRAIN_LIMIT)
    }

    /// Ask the program to end, and insist once `patience` is over.
    pub(crate) fn end(&self, patience: Duration) {
        if let Some(process) = Process::open(self.child.id()) {
            process.end(patience);
        }
    }

    /// Close stdin and wait for the end.
    pub fn finish(self) -> Finished {
        self.finish_within(TIME_LIMIT)
    }

    /// As [`Running::finish`]; a program that takes longer than `limit` fails the test.
    pub fn finish_within(mut self, limit: Duration) -> Finished {
        self.close_stdin();
        let in_time = Process::open(self.child.id()).is_none_or(|process| process.wait(limit));
        assert!(in_time, "still running after {limit:?}: {}", self.describe());
        let status = self.child.wait().expect("an own child can be waited for");
        self.stdout.wait_for_end(DRAIN_LIMIT);
        self.stderr.wait_for_end(DRAIN_LIMIT);
        Finished {
            command: with_words(&self.command, &self.command.get_args().collect::<Vec<_>>()),
            status,
            stdout: self.stdout.bytes(),
            stderr: self.stderr.bytes(),
        }
    }

    fn describe(&self) -> String {
        let Self { command, stdout, stderr, .. } = self;
        format!("{command:?}\n--- stdout\n{}\n--- stderr\n{}", stdout.text(), stderr.text())
    }
}

/// What a program may take to end by itself when its test is over: longer than all that an agent waits for.
const LAST_WORDS: Duration = Duration::from_secs(20);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first: a program of ours that is killed cannot clear away what it has.
        if let Ok(None) = self.child.try_wait()
            && let Some(process) = Process::open(self.child.id())
        {
            process.signal(Signal::TERM);
            process.wait(LAST_WORDS);
        }
        // Both fail only when the program was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Finished {
    command: Command,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Finished {
    /// What was run.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// The exit code as a shell shows it: 128 + n for a program that signal n killed.
    pub fn code(&self) -> i32 {
        self.status.code().or(self.status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fail the test unless the program ended with `code`.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code of {self}");
        self
    }

    /// Fail the test unless the program ended with 0.
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} ({})", self.command, self.status)?;
        write!(formatter, "\n--- stdout\n{}\n--- stderr\n{}", self.out(), self.err())
    }
}

/// The same program in the same surroundings, with these words.
pub(crate) fn with_words(command: &Command, words: &[&OsStr]) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(words);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        again.current_dir(folder);
    }
    again
}

/// Run `command` to its end with nothing on its stdin.
pub fn run(command: &mut Command) -> Finished {
    Running::start(command).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_code_are_kept_apart() {
        let done = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 7"]));
        assert_eq!((done.out().as_str(), done.err().as_str(), done.code()), ("out\n", "err\n", 7));
    }

    #[test]
    fn a_killed_program_has_the_code_a_shell_shows() {
        assert_eq!(run(Command::new("sh").args(["-c", "kill -9 $$"])).code(), 137);
    }

    #[test]
    fn input_reaches_the_program() {
        let mut cat = Running::start(&mut Command::new("cat"));
        assert!(cat.write(b"hello"));
        cat.wait_for_stdout("hello");
        assert_eq!(cat.finish().out(), "hello");
    }

    #[test]
    #[should_panic(expected = "still running after")]
    fn a_program_that_hangs_fails_the_test() {
        let _ = Running::start(Command::new("sleep").arg("60"))
            .finish_within(Duration::from_millis(50));
    }
}
