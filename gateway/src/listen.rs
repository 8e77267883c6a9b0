//! The two TLS ports: kube-apiserver's, which takes a certificate to reach, and the agents'.
//!
//! Own accept loops instead of `axum::serve`: its TLS handshakes would wait for each other. HTTP/1.1
//! only, as websockets need it and nothing here needs more.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use daemon::chain;
use daemon::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};
use wire::limits;

use crate::agents::Reception;
use crate::ahead::Ahead;
use crate::api::{self, Sessions};
use crate::certificates::Shown;
use crate::identity::Trust;
use crate::metrics::{Metrics, Turned};

/// Header fields of one request: kube-apiserver's, with every group of the user.
const FIELDS: usize = 64 << 10;

/// Request line and header fields; hyper knows no limit for the fields alone.
const HEAD: usize = limits::QUERY + (4 << 10) + FIELDS;

/// One read ahead of what the head may take, so that it is the head's limit that refuses.
const BUFFER: usize = HEAD + (16 << 10);

/// kube-apiserver closes idle connections after 90 s; it must never find one closed as it writes.
const API_IDLE: Duration = Duration::from_secs(120);

/// An agent writes its only request at once.
const AGENT_HEAD_LIMIT: Duration = Duration::from_secs(10);

/// From the accepted connection to the end of the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Open connections of one port that are not sessions or agents yet: those have their own bounds. All
/// agents of a large cluster may come at once.
const MOST_CONNECTIONS: usize = 4096;

/// Pause after `accept` failed, mostly for want of descriptors: those come back as sessions end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Encrypted = TlsStream<Ahead<TcpStream>>;

/// What both ports have.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) shown: Shown,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}

impl Ports {
    /// Serves kube-apiserver until the gateway drains; connections go on by themselves.
    pub(crate) async fn serve_api(
        self,
        listener: TcpListener,
        trust: Trust,
        sessions: Arc<Sessions>,
    ) {
        let shutdown = self.shutdown.clone();
        let metrics = self.metrics.clone();
        accept(listener, &shutdown, &metrics, |stream| {
            self.clone().api_connection(stream, trust.clone(), Arc::clone(&sessions))
        })
        .await;
    }

    /// Serves agents until the gateway drains.
    pub(crate) async fn serve_agents(self, listener: TcpListener, reception: Reception) {
        let shutdown = self.shutdown.clone();
        let metrics = self.metrics.clone();
        accept(listener, &shutdown, &metrics, |stream| {
            self.clone().agent_connection(stream, reception.clone())
        })
        .await;
    }

    async fn api_connection(self, stream: TcpStream, mut trust: Trust, sessions: Arc<Sessions>) {
        let current = trust.borrow_and_update().clone();
        let Some(front_proxy) = current else {
            self.metrics.turned_away(Turned::Unready);
            return;
        };
        let Some(stream) = self.handshake(stream, front_proxy.verifier()).await else { return };
        let (_, tls) = stream.get_ref();
        let verified = front_proxy.verify(tls.peer_certificates().unwrap_or_default());
        if let Err(error) = &verified {
            info!(%error, "not the front proxy");
            self.metrics.turned_away(Turned::Handshake);
        }
        let service = service_fn(move |request: Request<Incoming>| {
            let (sessions, verified) = (Arc::clone(&sessions), verified.clone());
            async move {
                Ok(match verified {
                    Ok(proxy) => api::answer(sessions, proxy, request).await,
                    Err(error) => api::unauthorized(request, error.to_string()),
                })
            }
        });
        // Whom one believes may change: then nobody is believed from before.
        let outdated = async {
            let _ = trust.changed().await;
        };
        let until = async {
            tokio::select! {
                () = self.shutdown.draining() => {}
                () = outdated => {}
            }
        };
        serve(stream, service, API_IDLE, until).await;
    }

    async fn agent_connection(self, stream: TcpStream, reception: Reception) {
        let Some(stream) = self.handshake(stream, Arc::new(NoClientAuth)).await else { return };
        let service = service_fn(move |request: Request<Incoming>| {
            let reception = reception.clone();
            async move { Ok(reception.answer(request).await) }
        });
        serve(stream, service, AGENT_HEAD_LIMIT, self.shutdown.draining()).await;
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Option<Encrypted> {
        let done = match config(self.shown.clone(), clients) {
            Ok(config) => handshake(TlsAcceptor::from(Arc::new(config)), stream).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = &done {
            debug!(error = chain(error), "handshake failed");
            self.metrics.turned_away(Turned::Handshake);
        }
        done.ok()
    }
}

async fn accept<C>(
    listener: TcpListener,
    shutdown: &Shutdown,
    metrics: &Metrics,
    connection: impl Fn(TcpStream) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let open = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.draining() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            metrics.turned_away(Turned::Full);
            continue;
        };
        let connection = connection(stream);
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

fn config(
    shown: Shown,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()? // 1.2 and 1.3
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(shown));
    // A resumed session would skip the client's certificate, which may be expired by then.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<Encrypted> {
    /// A peer that is gone without a word is noticed within a minute.
    const QUIET: Duration = Duration::from_secs(30);
    const BETWEEN: Duration = Duration::from_secs(10);
    let probing = TcpKeepalive::new().with_time(QUIET).with_interval(BETWEEN).with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&probing)?;
    // Keystrokes must not wait for each other's acknowledgement.
    stream.set_nodelay(true)?;
    let accepting = acceptor.accept(Ahead::of(stream));
    let accepted = tokio::time::timeout(HANDSHAKE_LIMIT, accepting).await;
    let mut stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.get_mut().1.set_buffer_limit(Some(limits::TLS_BUFFER));
    Ok(stream)
}

/// Serves one connection until it ends, is upgraded, or `until`.
async fn serve<S>(
    stream: Encrypted,
    service: S,
    head_limit: Duration,
    until: impl Future<Output = ()>,
) where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_limit)
        .max_header_size(HEAD)
        .max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The peer's doing in almost every case, so it is not worth an operator's eye.
        debug!(error = chain(&error), "connection failed");
    }
}
