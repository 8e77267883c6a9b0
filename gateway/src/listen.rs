//! The ports: kube-apiserver's, which takes a certificate to reach, the agents', and that of health.
//!
//! A client that has not proved who it is is served as a stranger: see `strangers`.
//! Own accept loops instead of `axum::serve`: its TLS handshakes would wait for each other. HTTP/1.1
//! only, as websockets need it and nothing here needs more.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use daemon::admission::StrangerPlace;
use daemon::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info};
use wire::{chain, limits};

use crate::agents::Reception;
use crate::ahead::Ahead;
use crate::api::{self, Sessions};
use crate::certificates::Shown;
use crate::identity::Trust;
use crate::metrics::{ConnectionRefusal, Metrics};
use crate::strangers;

/// Header fields of one request: kube-apiserver's, with every group of the user.
const FIELDS: usize = 64 << 10;

/// How many of them: a group is a field, and 64 KiB hold no more with names of a few letters. Beyond a hundred, hyper
/// keeps them on the heap.
const MOST_FIELDS: usize = 2048;

/// Request line and header fields; hyper knows no limit for the fields alone.
const HEAD: usize = limits::QUERY + (4 << 10) + FIELDS;

/// One read ahead of what the head may take, so that it is the head's limit that refuses.
const BUFFER: usize = HEAD + (16 << 10);

/// kube-apiserver closes idle connections after 90 s; it must never find one closed as it writes.
const API_IDLE: Duration = Duration::from_secs(120);

/// From the accepted connection to the end of the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Open connections of kube-apiserver's: those that are sessions have their own bound.
const MOST_CONNECTIONS: usize = 4096;

type Encrypted = TlsStream<Ahead<TcpStream>>;

/// What ports have.
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
        let open = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let until = self.shutdown.draining();
        strangers::accept(listener, strangers::AT_API, &self.metrics, until, |stream, place| {
            let (trust, sessions, open) = (trust.clone(), Arc::clone(&sessions), Arc::clone(&open));
            self.clone().api_connection(stream, place, trust, sessions, open)
        })
        .await;
    }

    /// Serves agents until the gateway drains.
    pub(crate) async fn serve_agents(self, listener: TcpListener, reception: Reception) {
        let until = self.shutdown.draining();
        strangers::accept(listener, strangers::AT_AGENTS, &self.metrics, until, |stream, place| {
            self.clone().agent_connection(stream, place, reception.clone())
        })
        .await;
    }

    /// Serves health and metrics until sessions must end.
    pub(crate) async fn serve_health(self, listener: TcpListener, router: Router) {
        let until = self.shutdown.ended();
        strangers::accept(listener, strangers::AT_HEALTH, &self.metrics, until, |stream, place| {
            let (metrics, router) = (self.metrics.clone(), router.clone());
            async move {
                let service = TowerToHyperService::new(router);
                let talk = strangers::http().serve_connection(TokioIo::new(stream), service);
                said(strangers::bounded(&place, &metrics, talk).await);
            }
        })
        .await;
    }

    async fn api_connection(
        self,
        stream: TcpStream,
        place: StrangerPlace,
        mut trust: Trust,
        sessions: Arc<Sessions>,
        open: Arc<Semaphore>,
    ) {
        let current = trust.borrow_and_update().clone();
        let Some(front_proxy) = current else {
            self.metrics.turned_away(ConnectionRefusal::Unready);
            return;
        };
        let greeting = self.handshake(stream, front_proxy.verifier(), &place);
        let Some(Some(stream)) = strangers::bounded(&place, &self.metrics, greeting).await else {
            return;
        };
        let (ahead, tls) = stream.get_ref();
        let shown = tls.peer_certificates().unwrap_or_default();
        let proxy = match place.compute(async { front_proxy.verify(shown) }).await {
            Ok(proxy) => proxy,
            Err(error) => {
                info!(%error, "not the front proxy");
                self.metrics.turned_away(ConnectionRefusal::Handshake);
                return self.no_proxy(stream, place, error.to_string()).await;
            }
        };
        let Ok(_permit) = open.try_acquire() else {
            self.metrics.turned_away(ConnectionRefusal::Full);
            return;
        };
        ahead.known().set();
        drop(place);
        let service = service_fn(move |request: Request<Incoming>| {
            let (sessions, proxy) = (Arc::clone(&sessions), proxy.clone());
            async move { Ok::<_, Infallible>(api::answer(sessions, proxy, request).await) }
        });
        // Whom one believes may change: then nobody is believed from before.
        let until = async {
            tokio::select! {
                () = self.shutdown.draining() => {}
                _ = trust.changed() => {}
            }
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(API_IDLE)
            .max_header_size(HEAD)
            .max_headers(MOST_FIELDS)
            .max_buf_size(BUFFER);
        said(Some(serve(&http, stream, service, until).await));
    }

    /// Tells a stranger so.
    async fn no_proxy(&self, stream: Encrypted, place: StrangerPlace, why: String) {
        let service = service_fn(move |request: Request<Incoming>| {
            let why = why.clone();
            async move { Ok::<_, Infallible>(api::unauthorized(request, why)) }
        });
        let http = strangers::http();
        let talk = serve(&http, stream, service, self.shutdown.draining());
        said(strangers::bounded(&place, &self.metrics, talk).await);
    }

    async fn agent_connection(self, stream: TcpStream, place: StrangerPlace, reception: Reception) {
        let talk = async {
            let Some(stream) = self.handshake(stream, Arc::new(NoClientAuth), &place).await else {
                return Ok(());
            };
            let known = stream.get_ref().0.known();
            let service = service_fn(move |request: Request<Incoming>| {
                let (reception, known) = (reception.clone(), known.clone());
                async move { Ok::<_, Infallible>(reception.answer(request, &known).await) }
            });
            serve(&strangers::http(), stream, service, self.shutdown.draining()).await
        };
        said(strangers::bounded(&place, &self.metrics, talk).await);
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        clients: Arc<dyn ClientCertVerifier>,
        place: &StrangerPlace,
    ) -> Option<Encrypted> {
        let done = match config(self.shown.clone(), clients) {
            Ok(config) => handshake(TlsAcceptor::from(Arc::new(config)), stream, place).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = &done {
            debug!(error = chain(&error), "handshake failed");
            self.metrics.turned_away(ConnectionRefusal::Handshake);
        }
        done.ok()
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

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    place: &StrangerPlace,
) -> io::Result<Encrypted> {
    /// A peer that is gone without a word is noticed within a minute.
    const QUIET: Duration = Duration::from_secs(30);
    const BETWEEN: Duration = Duration::from_secs(10);
    let probing = TcpKeepalive::new().with_time(QUIET).with_interval(BETWEEN).with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&probing)?;
    // Keystrokes must not wait for each other's acknowledgement.
    stream.set_nodelay(true)?;
    let accepting = place.compute(acceptor.accept(Ahead::of(stream, strangers::RATION)));
    let accepted = tokio::time::timeout(HANDSHAKE_LIMIT, accepting).await;
    let mut stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.get_mut().1.set_buffer_limit(Some(limits::TLS_BUFFER));
    Ok(stream)
}

/// Serves one connection until it ends, is upgraded, or `until`.
async fn serve<S>(
    http: &http1::Builder,
    stream: Encrypted,
    service: S,
    until: impl Future<Output = ()>,
) -> hyper::Result<()>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = until => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Notes how a connection ended. It is the peer's doing in almost every case, and not worth an
/// operator's eye.
fn said(ended: Option<hyper::Result<()>>) {
    if let Some(Err(error)) = ended {
        debug!(error = chain(&error), "connection failed");
    }
}
