//! stdout and stderr, shared by many sessions: a block of one of them is written whole.
//!
//! While a reader of ours takes no more, all sessions wait for it, and so do their tools.

use tokio::sync::Mutex;

use crate::output;
use crate::stdio::{Output, OutputError, Piece, Sink};

/// Lines of one pod that are written together.
#[derive(Debug)]
pub(crate) struct Block {
    /// Who says them.
    pub(crate) who: usize,
    pub(crate) to: Sink,
    pub(crate) bytes: Vec<u8>,
    /// As much of the beginning as is left out if the line before is the same one's, and still open.
    pub(crate) prefix: usize,
    /// Whether the last line has not ended.
    pub(crate) is_open: bool,
}

#[derive(Debug)]
pub(crate) struct Printer {
    state: Mutex<SharedOutput>,
}

#[derive(Debug)]
struct SharedOutput {
    /// `None` once all is said.
    output: Option<Output>,
    /// Whose line the last is, if it has not ended.
    open: Option<(usize, Sink)>,
}

impl Printer {
    pub(crate) fn of(output: Output) -> Self {
        Self { state: Mutex::new(SharedOutput { output: Some(output), open: None }) }
    }

    pub(crate) async fn print(&self, block: Block) -> Result<(), OutputError> {
        let Block { who, to, mut bytes, prefix, is_open } = block;
        let mut printed = self.state.lock().await;
        match printed.open.take() {
            Some(same) if same == (who, to) => drop(bytes.drain(..prefix)),
            Some((_, other)) => printed.write(other, b"\n".to_vec()).await?,
            None => {}
        }
        printed.write(to, bytes).await?;
        printed.open = is_open.then_some((who, to));
        Ok(())
    }

    /// A line of ours about `who`, on stderr.
    pub(crate) async fn say(&self, name: &str, kind: &str, words: &str) -> Result<(), OutputError> {
        let words = output::in_one_line(words);
        let line = if name.is_empty() {
            format!("{kind}: {words}\n")
        } else {
            format!("{name}: {kind}: {words}\n")
        };
        let mut printed = self.state.lock().await;
        if let Some((_, open)) = printed.open.take() {
            printed.write(open, b"\n".to_vec()).await?;
        }
        printed.write(Sink::Stderr, line.into_bytes()).await
    }

    /// Nothing more is said: what was is written to the end.
    pub(crate) async fn close(&self) {
        let mut printed = self.state.lock().await;
        if let Some((_, open)) = printed.open.take() {
            // Nothing is left to be done about an output that is gone.
            let _ = printed.write(open, b"\n".to_vec()).await;
        }
        printed.output = None;
    }
}

impl SharedOutput {
    async fn write(&mut self, to: Sink, bytes: Vec<u8>) -> Result<(), OutputError> {
        match &mut self.output {
            Some(output) => output.write(Piece { to, bytes: bytes.into() }).await,
            None => Err(OutputError::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn written(blocks: Vec<Block>) -> String {
        let (queue, mut pieces) = mpsc::channel(100);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().expect("a runtime").block_on(async move {
            let printer = Printer::of(Output::queued(queue));
            for block in blocks {
                printer.print(block).await.expect("a queue");
            }
            printer.close().await;
            let mut all = Vec::new();
            while let Some(piece) = pieces.recv().await {
                all.extend_from_slice(&piece.bytes);
            }
            String::from_utf8(all).expect("text")
        })
    }

    fn block(who: usize, text: &str, is_open: bool) -> Block {
        let prefix = text.find(": ").map_or(0, |at| at + 2);
        Block { who, to: Sink::Stdout, bytes: text.as_bytes().to_vec(), prefix, is_open }
    }

    #[test]
    fn an_open_line_goes_on_or_is_ended_by_another_s() {
        let own = written(vec![block(1, "a: Passw", true), block(1, "a: ord:\n", false)]);
        assert_eq!(own, "a: Password:\n");
        let other = vec![
            block(1, "a: Passw", true),
            block(2, "b: x\n", false),
            block(1, "a: ord:\n", false),
        ];
        assert_eq!(written(other), "a: Passw\nb: x\na: ord:\n");
        assert_eq!(written(vec![block(1, "a: last", true)]), "a: last\n");
    }
}
