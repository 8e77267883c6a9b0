//! `--stdin-copy`: all of stdin, read once and given to each tool.

use std::io::{self, Read};
use std::sync::Arc;

use tokio::sync::mpsc;
use wire::limits;

/// Bytes of stdin: as many as each session that runs may hold once more.
const LONGEST: usize = 1 << 20;

/// Pieces that wait for a session: one on its way, one ready.
const QUEUE: usize = 2;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("cannot read stdin")]
    Read(#[source] io::Error),
    #[error("stdin has more than {LONGEST} bytes, which --stdin-copy does not give to many pods")]
    TooLong,
}

/// Reads stdin to its end.
pub(crate) fn read() -> Result<Arc<[u8]>, CopyError> {
    let mut bytes = Vec::new();
    let most = LONGEST as u64 + 1;
    io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(CopyError::Read)?;
    if bytes.len() > LONGEST { Err(CopyError::TooLong) } else { Ok(bytes.into()) }
}

/// What a session reads `bytes` from.
pub(crate) fn feed(bytes: &Arc<[u8]>) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (pieces, read) = mpsc::channel(QUEUE);
    let bytes = Arc::clone(bytes);
    tokio::spawn(async move {
        // The channel byte is added later.
        for piece in bytes.chunks(limits::FRAME - 1) {
            if pieces.send(Ok(piece.to_vec())).await.is_err() {
                return; // the session is over
            }
        }
    });
    read
}
