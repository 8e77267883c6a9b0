//! Connections whose other end nobody knows yet: how many, what each may say and hold, and for how long.
//!
//! All ports together hold less than 32 MiB for strangers, whatever they send: each of the 416 has said
//! no more than [`RATION`], which is in memory at most twice or three times (as TLS, as text, as a head),
//! beside the 20 KiB or so that TLS and HTTP take themselves. `tests/tests/gateway/strangers.rs` measures it.
//! Who has proved who they are is no stranger, and is counted where connections of their kind are.

use std::future::Future;
use std::time::Duration;

use daemon::admission::{Admission, StrangerLimits, StrangerPlace};
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::metrics::{ConnectionRefusal, Metrics};

/// Bytes that are read from a stranger. A client's certificates are some 4 KiB, an agent's token is 2.
pub(crate) const RATION: usize = 16 << 10;

/// Bytes of a stranger's head: an agent's token and little else. The least that hyper takes.
const HEAD: usize = 8 << 10;

/// How long one may remain a stranger: a handshake, a head, and a token's review that has to wait.
const LIMIT: Duration = Duration::from_secs(20);

/// How long a head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Of kube-apiserver's port: it opens a connection for each session, and those of one user may all begin at
/// once. Where there are more, the network that holds most makes room.
pub(crate) const AT_API: StrangerLimits = StrangerLimits { all: 256, per_network: 256 };

/// Of the agents' port. All agents of a cluster may come at once: those for whom there is no place wait to
/// be accepted, for milliseconds. Behind one address there may be some.
pub(crate) const AT_AGENTS: StrangerLimits = StrangerLimits { all: 128, per_network: 64 };

/// Of the health port, where everybody is a stranger: a kubelet, and who collects metrics.
pub(crate) const AT_HEALTH: StrangerLimits = StrangerLimits { all: 32, per_network: 8 };

/// Pause after `accept` failed, mostly for want of descriptors: those come back as sessions end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections `until` it completes; each runs by itself, with its place.
pub(crate) async fn accept<C>(
    listener: TcpListener,
    limits: StrangerLimits,
    metrics: &Metrics,
    until: impl Future<Output = ()>,
    connection: impl Fn(TcpStream, StrangerPlace) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let admission = Admission::new(limits);
    let accepting = async {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match admission.admit(address.ip()).await {
                Some(place) => drop(tokio::spawn(connection(stream, place))),
                None => metrics.turned_away(ConnectionRefusal::Full),
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = until => {}
    }
}

/// Lets a stranger `talk`, while there is a place and time for it; none where there is not.
pub(crate) async fn bounded<T>(
    place: &StrangerPlace,
    metrics: &Metrics,
    talk: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        said = talk => Some(said),
        () = place.withdrawn() => {
            metrics.turned_away(ConnectionRefusal::Full);
            None
        }
        () = tokio::time::sleep(LIMIT) => {
            metrics.turned_away(ConnectionRefusal::Slow);
            None
        }
    }
}

/// HTTP for strangers: one request, with a small head.
pub(crate) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(false)
        .max_header_size(HEAD)
        .max_buf_size(HEAD);
    http
}
