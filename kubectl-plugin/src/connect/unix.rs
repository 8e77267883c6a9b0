//! An agent on this machine, behind a socket that its owner guards with file permissions.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

use super::Transport;

pub(super) async fn connect(path: &Path) -> io::Result<Transport> {
    Ok(Box::new(UnixStream::connect(path).await?))
}
