//! What becomes of the output of one of many pods: said at once, kept until all have answered, or written to files.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::files::{FileError, Files};
use super::kept::{Counts, Kept, Rest};
use super::member::Member;
use super::speaker::Speaker;
use crate::stdio::{OutputError, Piece, Sink};

/// A line that has not ended is shown on a terminal after this long without more of it: it may be a question.
const QUIET: Duration = Duration::from_millis(200);
/// Bytes of stdout in which a NUL means that it is no text.
const LOOKED_AT: u64 = 4 << 10;
/// Bytes of a last line.
const LAST: usize = 1 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("binary output of several pods cannot be told apart")]
    Binary,
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whether output that is kept is said after all, because sessions go on for too long or say too much.
#[derive(Clone, Debug)]
pub(crate) struct Unfolding(watch::Sender<bool>);

impl Unfolding {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when it has begun.
    pub(crate) fn begins(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut seen = self.0.subscribe();
        async move {
            if seen.wait_for(|begun| *begun).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// What is done with the output.
#[derive(Debug)]
pub(crate) enum Use {
    Say(Speaker),
    /// Until the end, or until it is said after all.
    Keep {
        kept: Kept,
        rest: Box<Rest>,
        unless: Option<(Unfolding, Speaker)>,
    },
    /// Only the last line is kept.
    Tail(Tail),
    /// To files, which are made when the session is open: a pod may be refused, and asked again.
    Write {
        folder: PathBuf,
        files: Option<Files>,
    },
}

impl Use {
    pub(crate) fn keep(state: &RandomState, unless: Option<(Unfolding, Speaker)>) -> Self {
        Self::Keep { kept: Kept::default(), rest: Box::new(Rest::of(state)), unless }
    }
}

/// What a pod said, as far as it is known at its end.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) counts: Counts,
    pub(crate) kept: Option<KeptAnswer>,
    pub(crate) last: String,
}

#[derive(Debug)]
pub(crate) struct KeptAnswer {
    pub(crate) pieces: Kept,
    pub(crate) left_out: u64,
    pub(crate) mark: [u64; 2],
}

#[derive(Debug)]
pub(crate) struct Listener {
    to: Use,
    /// Several pods share an output, which is therefore for text only.
    is_shared: bool,
    counts: Counts,
}

impl Listener {
    pub(crate) fn of(to: Use, is_shared: bool) -> Self {
        Self { to, is_shared, counts: Counts::default() }
    }

    /// The session in `member` is open.
    pub(crate) fn begin(mut self, member: &Member) -> Result<Self, ListenError> {
        if let Use::Write { folder, files } = &mut self.to {
            *files = Some(Files::create(folder, member)?);
        }
        Ok(self)
    }

    /// Takes all that comes, to its end.
    pub(crate) async fn hear(
        mut self,
        mut output: mpsc::Receiver<Piece>,
    ) -> Result<Said, ListenError> {
        loop {
            let patience = match &self.to {
                Use::Say(speaker) if speaker.may_show_partial() => QUIET,
                _ => Duration::MAX,
            };
            let unfolds = match &self.to {
                Use::Keep { unless: Some((unfolding, _)), .. } => Some(unfolding.begins()),
                _ => None,
            };
            tokio::select! {
                piece = timeout(patience, output.recv()) => match piece {
                    Err(_) => self.show_partial().await?,
                    Ok(Some(piece)) => self.take(piece).await?,
                    Ok(None) => return self.end().await,
                },
                () = optional(unfolds) => self.unfold().await?,
            }
        }
    }

    async fn take(&mut self, piece: Piece) -> Result<(), ListenError> {
        self.count(&piece)?;
        match &mut self.to {
            Use::Say(speaker) => Ok(speaker.take(&piece).await?),
            Use::Tail(tail) => {
                tail.take(&piece);
                Ok(())
            }
            Use::Write { files, .. } => write(files, piece).await,
            Use::Keep { kept, rest, unless } => {
                rest.add(&piece);
                let Some(more) = kept.add(piece) else { return Ok(()) };
                let Some((unfolding, _)) = unless else { return Ok(()) };
                unfolding.begin();
                self.unfold().await?;
                match &mut self.to {
                    Use::Say(speaker) => Ok(speaker.take(&more).await?),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Looks for what is no text while it counts.
    fn count(&mut self, piece: &Piece) -> Result<(), ListenError> {
        let length = piece.bytes.len() as u64;
        if piece.to == Sink::Stderr {
            self.counts.stderr += length;
            return Ok(());
        }
        let left = LOOKED_AT.saturating_sub(self.counts.stdout).min(length);
        self.counts.stdout += length;
        let mut looked_at = piece.bytes.iter().take(usize::try_from(left).unwrap_or(usize::MAX));
        if self.is_shared && looked_at.any(|byte| *byte == 0) {
            return Err(ListenError::Binary);
        }
        Ok(())
    }

    async fn show_partial(&mut self) -> Result<(), ListenError> {
        match &mut self.to {
            Use::Say(speaker) => Ok(speaker.show_partial().await?),
            _ => Ok(()),
        }
    }

    /// Says what was kept, and all that follows.
    async fn unfold(&mut self) -> Result<(), ListenError> {
        if let Use::Keep { kept, unless, .. } = &mut self.to
            && let Some((_, mut speaker)) = unless.take()
        {
            for piece in std::mem::take(kept).into_pieces() {
                speaker.take(&piece).await?;
            }
            self.to = Use::Say(speaker);
        }
        Ok(())
    }

    async fn end(self) -> Result<Said, ListenError> {
        let mut said = Said { counts: self.counts, ..Said::default() };
        match self.to {
            Use::Say(speaker) => speaker.end().await?,
            Use::Keep { kept, rest, .. } => {
                let left_out = rest.bytes - kept.bytes();
                said.kept = Some(KeptAnswer { left_out, mark: rest.mark(), pieces: kept });
            }
            Use::Tail(tail) => said.last = tail.last(),
            Use::Write { .. } => {}
        }
        Ok(said)
    }
}

async fn optional(future: Option<impl Future<Output = ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// On a thread of its own: a disk may take its time, and the other pods should not wait for it.
async fn write(files: &mut Option<Files>, piece: Piece) -> Result<(), ListenError> {
    let Some(mut own) = files.take() else { return Ok(()) };
    let written = tokio::task::spawn_blocking(move || own.write(&piece).map(|()| own)).await;
    *files = Some(written.map_err(|_| OutputError::Gone)??);
    Ok(())
}

/// The last line of each stream that is not empty.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    stdout: TailLine,
    stderr: TailLine,
}

#[derive(Debug, Default)]
struct TailLine {
    ended: Vec<u8>,
    open: Vec<u8>,
}

impl Tail {
    fn take(&mut self, piece: &Piece) {
        match piece.to {
            Sink::Stdout => self.stdout.take(&piece.bytes),
            Sink::Stderr => self.stderr.take(&piece.bytes),
        }
    }

    fn last(self) -> String {
        let [stdout, stderr] = [self.stdout, self.stderr].map(TailLine::last);
        let last = if stdout.is_empty() { stderr } else { stdout };
        String::from_utf8_lossy(&last).into_owned()
    }
}

impl TailLine {
    fn take(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        self.add(lines.next().unwrap_or_default());
        for line in lines {
            if !self.open.is_empty() {
                self.ended = std::mem::take(&mut self.open);
            }
            self.add(line);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LAST.saturating_sub(self.open.len()).min(bytes.len());
        self.open.extend_from_slice(&bytes[..room]);
    }

    fn last(self) -> Vec<u8> {
        if self.open.is_empty() { self.ended } else { self.open }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::KEPT;
    use super::*;

    fn heard(to: Use, is_shared: bool, pieces: &[(Sink, &[u8])]) -> Result<Said, ListenError> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().expect("a runtime").block_on(async {
            let (send, receive) = mpsc::channel(pieces.len() + 1);
            for (to, bytes) in pieces {
                let piece = Piece { to: *to, bytes: bytes.to_vec().into() };
                send.send(piece).await.expect("a queue");
            }
            drop(send);
            Listener::of(to, is_shared).hear(receive).await
        })
    }

    #[test]
    fn binary_output_of_several_pods_is_refused_and_of_one_is_not() {
        let tail = || Use::Tail(Tail::default());
        let pieces = [(Sink::Stdout, &b"\x7fELF\x00"[..])];
        assert!(matches!(heard(tail(), true, &pieces), Err(ListenError::Binary)));
        assert!(heard(tail(), false, &pieces).is_ok());
        assert!(heard(tail(), true, &[(Sink::Stderr, b"\x00")]).is_ok());
        let text = vec![b'x'; 4 << 10];
        assert!(heard(tail(), true, &[(Sink::Stdout, &text), (Sink::Stdout, b"\x00")]).is_ok());
    }

    #[test]
    fn the_last_line_that_is_not_empty_is_known_however_it_comes() {
        let text = b"one\ntwo\nlast line\n\n";
        for size in 1..text.len() {
            let pieces: Vec<_> = text.chunks(size).map(|piece| (Sink::Stdout, piece)).collect();
            let said = heard(Use::Tail(Tail::default()), true, &pieces).expect("text");
            assert_eq!((said.last.as_str(), said.counts.stdout), ("last line", 19));
        }
        let said = heard(Use::Tail(Tail::default()), true, &[(Sink::Stderr, b"no such file")]);
        assert_eq!(said.expect("text").last, "no such file");
    }

    #[test]
    fn what_is_too_much_to_be_kept_is_marked_and_counted() {
        let state = RandomState::new();
        let said = |size: usize, last: &[u8]| {
            let text = [&vec![b'x'; KEPT], last].concat();
            let pieces: Vec<_> = text.chunks(size).map(|piece| (Sink::Stdout, piece)).collect();
            heard(Use::keep(&state, None), true, &pieces).expect("text").kept.expect("an answer")
        };
        let one = said(100 << 10, b"123");
        for size in [4 << 10, 60 << 10, 1 << 20] {
            let other = said(size, b"123");
            assert_eq!((other.left_out, other.mark), (3, one.mark), "in pieces of {size}");
            assert!(other.pieces.of(Sink::Stdout) == vec![b'x'; KEPT], "in pieces of {size}");
        }
        assert_ne!(one.mark, said(100 << 10, b"124").mark);
    }
}
