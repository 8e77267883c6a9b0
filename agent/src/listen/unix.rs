//! The unix socket: made so that only root can open it, and every peer is asked for its uid again.
//!
//! The second check is not for nothing: an operator may loosen the mode or bind-mount the socket
//! into a container with its own users.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::refused::refuse;
use super::{ACCEPT_PAUSE, MOST_CONNECTIONS, Serving};
use crate::metrics::ConnectionRefusal;
use crate::peer::Peer;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Connections of others than root, which a loosened mode lets in: each is told why within seconds.
const STRANGERS: usize = 16;

/// Bytes that may wait in the kernel for a client to take them: of the usual 208 KiB a writer is
/// woken when three quarters are taken, which is one message, so that both sides would take turns.
const SEND_BUFFER: usize = 1 << 20;

/// A socket in the file system, removed when this is dropped.
#[derive(Debug)]
#[must_use = "the socket is removed when this is dropped"]
pub struct UnixListener {
    listener: tokio::net::UnixListener,
    /// Held for its `Drop`.
    _file: SocketFile,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a successor's socket is never removed.
    identity: (u64, u64),
}

#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    #[error("cannot create the directory {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another agent already listens on {}", path.display())]
    InUse { path: PathBuf },
    #[error("{} exists and is not a socket: move or remove it", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot listen on {}", path.display())]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl UnixListener {
    /// Must run inside the async runtime.
    pub fn bind(path: &Path) -> Result<Self, UnixError> {
        let failed = |source: io::Error| UnixError::Listen { path: path.to_owned(), source };
        make_parent(path)?;
        let socket = match bound(path) {
            Err(Errno::ADDRINUSE) => {
                remove_stale(path)?;
                bound(path)
            }
            other => other,
        };
        let listener = net::UnixListener::from(socket.map_err(|errno| failed(errno.into()))?);
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        let file = SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, _file: file })
    }

    /// Serves until sessions must end: while the agent drains, a refusal says more than silence does.
    pub async fn serve(self, serving: Serving) {
        let open = Open::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = serving.shutdown.ended() => return,
            };
            match accepted {
                Ok((stream, _)) => admit(stream, &open, &serving),
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Who has a connection: nobody else is kept out by those who are not root.
#[derive(Debug)]
struct Open {
    root: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Open {
    fn new() -> Self {
        let of = |count: usize| Arc::new(Semaphore::new(count));
        Self { root: of(MOST_CONNECTIONS.get().into()), strangers: of(STRANGERS) }
    }
}

fn admit(stream: UnixStream, open: &Open, serving: &Serving) {
    let peer = match stream.peer_cred() {
        Ok(peer) => peer,
        Err(error) => return warn!(%error, "peer unknown"),
    };
    let is_root = peer.uid() == 0;
    let places = if is_root { &open.root } else { &open.strangers };
    let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
        serving.metrics.turned_away(ConnectionRefusal::Full);
        return;
    };
    let serving = serving.clone();
    tokio::spawn(async move {
        if is_root {
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
            serving.connection(stream, Peer::Root { pid: peer.pid() }).await;
        } else {
            let uid = peer.uid();
            info!(uid, pid = peer.pid(), "peer refused");
            serving.metrics.turned_away(ConnectionRefusal::NotRoot);
            let message = format!("only root may use this socket, and you are uid {uid}");
            refuse(stream, &message).await;
        }
        drop(permit);
    });
}

fn make_parent(path: &Path) -> Result<(), UnixError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.map_err(|source| UnixError::Directory { path: parent.to_owned(), source })
}

/// A listening socket at `path`. Linux gives the file the mode of the socket it is bound to, so
/// there is no moment in which the umask decides.
fn bound(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Removes what an agent that was killed left behind; never a socket that a process answers on.
fn remove_stale(path: &Path) -> Result<(), UnixError> {
    let failed = |source: io::Error| UnixError::Listen { path: path.to_owned(), source };
    let in_use = || UnixError::InUse { path: path.to_owned() };
    // Two agents that start at once must not both find the same file stale.
    let parent = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    match flock(&parent, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(in_use()),
        other => other.map_err(|errno| failed(errno.into()))?,
    }
    if !fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket() {
        return Err(UnixError::NotASocket { path: path.to_owned() });
    }
    match net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(in_use()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path);
        if now.is_ok_and(|now| (now.dev(), now.ino()) == self.identity) {
            // Nothing to do about a failure: the next agent finds it stale and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[tokio::test]
    async fn the_socket_is_the_owners_alone_and_goes_when_the_listener_goes() {
        let directory = directory();
        let path = directory.path().join("made/agent.sock");
        let listener = UnixListener::bind(&path).expect("a listener");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&directory.path().join("made")), 0o700);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = directory();
        let path = directory.path().join("agent.sock");
        drop(net::UnixListener::bind(&path).expect("a listener")); // its file stays
        let live = UnixListener::bind(&path).expect("a listener in its place");
        let error = UnixListener::bind(&path).expect_err("a second agent");
        assert!(matches!(error, UnixError::InUse { .. }), "{error}");
        assert!(path.exists());
        drop(live);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = directory();
        let path = directory.path().join("agent.sock");
        fs::write(&path, "precious").expect("a file");
        let error = UnixListener::bind(&path).expect_err("a file in the way");
        assert!(matches!(error, UnixError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read(&path).expect("the file"), b"precious");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let directory = directory();
        let path = directory.path().join("agent.sock");
        let old = UnixListener::bind(&path).expect("a listener");
        fs::rename(&path, directory.path().join("moved")).expect("a rename");
        let _new = UnixListener::bind(&path).expect("a successor");
        drop(old);
        assert!(path.exists());
    }
}
