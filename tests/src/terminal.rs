//! A person at a terminal: a program on a pseudo-terminal, keys that are pressed, a screen that is read.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::captured::{Captured, contains};
use crate::process::Process;

/// As for any program of these tests, see `running`.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A program whose controlling terminal is ours; killed when dropped.
#[derive(Debug)]
#[must_use = "the program is killed when this is dropped"]
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Captured,
    /// Held so that the master never reports a hang-up before the program opened its end.
    line: File,
}

impl Terminal {
    /// Start `command` in a session of its own, on a terminal of `rows` and `columns`.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("the terminal is ours");
        unlockpt(&master).expect("the terminal can be unlocked");
        let name = ptsname(&master, Vec::new()).expect("the terminal has a name");
        let name = name.into_string().expect("terminals have plain names");
        let line = File::options().read(true).write(true).open(&name).expect("its other end opens");
        let keyboard = File::from(master);
        resize(&keyboard, rows, columns);
        let clone = |file: &File| file.try_clone().expect("a descriptor can be duplicated");
        // `setsid --ctty` does between fork and exec what safe Rust cannot.
        let mut on_terminal = Command::new("setsid");
        on_terminal.args(["--ctty", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        on_terminal.stdin(clone(&line)).stdout(clone(&line)).stderr(clone(&line));
        let child = on_terminal.spawn().expect("setsid starts");
        // The command still holds copies of the terminal's other end, which would hide its end.
        drop(on_terminal);
        Self { child, screen: Captured::from(clone(&keyboard)), keyboard, line }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Press keys: text as it is, `\r` for Enter, `\x03` for Ctrl-C.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Change the size of the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.keyboard, rows, columns);
    }

    /// Everything that was shown so far.
    pub fn shown(&self) -> String {
        self.screen.text()
    }

    /// Wait until `text` was shown.
    pub fn wait_for(&self, text: &str) {
        let found = self.screen.wait(TIME_LIMIT, |bytes| contains(bytes, text.as_bytes()));
        assert!(found, "{text:?} was never shown; what was:\n{}", self.shown());
    }

    /// Wait until more than `before` bytes were shown: how many there are then.
    pub fn wait_for_more_than(&self, before: usize) -> usize {
        let found = self.screen.wait(TIME_LIMIT, |bytes| bytes.len() > before);
        assert!(found, "nothing more was shown than:\n{}", self.shown());
        self.screen.bytes().len()
    }

    /// What `stty -a` says of the line: to see whether it was left in raw mode.
    pub fn settings(&self) -> String {
        let line = self.line.try_clone().expect("a descriptor can be duplicated");
        let answer = Command::new("stty").arg("-a").stdin(line).output().expect("stty starts");
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }

    /// Wait for the program's end: its exit code, and everything that was shown.
    pub fn finish(mut self) -> (i32, String) {
        use std::os::unix::process::ExitStatusExt;
        let in_time = Process::open(self.child.id()).is_none_or(|process| process.wait(TIME_LIMIT));
        assert!(in_time, "still running after {TIME_LIMIT:?}; shown:\n{}", self.shown());
        let status = self.child.wait().expect("an own child can be waited for");
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        (code, self.drained())
    }

    /// The whole screen once nobody can write to it any more.
    fn drained(&mut self) -> String {
        // The last own handle of the far end goes, and the master reads to its end.
        self.line = File::open("/dev/null").expect("/dev/null opens");
        self.screen.wait_for_end(Duration::from_secs(5));
        self.shown()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when the program was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &File, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_a_terminal_of_the_given_size() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "tty && stty size && read line && echo got:$line && stty size"]);
        let mut terminal = Terminal::start(&shell, 30, 100);
        terminal.wait_for("30 100");
        terminal.resize(40, 120);
        terminal.press("hello\r");
        let (code, shown) = terminal.finish();
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("/dev/pts/") && shown.contains("got:hello"), "{shown}");
        assert!(shown.contains("40 120"), "{shown}");
    }

    #[test]
    fn ctrl_c_reaches_the_program() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo waiting; exec sleep 60"]);
        let mut terminal = Terminal::start(&shell, 24, 80);
        terminal.wait_for("waiting");
        terminal.press("\x03");
        assert_eq!(terminal.finish().0, 130);
    }
}
