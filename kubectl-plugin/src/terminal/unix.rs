//! Raw mode by termios, sizes by SIGWINCH.
//!
//! What must be restored is kept where a panic can find it too.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wire::frame::Size;

use super::TerminalError;

/// The terminal's settings from before, while it is in raw mode.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A terminal on stdin that passes every key through.
#[must_use = "the terminal leaves raw mode when this is dropped"]
#[derive(Debug)]
pub(crate) struct RawTerminal(());

impl RawTerminal {
    pub(crate) fn enter() -> Result<Self, TerminalError> {
        restore_before_panic_message();
        let failed = |errno: rustix::io::Errno| TerminalError::Raw(errno.into());
        let before = tcgetattr(stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = Self(());
        tcsetattr(stdin(), OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(guard)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Nothing to do about a failure: the terminal itself is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}

/// A panic prints before any guard is dropped, and on any thread.
fn restore_before_panic_message() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            next(panic);
        }));
    });
}

/// The sizes that the terminal takes, the one it has now first.
#[derive(Debug)]
pub(crate) struct Resizes {
    signal: Signal,
    is_first: bool,
}

impl Resizes {
    pub(crate) fn watch() -> io::Result<Self> {
        Ok(Self { signal: signal(SignalKind::window_change())?, is_first: true })
    }

    pub(crate) async fn next(&mut self) -> Size {
        loop {
            if !std::mem::take(&mut self.is_first) && self.signal.recv().await.is_none() {
                return std::future::pending().await;
            }
            if let Some(size) = size() {
                return size;
            }
        }
    }
}

/// The terminal's size, unless it does not know it, as serial lines do not.
fn size() -> Option<Size> {
    let size = tcgetwinsize(stdin()).ok()?;
    let size = Size { width: size.ws_col, height: size.ws_row };
    (size.width > 0 && size.height > 0).then_some(size)
}
