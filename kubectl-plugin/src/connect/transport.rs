//! What a websocket is spoken over.

use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes in both directions, whatever carries them.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One call through a pointer per read is nothing beside the system call that it makes.
pub(crate) type Transport = Box<dyn Duplex>;
