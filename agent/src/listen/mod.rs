//! Sockets and who is at the other end of them; every listener serves the same router.
//!
//! Own accept loops instead of `axum::serve`: its TLS handshakes would wait for each other. HTTP/1.1
//! only, as websockets need it and nothing here needs more.

mod caller;
mod certificates;
mod connect;
mod dial;
mod holder;
mod refused;
mod tls;
mod unix;

use std::convert::Infallible;
use std::num::NonZeroU16;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use daemon::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt;
use tracing::debug;
use wire::limits;

pub use caller::Caller;
pub use certificates::{CertificateError, CertificateFiles, Certificates, RELOAD_EVERY};
pub use connect::Gateways;
#[cfg(test)]
pub(crate) use holder::tests::holder_named;
pub use holder::{Holder, KeyDigest, NoHolder};
pub use tls::{TlsListener, strangers};
pub use unix::{UnixError, UnixListener};

use crate::metrics::Metrics;
use crate::peer::Peer;

/// Header fields of one request; ours have about 400 bytes.
const FIELDS: usize = 16 << 10;

/// Path and the rest of the request line. Names in a path are bounded by `wire`'s name types.
const LINE_BESIDES_QUERY: usize = 4 << 10;

/// Request line and header fields together: hyper knows no limit for the fields alone, and a command
/// line travels in the query. Past this the answer is 431.
const HEAD: usize = limits::QUERY + LINE_BESIDES_QUERY + FIELDS;

/// One read ahead of what the head may take, so that it is the head's limit that refuses.
const BUFFER: usize = HEAD + (16 << 10);

/// From the first byte a client may send to the end of its header fields; idle connections too.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Open connections of one listener, to callers it knows, that are not sessions yet: those are bounded by their slots.
const MOST_CONNECTIONS: NonZeroU16 = NonZeroU16::new(256).expect("it is not 0");

/// Pause after `accept` failed, mostly for want of descriptors: those come back as sessions end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener needs to serve.
#[derive(Clone, Debug)]
pub struct Serving {
    pub router: Router,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
}

impl Serving {
    /// Serves one connection until it ends or is upgraded; once the agent drains, for one more answer.
    async fn connection<S>(self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { router, metrics: _, shutdown } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            answer(router.clone(), request)
        });
        // Who comes while the agent drains is told so, and has no idle connection to be closed.
        let late = shutdown.is_draining();
        let mut http = http1::Builder::new();
        http.keep_alive(!late)
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_header_size(HEAD)
            .max_buf_size(BUFFER);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = pin!(connection);
        let stop = async { if late { shutdown.ended().await } else { shutdown.draining().await } };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // The client's doing in almost every case, so it is not worth an operator's eye.
            debug!(error = %wire::chain(&error), "connection failed");
        }
    }
}

async fn answer(router: Router, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    router.oneshot(request).await
}
