//! From an address to one websocket that a session can be streamed over.
//!
//! This is the only seam between how a session is reached and how it is streamed. Nothing is tried
//! twice and no redirect is followed: what the first answer says is what the person gets.

mod address;
pub(crate) mod ahead;
pub(crate) mod low_water;
pub(crate) mod tls;
mod transport;
#[cfg(unix)]
mod unix;
pub(crate) mod upgrade;

use std::time::{Duration, Instant};

use crate::dry_run::Answer;
pub(crate) use address::Address;
pub(crate) use tls::Credentials;
use tls::TlsError;
use tracing::debug;
pub(crate) use transport::Transport;
pub(crate) use upgrade::Connection;
use upgrade::UpgradeError;
use wire::TimeSpan;

/// A peer that does not even take the connection for this long is not there.
const REACH: Duration = Duration::from_secs(30);

/// An agent may have to wait for its container runtime to come back before it can answer.
const ANSWER: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot reach the agent at {address}")]
    Reach {
        address: Address,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot speak TLS with the agent at {address}")]
    Tls {
        address: Address,
        #[source]
        source: TlsError,
    },
    #[error("no agent answered at {address} within {} s", limit.as_secs())]
    NoAnswer { address: Address, limit: Duration },
    #[error("the session could not start at {address} within {} (--timeout)", TimeSpan::from(*limit))]
    TimedOut { address: Address, limit: Duration },
    #[cfg(not(unix))]
    #[error("{address}: unix sockets are not supported on this system")]
    NoUnixSockets { address: Address },
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
}

impl ConnectError {
    /// The exit code that the agent names.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Upgrade(error) => error.exit_code(),
            _ => None,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Reach { address: Address::Unix(path), source } => match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                    Some(format!(
                        "start the agent: nsdebug-agent serve --listen unix:{}",
                        path.display()
                    ))
                }
                std::io::ErrorKind::PermissionDenied => {
                    Some("the agent's socket is for root: try sudo".to_owned())
                }
                _ => None,
            },
            Self::Tls { source, .. } => source.hint().map(str::to_owned),
            Self::Upgrade(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }
}

/// Asks the agent at `address` for the session that `path_and_query` describes.
pub(crate) async fn connect(
    address: &Address,
    credentials: &Credentials,
    path_and_query: &str,
) -> Result<Connection, ConnectError> {
    let host = address.host();
    let upgrading = async |transport| upgrade::upgrade(transport, &host, path_and_query).await;
    exchange(address, credentials, path_and_query, upgrading).await
}

/// Asks the agent at `address` what would become of that session, which does not begin.
pub(crate) async fn rehearse(
    address: &Address,
    credentials: &Credentials,
    path_and_query: &str,
) -> Result<Answer, ConnectError> {
    let host = address.host();
    let asking = async |transport| upgrade::rehearse(transport, &host, path_and_query).await;
    exchange(address, credentials, path_and_query, asking).await
}

async fn exchange<T>(
    address: &Address,
    credentials: &Credentials,
    path_and_query: &str,
    ask: impl AsyncFnOnce(Transport) -> Result<T, UpgradeError>,
) -> Result<T, ConnectError> {
    let no_answer = |limit| ConnectError::NoAnswer { address: address.clone(), limit };
    let began = Instant::now();
    let transport = tokio::time::timeout(REACH, reach(address, credentials))
        .await
        .map_err(|_| no_answer(REACH))??;
    debug!(%address, took = ?began.elapsed(), "connected");
    let began = Instant::now();
    let answer =
        tokio::time::timeout(ANSWER, ask(transport)).await.map_err(|_| no_answer(ANSWER))?;
    let path = path_and_query.split('?').next().unwrap_or_default();
    debug!(%path, begun = answer.is_ok(), took = ?began.elapsed(), "asked");
    answer.map_err(|error| match error.tls() {
        // An agent that dislikes our certificate says so only in place of its first answer.
        Some(source) => ConnectError::Tls { address: address.clone(), source },
        None => error.into(),
    })
}

async fn reach(address: &Address, credentials: &Credentials) -> Result<Transport, ConnectError> {
    match address {
        #[cfg(unix)]
        Address::Unix(path) => unix::connect(path)
            .await
            .map_err(|source| ConnectError::Reach { address: address.clone(), source }),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(ConnectError::NoUnixSockets { address: address.clone() }),
        Address::Https { host, port } => {
            let tls_error = |source| ConnectError::Tls { address: address.clone(), source };
            let client = tls::Client::prepare(host, credentials).map_err(tls_error)?;
            let tcp = tokio::net::TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(|source| ConnectError::Reach { address: address.clone(), source })?;
            client.connect(tcp).await.map_err(tls_error)
        }
    }
}
