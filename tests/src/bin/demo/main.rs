//! `make demo`: a container without a single tool, and the node's tools inside it.
//!
//! Everything is real and thrown away afterwards: a containerd, a container, a wire to it. The exit code is 0
//! only if every step showed what it claims.

mod screen;
mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use screen::Screen;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        screen::failure(panic.payload_as_str().unwrap_or("a defect of the demo itself"));
    }));
    let screen = Screen::new(interruption());
    // What a step started is ended by its guards, whether it comes to its end or not.
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story::tell(&screen)));
    screen.verdict(told.is_ok())
}

/// Set by Ctrl-C or a request to end: the story stops at the next step, and everything is cleared away.
fn interruption() -> Arc<AtomicBool> {
    let asked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&asked);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime on a thread of its own");
    std::thread::spawn(move || {
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [mut interrupt, mut terminate, mut hangup] =
                kinds.map(|kind| signal(kind).expect("a signal can be listened for"));
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                flag.store(true, Ordering::SeqCst);
            }
        });
    });
    asked
}
