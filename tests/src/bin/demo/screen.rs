//! What the person sees: headings, commands as typed, their output, and whether each claim held.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the demo is made to be read")]

use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longer output is cut in the middle of a screen; the claims look at all of it.
const SHOWN_LINES: usize = 24;

/// The screen, and what was shown on it so far.
pub(crate) struct Screen {
    interrupted: Arc<AtomicBool>,
    steps: Cell<usize>,
    held: Cell<usize>,
    broken: RefCell<Vec<String>>,
}

impl Screen {
    pub(crate) fn new(interrupted: Arc<AtomicBool>) -> Self {
        Self { interrupted, steps: Cell::new(0), held: Cell::new(0), broken: RefCell::default() }
    }

    /// Begin the next step, unless the person had enough.
    pub(crate) fn step(&self, title: &str) {
        if self.interrupted.load(Ordering::SeqCst) {
            // As a panic, so that every guard does its work; without its message, as there is nothing to report.
            std::panic::resume_unwind(Box::new("interrupted"));
        }
        self.steps.set(self.steps.get() + 1);
        println!("\n{}. {title}", self.steps.get());
    }

    /// State something that was just shown, or admit that it was not.
    pub(crate) fn claim(&self, claim: &str, holds: bool) {
        println!("   {} {claim}", if holds { "ok:" } else { "NOT SHOWN:" });
        if holds {
            self.held.set(self.held.get() + 1);
        } else {
            self.broken.borrow_mut().push(claim.to_owned());
        }
    }

    /// The last line, and what the shell gets.
    pub(crate) fn verdict(&self, told_to_the_end: bool) -> ExitCode {
        let broken = self.broken.borrow();
        if self.interrupted.load(Ordering::SeqCst) {
            println!("\nInterrupted; everything was cleared away.");
            return ExitCode::from(130);
        }
        if told_to_the_end && broken.is_empty() {
            println!("\nAll {} claims were shown, and the node is as it was.", self.held.get());
            return ExitCode::SUCCESS;
        }
        let unfinished = if told_to_the_end { "" } else { "the story broke off; " };
        println!("\nFAILED: {unfinished}not shown: {}.", broken.join("; "));
        ExitCode::FAILURE
    }
}

pub(crate) fn say(text: &str) {
    println!("   {text}");
}

/// A command, as a person types it.
pub(crate) fn command(words: &str) {
    println!("   $ {words}");
}

pub(crate) fn output(text: &str) {
    let lines: Vec<_> = text.lines().collect();
    for line in lines.iter().take(SHOWN_LINES) {
        println!("   | {line}");
    }
    if lines.len() > SHOWN_LINES {
        println!("   | … {} more lines", lines.len() - SHOWN_LINES);
    }
}

/// Why the story broke off, from wherever it did.
pub(crate) fn failure(why: &str) {
    eprintln!("\ndemo: {why}");
}
