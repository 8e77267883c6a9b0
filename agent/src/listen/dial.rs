//! One connection to a gateway: TLS with its CA, then `POST /connect` with this agent's token.
//!
//! CA and token are read again each time, as both are renewed under our feet.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::forward::{CONNECT_PATH, CONNECT_PROTOCOL, KNOWS, KNOWS_DRY_RUNS, NODE};
use wire::limits;

use super::certificates::{CertificateError, authorities};

/// From nothing to the gateway's answer. It asks the API server about our token meanwhile.
const DIAL_LIMIT: Duration = Duration::from_secs(15);

/// Bytes of the gateway's answer, which has a few fields and no body.
const ANSWER: usize = 16 << 10;

/// A gateway that is gone without a word is noticed within a minute.
const QUIET: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// What it takes to reach one gateway.
#[derive(Clone, Debug)]
pub(super) struct Dialler {
    pub(super) address: SocketAddr,
    /// Whom its certificate has to name.
    pub(super) host: String,
    pub(super) authority: PathBuf,
    pub(super) token: PathBuf,
    pub(super) node: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the gateway's CA cannot be used")]
    Authority(#[source] CertificateError),
    #[error("the token in {} cannot be read", path.display())]
    Token {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{host}` is not a valid host name for a certificate")]
    Name {
        host: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    #[error("cannot connect to the gateway")]
    Connect(#[source] io::Error),
    #[error("TLS with the gateway failed")]
    Tls(#[source] io::Error),
    #[error("the request cannot be written")]
    Request(#[source] axum::http::Error),
    #[error("the gateway closed the connection before answering")]
    Answer(#[source] hyper::Error),
    #[error("the gateway answered {code}")]
    Refused { code: StatusCode },
    #[error("it takes longer than {} s", DIAL_LIMIT.as_secs())]
    Slow,
}

impl Dialler {
    /// A connection on which the gateway is the client.
    pub(super) async fn dial(&self) -> Result<Upgraded, DialError> {
        let dialled = tokio::time::timeout(DIAL_LIMIT, self.connect()).await;
        dialled.unwrap_or(Err(DialError::Slow))
    }

    async fn connect(&self) -> Result<Upgraded, DialError> {
        let (config, request) = (self.config()?, self.request()?);
        let name = ServerName::try_from(self.host.clone())
            .map_err(|source| DialError::Name { host: self.host.clone(), source })?;
        let stream = TcpStream::connect(self.address).await.map_err(DialError::Connect)?;
        set_up(&stream).map_err(DialError::Connect)?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await.map_err(DialError::Tls)?;
        stream.get_mut().1.set_buffer_limit(Some(limits::TLS_BUFFER));
        let mut http = http1::Builder::new();
        http.max_buf_size(ANSWER);
        let (mut sender, connection) =
            http.handshake(TokioIo::new(stream)).await.map_err(DialError::Answer)?;
        // Ends with the connection, which this function hands out or drops.
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await.map_err(DialError::Answer)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                hyper::upgrade::on(response).await.map_err(DialError::Answer)
            }
            code => Err(DialError::Refused { code }),
        }
    }

    fn config(&self) -> Result<ClientConfig, DialError> {
        let roots = authorities(&self.authority).map_err(DialError::Authority)?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(DialError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn request(&self) -> Result<Request<Body>, DialError> {
        let path = &self.token;
        let token = std::fs::read_to_string(path)
            .map_err(|source| DialError::Token { path: path.clone(), source })?;
        let mut request = Request::post(CONNECT_PATH)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, CONNECT_PROTOCOL)
            .header(KNOWS, KNOWS_DRY_RUNS);
        if let Some(node) = &self.node {
            request = request.header(NODE, node);
        }
        request.body(Body::empty()).map_err(DialError::Request)
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    // Keystrokes must not wait for each other's acknowledgement.
    stream.set_nodelay(true)?;
    sockopt::set_tcp_keepidle(stream, QUIET)?;
    sockopt::set_tcp_keepintvl(stream, BETWEEN)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}
