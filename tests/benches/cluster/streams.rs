//! What flows: a gibibyte to a client that drops it, and keys that come back.

use std::process::Command;
use std::time::Duration;

use harness::{Terminal, until};

use crate::stage::{Stage, succeed};
use crate::table::{Reach, Row, few_pairs, timed};

/// Of a gibibyte each; theirs takes ten seconds.
const COPIES: usize = 5;
/// What writes a gibibyte of nothing, in writes as large.
const OURS: [&str; 5] = ["dd", "if=/dev/zero", "bs=65536", "count=16384", "status=none"];
const THEIRS: [&str; 2] = ["pour", "1024"];

const KEYS: usize = 200;
/// A client asks for a terminal as it starts its session.
const START: Duration = Duration::from_secs(30);

pub(crate) fn rows(stage: &Stage) -> Vec<Row> {
    vec![keystrokes(stage), copies(stage)]
}

fn copies(stage: &Stage) -> Row {
    let ours = || succeed(stage.nsdebug(&[], &OURS));
    let pairs = few_pairs(COPIES, ours, || succeed(stage.exec(&[], &THEIRS)));
    let measure = format!("1 GiB to the client, speed, kubectl exec, {COPIES} pairs");
    Row::of_speeds(&measure, &pairs, Reach::AtLeast(3.5))
}

/// The terminal on the node echoes, whatever reads from it.
fn keystrokes(stage: &Stage) -> Row {
    let mut ours = Typist::start(&stage.nsdebug(&["-it"], &["cat"]));
    let mut theirs = Typist::start(&stage.exec(&["-it"], &["pause"]));
    let mut pair = || (timed(&mut || ours.press()), timed(&mut || theirs.press()));
    pair();
    let pairs: Vec<_> = (0..KEYS).map(|_| pair()).collect();
    Row::of_times("a key's echo, against kubectl exec -it", &pairs, Reach::AtMost(1.0))
}

struct Typist {
    terminal: Terminal,
    shown: usize,
}

impl Typist {
    fn start(command: &Command) -> Self {
        let terminal = Terminal::start(command, 24, 80);
        // Until then the near end would echo.
        until("the terminal to be the tool's", START, || {
            terminal.settings().contains("-icanon") && terminal.settings().contains("-echo ")
        });
        let mut typist = Self { terminal, shown: 0 };
        typist.press();
        typist
    }

    fn press(&mut self) {
        self.terminal.press("x");
        self.shown = self.terminal.wait_for_more_than(self.shown);
    }
}
