//! Our own stdin, stdout and stderr: blocking calls on threads of their own, behind short queues.
//!
//! The threads are never waited for at exit: one may sit in a `read` that nobody will answer.
//! Bytes of the tool pass here unchanged and unread.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wire::limits;

/// Pieces of output that wait for a slow reader, past which the agent is made to wait: a few
/// milliseconds at full speed, and at most 16 MiB with the largest messages that are accepted.
const OUTPUT_QUEUE: usize = 16;

/// Pieces of stdin that wait for the socket: one on its way, one ready.
const INPUT_QUEUE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Stdout,
    Stderr,
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// A part of the tool's output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) to: Sink,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("cannot open our own stdout or stderr")]
    Open(#[source] io::Error),
    #[error("cannot start a thread for the output")]
    Thread(#[source] io::Error),
    #[error("cannot write to {to}")]
    Write {
        to: Sink,
        #[source]
        source: io::Error,
    },
    #[error("the thread that writes the output has ended")]
    Gone,
}

impl OutputError {
    /// The reader of our output has had enough, which is no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == ErrorKind::BrokenPipe)
    }
}

/// The end of all output: everything is written, or why not.
#[derive(Debug)]
pub(crate) struct Finished(Option<oneshot::Receiver<Result<(), OutputError>>>);

impl Finished {
    /// The reader of the queue sees the end by itself.
    pub(crate) fn is_elsewhere() -> Self {
        Self(None)
    }

    /// Safe to be dropped and called again, until it has returned.
    pub(crate) async fn wait(&mut self) -> Result<(), OutputError> {
        match &mut self.0 {
            Some(finished) => finished.await.unwrap_or(Err(OutputError::Gone)),
            None => Ok(()),
        }
    }
}

/// Where the tool's output goes: at once where that takes no waiting, through a queue where it does.
///
/// Both streams share one queue, so that what a terminal shows is in the order of the tool.
#[derive(Debug)]
pub(crate) struct Output {
    queue: mpsc::Sender<Piece>,
    /// Pieces that are in the queue or being written. While there are any, the others wait behind.
    behind: Arc<AtomicUsize>,
    direct: Option<direct::Files>,
}

impl Output {
    /// Everything goes through `queue`.
    pub(crate) fn queued(queue: mpsc::Sender<Piece>) -> Self {
        Self { queue, behind: Arc::default(), direct: None }
    }

    /// Puts an empty piece behind all that came so far: an answer to a question of the reader of the queue.
    pub(crate) async fn mark(&mut self) -> Result<(), OutputError> {
        let piece = Piece { to: Sink::Stdout, bytes: Bytes::new() };
        self.queue.send(piece).await.map_err(|_| OutputError::Gone)
    }

    /// Writes `piece`, or has it written. Fails where nothing more will ever be.
    pub(crate) async fn write(&mut self, piece: Piece) -> Result<(), OutputError> {
        let Piece { to, mut bytes } = piece;
        // A queue and a thread for each piece would cost more than the writing.
        if let Some(direct) = &self.direct
            && self.behind.load(Ordering::Acquire) == 0
        {
            let written = direct.write(to, &bytes);
            drop(bytes.split_to(written));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.behind.fetch_add(1, Ordering::AcqRel);
        self.queue.send(Piece { to, bytes }).await.map_err(|_| OutputError::Gone)
    }
}

/// Starts writing what is given to the [`Output`]; it is finished when that is dropped and empty.
pub(crate) fn write_output() -> Result<(Output, Finished), OutputError> {
    let (stdout, stderr) = unbuffered().map_err(OutputError::Open)?;
    let direct = direct::Files::of(&stdout, &stderr);
    let (queue, pieces) = mpsc::channel(OUTPUT_QUEUE);
    let (tell, finished) = oneshot::channel();
    let behind = Arc::<AtomicUsize>::default();
    let done = Arc::clone(&behind);
    let write = move || {
        // The session may be over already, and then nobody asks.
        let _ = tell.send(write_all(pieces, stdout, stderr, &done));
    };
    std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(write)
        .map_err(OutputError::Thread)?;
    Ok((Output { queue, behind, direct }, Finished(Some(finished))))
}

fn write_all(
    mut pieces: mpsc::Receiver<Piece>,
    mut stdout: File,
    mut stderr: File,
    behind: &AtomicUsize,
) -> Result<(), OutputError> {
    while let Some(Piece { to, bytes }) = pieces.blocking_recv() {
        let file = match to {
            Sink::Stdout => &mut stdout,
            Sink::Stderr => &mut stderr,
        };
        write_piece(file, &bytes).map_err(|source| OutputError::Write { to, source })?;
        behind.fetch_sub(1, Ordering::AcqRel);
    }
    Ok(())
}

/// `write_all` that also waits for a descriptor which another program made non-blocking.
pub(crate) fn write_piece(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => ready::to_write(file)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Starts reading stdin. The queue ends with the input, or after an error.
pub(crate) fn read_input() -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (queue, input) = mpsc::channel(INPUT_QUEUE);
    let read = move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; limits::FRAME - 1]; // the channel byte is added later
        loop {
            let piece = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(buffer[..read].to_vec()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => match ready::to_read() {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            let last = piece.is_err();
            if queue.blocking_send(piece).is_err() || last {
                return;
            }
        }
    };
    std::thread::Builder::new().name("input".to_owned()).spawn(read)?;
    Ok(input)
}

/// stdout, for what is no tool's output as it came.
pub(crate) fn own_stdout() -> io::Result<File> {
    unbuffered().map(|(stdout, _)| stdout)
}

/// stdout and stderr past the line buffering of the standard library.
#[cfg(unix)]
fn unbuffered() -> io::Result<(File, File)> {
    use std::os::fd::AsFd;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    Ok((stdout.into(), stderr.into()))
}

#[cfg(windows)]
fn unbuffered() -> io::Result<(File, File)> {
    use std::os::windows::io::AsHandle;
    let stdout = io::stdout().as_handle().try_clone_to_owned()?;
    let stderr = io::stderr().as_handle().try_clone_to_owned()?;
    Ok((stdout.into(), stderr.into()))
}

/// Writing without ever waiting, whatever others have set on the descriptor: `pwritev2(2)` with
/// `RWF_NOWAIT`. Pipes, `/dev/null` and some file systems can; for the rest there is the queue.
#[cfg(target_os = "linux")]
mod direct {
    use std::fs::File;
    use std::io::IoSlice;

    use rustix::io::{ReadWriteFlags, pwritev2};

    use super::Sink;

    /// The offset that means: where the file stands.
    const HERE: u64 = u64::MAX;

    #[derive(Debug)]
    pub(super) struct Files {
        stdout: File,
        stderr: File,
    }

    impl Files {
        pub(super) fn of(stdout: &File, stderr: &File) -> Option<Self> {
            Some(Self { stdout: stdout.try_clone().ok()?, stderr: stderr.try_clone().ok()? })
        }

        /// How many of `bytes` could be written at once. What went wrong shows in the queue again.
        pub(super) fn write(&self, to: Sink, bytes: &[u8]) -> usize {
            let file = match to {
                Sink::Stdout => &self.stdout,
                Sink::Stderr => &self.stderr,
            };
            pwritev2(file, &[IoSlice::new(bytes)], HERE, ReadWriteFlags::NOWAIT).unwrap_or(0)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod direct {
    use std::convert::Infallible;
    use std::fs::File;

    use super::Sink;

    /// No other system writes without waiting to a descriptor that it shares.
    #[derive(Debug)]
    pub(super) struct Files(Infallible);

    impl Files {
        pub(super) fn of(_: &File, _: &File) -> Option<Self> {
            None
        }

        pub(super) fn write(&self, _: Sink, _: &[u8]) -> usize {
            match self.0 {}
        }
    }
}

/// Waiting for a descriptor that is non-blocking because a program beside us shares it.
#[cfg(unix)]
mod ready {
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};

    use rustix::event::{PollFd, PollFlags, poll};

    pub(super) fn to_write(file: &File) -> io::Result<()> {
        wait(file.as_fd(), PollFlags::OUT)
    }

    pub(super) fn to_read() -> io::Result<()> {
        wait(io::stdin().as_fd(), PollFlags::IN)
    }

    fn wait(fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<()> {
        match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(unix))]
mod ready {
    use std::fs::File;
    use std::io;

    pub(super) fn to_write(_: &File) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    pub(super) fn to_read() -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
