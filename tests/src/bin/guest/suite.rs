//! All tests that run over there, and how their results come back: a line each, over a wire of their own.

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::kernel::{END, NOT_OK, OK};

use crate::{apparmor, groups, host_tools, toolbox, yama};

const RESULTS: &str = "/dev/ttyS1";

/// Longer than the harness lets any program run.
const STUCK: Duration = Duration::from_secs(70);

pub(crate) type Test = (&'static str, fn());

/// In this order: the last of Yama's cannot be undone.
const SUITES: [&[Test]; 5] =
    [&host_tools::TESTS, &toolbox::TESTS, &groups::TESTS, &apparmor::TESTS, &yama::TESTS];

pub(crate) fn run() -> ExitCode {
    groups::arrange();
    let mut results = File::options().write(true).open(RESULTS).expect("a second serial line");
    let panics = Arc::new(Mutex::new(String::new()));
    let last = Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |panic| {
        *last.lock().expect("nobody panics in here") = panic.to_string();
    }));
    let progress = Arc::new(AtomicUsize::new(0));
    let watched = Arc::clone(&progress);
    std::thread::spawn(move || watch(&watched));
    for (name, test) in SUITES.into_iter().flatten() {
        progress.fetch_add(1, Ordering::Relaxed);
        let started = std::time::Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        let why = std::mem::take(&mut *panics.lock().expect("nobody panics in here"));
        let line = if passed {
            format!("{OK}{name}")
        } else {
            format!("{NOT_OK}{name}: {}", why.replace('\n', " | "))
        };
        log(&format!("{line} ({:.1?})", started.elapsed()));
        results.write_all(format!("{line}\n").as_bytes()).expect("the line takes it");
    }
    results.write_all(format!("{END}\n").as_bytes()).expect("the line takes it");
    results.sync_all().ok();
    rustix::termios::tcdrain(&results).ok();
    ExitCode::SUCCESS
}

/// Has the kernel say what it waits for, once a test takes longer than any program of it may.
fn watch(progress: &AtomicUsize) {
    loop {
        let before = progress.load(Ordering::Relaxed);
        std::thread::sleep(STUCK);
        if progress.load(Ordering::Relaxed) == before {
            // Blocked tasks, and what the processors do; both go to the log.
            for (file, text) in
                [("sys/kernel/printk", "8"), ("sysrq-trigger", "w"), ("sysrq-trigger", "l")]
            {
                let _ = std::fs::write(format!("/proc/{file}"), text);
            }
            return;
        }
    }
}

/// For the reader of a failure.
pub(crate) fn log(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
