//! Signals that end a session on this side, so that it can say goodbye and restore the terminal.
//!
//! One that our parent told us to ignore (`nohup`, a job in the background) stays ignored.

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(not(unix))]
pub(crate) use other::Signals;

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// Ctrl-C, Ctrl-\, a plain `kill`, and the terminal that goes away.
    const ENDING: [SignalKind; 4] = [
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];

    pub(crate) struct Signals(Vec<(u8, Signal)>);

    impl Signals {
        pub(crate) fn listen() -> io::Result<Self> {
            let ignored = ignored();
            let heard = ENDING.into_iter().filter_map(|kind| {
                let number = u8::try_from(kind.as_raw_value()).ok()?;
                let is_ignored = ignored & (1 << (number - 1)) != 0;
                (!is_ignored).then(|| Ok((number, signal(kind)?)))
            });
            heard.collect::<io::Result<_>>().map(Self)
        }

        /// The number of the next one.
        pub(crate) async fn next(&mut self) -> u8 {
            std::future::poll_fn(|context| {
                for (number, signal) in &mut self.0 {
                    if signal.poll_recv(context).is_ready() {
                        return std::task::Poll::Ready(*number);
                    }
                }
                std::task::Poll::Pending
            })
            .await
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

    /// SIGINT: the only one that there is.
    const INTERRUPT: u8 = 2;

    pub(crate) struct Signals;

    impl Signals {
        #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
        pub(crate) fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) async fn next(&mut self) -> u8 {
            match tokio::signal::ctrl_c().await {
                Ok(()) => INTERRUPT,
                Err(_) => std::future::pending().await,
            }
        }
    }
}
