//! An agent on this machine, behind a socket that its owner guards with file permissions.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

use super::ahead::Ahead;
use super::transport::Transport;

/// Read ahead of the websocket's library too. It keeps a message where the kernel would copy slowly to (see
/// `limits::AHEAD`): in a buffer of many pages, which begins 16 bytes behind a page's beginning, one byte
/// further. A tool's output begins with a page. A third of a large session's time was lost to that.
pub(super) async fn connect(path: &Path) -> io::Result<Transport> {
    Ok(Box::new(Ahead::of(UnixStream::connect(path).await?)))
}
