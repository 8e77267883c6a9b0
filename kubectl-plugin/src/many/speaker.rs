//! What one of many pods says, from its session to the printer: in whole lines, each behind its name.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::lines::{LineEnd, Lines};
use super::printer::{Block, Printer};
use crate::output;
use crate::stdio::{OutputError, Piece, Sink};

/// A line that has not ended is shown on a terminal after this long without more of it: it may be a question.
const QUIET: Duration = Duration::from_millis(200);
/// Bytes of output that are made lines at once: each may be a line, and then has a prefix.
const SLICE: usize = 4 << 10;
/// Bytes of lines that are written together.
const BLOCK: usize = 64 << 10;
/// Bytes of stdout in which a NUL means that it is no text.
const LOOKED_AT: u64 = 4 << 10;

/// What stands behind a part of a line that goes on.
const GOES_ON: &[u8] = " …".as_bytes();

/// How lines are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// stdout is a terminal: what it would obey is taken out, and a line is shown before it ends.
    pub(crate) is_terminal: bool,
    /// Several pods share an output, which is therefore for text only.
    pub(crate) is_shared: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SpeakerError {
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("binary output of several pods cannot be told apart")]
    Binary,
}

/// Bytes of a session's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

#[derive(Debug)]
pub(crate) struct Speaker {
    printer: Arc<Printer>,
    style: Style,
    who: usize,
    prefix: String,
    counts: Counts,
    stdout: Lines,
    stderr: Lines,
}

impl Speaker {
    pub(crate) fn of(printer: Arc<Printer>, style: Style, who: usize, prefix: String) -> Self {
        let (stdout, stderr) = (Lines::default(), Lines::default());
        Self { printer, style, who, prefix, counts: Counts::default(), stdout, stderr }
    }

    /// Says all that comes, to its end.
    pub(crate) async fn hear(
        mut self,
        mut output: mpsc::Receiver<Piece>,
    ) -> Result<Counts, SpeakerError> {
        loop {
            let waits =
                self.style.is_terminal && (self.stdout.has_partial() || self.stderr.has_partial());
            let patience = if waits { QUIET } else { Duration::MAX };
            match timeout(patience, output.recv()).await {
                Err(_) => self.show_partial().await?,
                Ok(Some(piece)) => self.take(&piece).await?,
                Ok(None) => return self.end().await,
            }
        }
    }

    async fn take(&mut self, piece: &Piece) -> Result<(), SpeakerError> {
        self.look_for_binary(piece)?;
        let mut block = Vec::new();
        for slice in piece.bytes.chunks(SLICE) {
            let (lines, prefix, style) = match piece.to {
                Sink::Stdout => (&mut self.stdout, &self.prefix, self.style),
                Sink::Stderr => (&mut self.stderr, &self.prefix, self.style),
            };
            lines.feed(slice, |text, end| write_line(&mut block, prefix, text, end, style));
            if block.len() >= BLOCK {
                self.print(piece.to, std::mem::take(&mut block), false).await?;
            }
        }
        if block.is_empty() { Ok(()) } else { self.print(piece.to, block, false).await }
    }

    fn look_for_binary(&mut self, piece: &Piece) -> Result<(), SpeakerError> {
        let length = piece.bytes.len() as u64;
        if piece.to == Sink::Stderr {
            self.counts.stderr += length;
            return Ok(());
        }
        let left = LOOKED_AT.saturating_sub(self.counts.stdout).min(length);
        self.counts.stdout += length;
        let looked_at = piece.bytes.iter().take(usize::try_from(left).unwrap_or(usize::MAX));
        if self.style.is_shared && looked_at.into_iter().any(|byte| *byte == 0) {
            return Err(SpeakerError::Binary);
        }
        Ok(())
    }

    async fn show_partial(&mut self) -> Result<(), SpeakerError> {
        for to in [Sink::Stdout, Sink::Stderr] {
            let lines = if to == Sink::Stdout { &mut self.stdout } else { &mut self.stderr };
            let mut block = Vec::new();
            let (prefix, style) = (&self.prefix, self.style);
            lines.so_far(|text, _| write_text(&mut block, prefix, text, style));
            if !block.is_empty() {
                self.print(to, block, true).await?;
            }
        }
        Ok(())
    }

    async fn end(mut self) -> Result<Counts, SpeakerError> {
        for to in [Sink::Stdout, Sink::Stderr] {
            let lines = if to == Sink::Stdout { &mut self.stdout } else { &mut self.stderr };
            let (lines, mut block) = (std::mem::take(lines), Vec::new());
            lines.end(|text, end| write_line(&mut block, &self.prefix, text, end, self.style));
            if !block.is_empty() {
                self.print(to, block, false).await?;
            }
        }
        Ok(self.counts)
    }

    async fn print(&self, to: Sink, bytes: Vec<u8>, is_open: bool) -> Result<(), SpeakerError> {
        let block = Block { who: self.who, to, bytes, prefix: self.prefix.len(), is_open };
        Ok(self.printer.print(block).await?)
    }
}

fn write_line(block: &mut Vec<u8>, prefix: &str, text: &[u8], end: LineEnd, style: Style) {
    write_text(block, prefix, text, style);
    if end == LineEnd::GoesOn {
        block.extend_from_slice(GOES_ON);
    }
    block.push(b'\n');
}

fn write_text(block: &mut Vec<u8>, prefix: &str, text: &[u8], style: Style) {
    block.extend_from_slice(prefix.as_bytes());
    // Behind a name, no byte of a pod may move the cursor to it or write what another pod seems to say.
    if style.is_terminal && !prefix.is_empty() {
        block.extend_from_slice(output::in_one_line(&String::from_utf8_lossy(text)).as_bytes());
    } else {
        block.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::Output;

    const FILE: Style = Style { is_terminal: false, is_shared: true };

    /// What is written when `pieces` come, each of one of the pods `a`, `b`, `c` to one of the streams.
    fn said(style: Style, pieces: &[(usize, Sink, &[u8])]) -> Result<Vec<Piece>, SpeakerError> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().expect("a runtime").block_on(async {
            let (queue, mut written) = mpsc::channel(10_000);
            let printer = Arc::new(Printer::of(Output::queued(queue)));
            let mut speakers: Vec<_> = ["a", "b", "c"]
                .iter()
                .enumerate()
                .map(|(who, name)| {
                    Speaker::of(Arc::clone(&printer), style, who, format!("{name}: "))
                })
                .collect();
            for (who, to, bytes) in pieces {
                let piece = Piece { to: *to, bytes: bytes.to_vec().into() };
                speakers[*who].take(&piece).await?;
            }
            for speaker in speakers {
                speaker.end().await?;
            }
            printer.close().await;
            let mut all = Vec::new();
            while let Some(piece) = written.recv().await {
                all.push(piece);
            }
            Ok(all)
        })
    }

    /// The lines of `name` in `written` to `to`, without its prefix.
    fn of(written: &[Piece], to: Sink, name: &str) -> Vec<u8> {
        let all: Vec<u8> = written
            .iter()
            .filter(|piece| piece.to == to)
            .flat_map(|piece| piece.bytes.to_vec())
            .collect();
        let prefix = format!("{name}: ").into_bytes();
        let lines = all.split_inclusive(|byte| *byte == b'\n');
        lines.filter_map(|line| line.strip_prefix(&prefix[..])).flatten().copied().collect()
    }

    #[test]
    fn in_any_order_of_pieces_each_pod_s_lines_are_whole_and_in_order() {
        let text = |pod: usize, to: Sink| -> Vec<u8> {
            (0..40)
                .flat_map(|n| format!("{pod} {to} {n} {}\n", "x".repeat(n * pod)).into_bytes())
                .collect()
        };
        // A generator of the same numbers each time: which pod goes on, and by how many bytes.
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(seed >> 33).expect("it fits") % below
        };
        for _ in 0..50 {
            let mut left: Vec<_> = (0..3)
                .flat_map(|pod| [Sink::Stdout, Sink::Stderr].map(|to| (pod, to, text(pod, to))))
                .collect();
            let mut pieces = Vec::new();
            while !left.is_empty() {
                let at = random(left.len());
                let (pod, to, rest) = &mut left[at];
                let size = (1 + random(97)).min(rest.len());
                pieces.push((*pod, *to, rest.drain(..size).collect::<Vec<u8>>()));
                if left[at].2.is_empty() {
                    left.remove(at);
                }
            }
            let pieces: Vec<_> =
                pieces.iter().map(|(pod, to, bytes)| (*pod, *to, &bytes[..])).collect();
            let written = said(FILE, &pieces).expect("text");
            for (pod, name) in ["a", "b", "c"].iter().enumerate() {
                for to in [Sink::Stdout, Sink::Stderr] {
                    assert!(of(&written, to, name) == text(pod, to), "{name} on {to}");
                }
            }
        }
    }

    #[test]
    fn a_last_line_without_an_end_gets_one() {
        let written = said(FILE, &[(0, Sink::Stdout, b"one"), (1, Sink::Stdout, b"two")]);
        let written = written.expect("text");
        assert_eq!(
            (of(&written, Sink::Stdout, "a"), of(&written, Sink::Stdout, "b")),
            (b"one\n".to_vec(), b"two\n".to_vec())
        );
    }

    #[test]
    fn on_a_terminal_no_pod_moves_the_cursor() {
        let style = Style { is_terminal: true, is_shared: true };
        let hostile = b"\x1b[1A\x1b[2Kb: all is well\r\n\xe2\x80\xaetxt\n";
        let written = said(style, &[(0, Sink::Stdout, hostile)]).expect("text");
        assert_eq!(of(&written, Sink::Stdout, "a"), b"[1A[2Kb: all is well\n\\u{202e}txt\n");
        let written = said(FILE, &[(0, Sink::Stdout, hostile)]).expect("text");
        assert_eq!(of(&written, Sink::Stdout, "a"), hostile);
    }

    #[test]
    fn binary_output_of_several_pods_is_refused_and_of_one_is_not() {
        let pieces = [(0, Sink::Stdout, &b"\x7fELF\x00"[..])];
        assert!(matches!(said(FILE, &pieces), Err(SpeakerError::Binary)));
        assert!(said(Style { is_shared: false, ..FILE }, &pieces).is_ok());
        assert!(said(FILE, &[(0, Sink::Stderr, &b"\x00"[..])]).is_ok());
        let text = vec![b'x'; 4 << 10];
        assert!(said(FILE, &[(0, Sink::Stdout, &text), (0, Sink::Stdout, b"\x00")]).is_ok());
    }
}
