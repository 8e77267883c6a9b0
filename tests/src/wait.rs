//! Waiting for a condition: asked again and again until it holds or its time is up, never a blind sleep.

use std::time::{Duration, Instant};

/// How often a condition is asked: short against what is waited for, long against the cost of asking.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Wait until `condition` holds; `what` completes "waited … for".
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    until_some(what, limit, || condition().then_some(()));
}

/// Wait until `probe` has an answer.
pub fn until_some<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    patiently(limit, probe).unwrap_or_else(|| panic!("waited {limit:?} for {what}"))
}

/// As [`until_some`], for a caller who knows what to do without an answer.
pub(crate) fn patiently<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
