//! Signals to us: those that end a session, so that it can say goodbye and restore the terminal, and those
//! that are only passed on to its tool.
//!
//! One that our parent told us to ignore (`nohup`, a job in the background) stays ignored.

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(not(unix))]
pub(crate) use other::Signals;

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{Signal as Heard, SignalKind, signal};
    use wire::Signal;

    use crate::ending::is_ending;

    pub(crate) struct Signals(Vec<(Signal, Heard)>);

    impl Signals {
        /// Those that end a session; and all others where they can be passed on to its tool.
        pub(crate) fn listen(passes_on: bool) -> io::Result<Self> {
            let ignored = ignored();
            let heard = Signal::ALL.into_iter().filter_map(|of| {
                let kind = kind(of);
                let is_ignored = ignored & (1 << (kind.as_raw_value() - 1)) != 0;
                let is_wanted = passes_on || is_ending(of);
                (is_wanted && !is_ignored).then(|| Ok((of, signal(kind)?)))
            });
            heard.collect::<io::Result<_>>().map(Self)
        }

        pub(crate) async fn next(&mut self) -> Signal {
            std::future::poll_fn(|context| {
                for (signal, heard) in &mut self.0 {
                    if heard.poll_recv(context).is_ready() {
                        return std::task::Poll::Ready(*signal);
                    }
                }
                std::task::Poll::Pending
            })
            .await
        }
    }

    /// By the number that this system has for it.
    fn kind(signal: Signal) -> SignalKind {
        match signal {
            Signal::Hup => SignalKind::hangup(),
            Signal::Int => SignalKind::interrupt(),
            Signal::Quit => SignalKind::quit(),
            Signal::Usr1 => SignalKind::user_defined1(),
            Signal::Usr2 => SignalKind::user_defined2(),
            Signal::Term => SignalKind::terminate(),
        }
    }

    /// The set of ignored signals, as far as the system tells.
    fn ignored() -> u64 {
        // Only Linux says it in a file, and asking the kernel directly needs `unsafe`.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
    }
}

#[cfg(not(unix))]
mod other {
    use std::io;

    use wire::Signal;

    /// Ctrl-C is the only one that there is.
    pub(crate) struct Signals;

    impl Signals {
        #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
        pub(crate) fn listen(_: bool) -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) async fn next(&mut self) -> Signal {
            match tokio::signal::ctrl_c().await {
                Ok(()) => Signal::Int,
                Err(_) => std::future::pending().await,
            }
        }
    }
}
