//! What one of many pods says, from its session to the printer: in whole lines, each with its name.

use std::sync::Arc;

use super::json::JsonHead;
use super::lines::{LineEnd, Lines};
use super::printer::{Block, Printer};
use super::streams::ByStream;
use crate::output;
use crate::stdio::{OutputError, Piece, Sink};

/// Bytes of output that are made lines at once: each may be a line, and then has a prefix.
const SLICE: usize = 4 << 10;
/// Bytes of lines that are written together.
const BLOCK: usize = 64 << 10;
/// What stands behind a part of a line that goes on.
const GOES_ON: &[u8] = " …".as_bytes();

/// How lines are written.
#[derive(Clone, Debug)]
pub(crate) enum Tongue {
    /// Behind this. On a terminal, what it would obey is taken out, and a line is shown before it ends.
    Text { prefix: ByStream<String>, is_terminal: ByStream<bool> },
    /// As objects, all on stdout.
    Json(JsonHead),
}

#[derive(Debug)]
pub(crate) struct Speaker {
    printer: Arc<Printer>,
    tongue: Tongue,
    who: usize,
    stdout: Lines,
    stderr: Lines,
}

impl Speaker {
    pub(crate) fn of(printer: Arc<Printer>, tongue: Tongue, who: usize) -> Self {
        Self { printer, tongue, who, stdout: Lines::default(), stderr: Lines::default() }
    }

    /// Whether there is a line that has not ended, and whose beginning may be of use.
    pub(crate) fn may_show_partial(&self) -> bool {
        (self.stdout.has_partial() && self.tongue.is_on_screen(Sink::Stdout))
            || (self.stderr.has_partial() && self.tongue.is_on_screen(Sink::Stderr))
    }

    pub(crate) async fn take(&mut self, piece: &Piece) -> Result<(), OutputError> {
        let mut block = Vec::new();
        for slice in piece.bytes.chunks(SLICE) {
            let lines = match piece.to {
                Sink::Stdout => &mut self.stdout,
                Sink::Stderr => &mut self.stderr,
            };
            let tongue = &self.tongue;
            lines.feed(slice, |text, end| tongue.write_line(&mut block, piece.to, text, end));
            if block.len() >= BLOCK {
                self.print(piece.to, std::mem::take(&mut block), false).await?;
            }
        }
        self.print(piece.to, block, false).await
    }

    pub(crate) async fn show_partial(&mut self) -> Result<(), OutputError> {
        for to in [Sink::Stdout, Sink::Stderr] {
            if !self.tongue.is_on_screen(to) {
                continue;
            }
            let lines = if to == Sink::Stdout { &mut self.stdout } else { &mut self.stderr };
            let mut block = Vec::new();
            lines.so_far(|text, _| self.tongue.write_text(&mut block, to, text));
            self.print(to, block, true).await?;
        }
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<(), OutputError> {
        for to in [Sink::Stdout, Sink::Stderr] {
            let lines = if to == Sink::Stdout { &mut self.stdout } else { &mut self.stderr };
            let (lines, mut block) = (std::mem::take(lines), Vec::new());
            lines.end(|text, end| self.tongue.write_line(&mut block, to, text, end));
            self.print(to, block, false).await?;
        }
        Ok(())
    }

    async fn print(&self, to: Sink, bytes: Vec<u8>, is_open: bool) -> Result<(), OutputError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (to, prefix) = match &self.tongue {
            Tongue::Text { prefix, .. } => (to, prefix.of(to).len()),
            Tongue::Json(_) => (Sink::Stdout, 0),
        };
        self.printer.print(Block { who: self.who, to, bytes, prefix, is_open }).await
    }
}

impl Tongue {
    fn write_line(&self, block: &mut Vec<u8>, stream: Sink, text: &[u8], end: LineEnd) {
        if let Self::Json(head) = self {
            return block.extend_from_slice(&head.line(stream, text, end));
        }
        self.write_text(block, stream, text);
        if end == LineEnd::GoesOn {
            block.extend_from_slice(GOES_ON);
        }
        block.push(b'\n');
    }

    /// Whether a person may see what is written to `stream`.
    fn is_on_screen(&self, stream: Sink) -> bool {
        matches!(self, Self::Text { is_terminal, .. } if *is_terminal.of(stream))
    }

    fn write_text(&self, block: &mut Vec<u8>, stream: Sink, text: &[u8]) {
        let Self::Text { prefix, is_terminal } = self else { return };
        let (prefix, is_terminal) = (prefix.of(stream), is_terminal.of(stream));
        block.extend_from_slice(prefix.as_bytes());
        // Behind a name, no byte of a pod may move the cursor to it or write what another pod seems to say.
        if *is_terminal && !prefix.is_empty() {
            block.extend_from_slice(output::in_one_line(&String::from_utf8_lossy(text)).as_bytes());
        } else {
            block.extend_from_slice(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::stdio::Output;

    fn text(name: &str, is_terminal: ByStream<bool>) -> Tongue {
        let prefix = format!("{name}: ");
        Tongue::Text { prefix: ByStream { stdout: prefix.clone(), stderr: prefix }, is_terminal }
    }

    const SCREEN: ByStream<bool> = ByStream { stdout: true, stderr: true };
    const FILE: ByStream<bool> = ByStream { stdout: false, stderr: false };

    /// What is written when `pieces` come, each of one of the pods `a`, `b`, `c` to one of the streams.
    fn said(is_terminal: ByStream<bool>, pieces: &[(usize, Sink, &[u8])]) -> Vec<Piece> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().expect("a runtime").block_on(async {
            let (queue, mut written) = mpsc::channel(10_000);
            let printer = Arc::new(Printer::of(Output::queued(queue)));
            let mut speakers: Vec<_> = ["a", "b", "c"]
                .iter()
                .enumerate()
                .map(|(who, name)| Speaker::of(Arc::clone(&printer), text(name, is_terminal), who))
                .collect();
            for (who, to, bytes) in pieces {
                let piece = Piece { to: *to, bytes: bytes.to_vec().into() };
                speakers[*who].take(&piece).await.expect("a queue");
            }
            for speaker in speakers {
                speaker.end().await.expect("a queue");
            }
            printer.close().await;
            let mut all = Vec::new();
            while let Some(piece) = written.recv().await {
                all.push(piece);
            }
            all
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
            let written = said(FILE, &pieces);
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
        assert_eq!(
            (of(&written, Sink::Stdout, "a"), of(&written, Sink::Stdout, "b")),
            (b"one\n".to_vec(), b"two\n".to_vec())
        );
    }

    #[test]
    fn on_a_terminal_no_pod_moves_the_cursor() {
        let hostile = b"\x1b[1A\x1b[2Kb: all is well\r\n\xe2\x80\xaetxt\n";
        let written = said(SCREEN, &[(0, Sink::Stdout, hostile)]);
        assert_eq!(of(&written, Sink::Stdout, "a"), b"[1A[2Kb: all is well\n\\u{202e}txt\n");
        let written = said(FILE, &[(0, Sink::Stdout, hostile)]);
        assert_eq!(of(&written, Sink::Stdout, "a"), hostile);
    }

    #[test]
    fn each_stream_is_a_terminal_or_not_by_itself() {
        let hostile = b"\x1b[2Kb: all is well\r\n";
        let pieces = [(0, Sink::Stdout, &hostile[..]), (0, Sink::Stderr, &hostile[..])];
        let written = said(ByStream { stdout: false, stderr: true }, &pieces);
        assert_eq!(of(&written, Sink::Stdout, "a"), hostile);
        assert_eq!(of(&written, Sink::Stderr, "a"), b"[2Kb: all is well\n");
    }
}
