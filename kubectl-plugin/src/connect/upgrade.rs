//! The HTTP half of a session: one request that becomes a websocket or is refused.
//!
//! Written by hand over hyper and not with a websocket client, because a refusal has a body that
//! the person must read.

use std::error::Error;
use std::io;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap};
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode, http};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
pub(crate) use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use wire::frame::Protocol;
use wire::{Status, limits};

use super::tls::{self, TlsError};
use super::transport::Transport;
use crate::dry_run::{self, Answer};

/// Bytes read at once: a record of TLS. The library clears as many before every read.
const READ_BUFFER: usize = 16 << 10;
const _: () = assert!(READ_BUFFER < limits::AHEAD, "it would go past what is read ahead");

/// A session that has begun.
pub(crate) struct Connection {
    pub(crate) socket: WebSocketStream<Transport>,
    pub(crate) protocol: Protocol,
    /// What the agent wants the person to know first.
    pub(crate) note: Option<String>,
    /// Which container a gateway chose, and out of which.
    pub(crate) defaulted: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    #[error("the request cannot be written")]
    Request(#[source] http::Error),
    #[error("the server closed the connection before it answered")]
    NoAnswer(#[source] hyper::Error),
    /// The agent's own words and nothing else: they are written for the person.
    #[error("{}", status.message)]
    Refused { status: Box<Status> },
    #[error("the server answered `{code}` in a form that is not an nsdebug agent's")]
    Foreign { code: StatusCode },
    #[error("the server switched protocols, but not to the requested websocket")]
    NotAWebsocket,
    #[error("the server chose a protocol that was not offered")]
    NoProtocol,
    #[error("the server closed the connection while switching protocols")]
    Switch(#[source] hyper::Error),
}

impl UpgradeError {
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self {
            // A refusal is never a success, whatever its body says.
            Self::Refused { status } => status.exit_code().filter(|&code| code != 0),
            _ => None,
        }
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { status } => status.hint(),
            Self::Foreign { code } if code.is_redirection() => Some("redirects are not followed"),
            Self::Foreign { .. } => Some("check that --agent is the address of an nsdebug-agent"),
            _ => None,
        }
    }

    /// What TLS says about it, where that is the cause.
    pub(crate) fn tls(&self) -> Option<TlsError> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(io) = error.downcast_ref::<io::Error>()
                && let Some(library) = tls::library_error(io)
            {
                return Some(TlsError::from_library(library.clone()));
            }
            source = error.source();
        }
        None
    }
}

pub(super) async fn upgrade(
    transport: Transport,
    host: &str,
    path_and_query: &str,
) -> Result<Connection, UpgradeError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(transport)).await.map_err(UpgradeError::NoAnswer)?;
    // Ends with the connection, which this function hands out or drops.
    tokio::spawn(connection.with_upgrades());
    let key = generate_key();
    let request =
        request(path_and_query, &key).header(header::HOST, host).body(Empty::<Bytes>::new());
    let request = request.map_err(UpgradeError::Request)?;
    let response = sender.send_request(request).await.map_err(UpgradeError::NoAnswer)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    begin(response, &key).await
}

/// Asks the same in plain HTTP, to have it judged: a server that takes it for a session refuses it.
pub(super) async fn rehearse(
    transport: Transport,
    host: &str,
    path_and_query: &str,
) -> Result<Answer, UpgradeError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(transport)).await.map_err(UpgradeError::NoAnswer)?;
    tokio::spawn(connection);
    let request = Request::get(path_and_query)
        .header(header::USER_AGENT, concat!("kubectl-nsdebug/", env!("CARGO_PKG_VERSION")))
        .header(header::HOST, host)
        .body(Empty::<Bytes>::new());
    let request = request.map_err(UpgradeError::Request)?;
    let response = sender.send_request(request).await.map_err(UpgradeError::NoAnswer)?;
    let (head, body) = response.into_parts();
    let body = beginning(body).await;
    match dry_run::read(head.status, &head.headers, &body) {
        Answer::Refused => Err(refused(head.status, &body)),
        answer => Ok(answer),
    }
}

/// The session that `response` to a request with `key` begins.
pub(crate) async fn begin<B>(response: Response<B>, key: &str) -> Result<Connection, UpgradeError> {
    let protocol = check(response.headers(), key)?;
    let note = text(response.headers(), wire::header::NOTE);
    let defaulted = text(response.headers(), wire::header::DEFAULTED_CONTAINER);
    let upgraded = hyper::upgrade::on(response).await.map_err(UpgradeError::Switch)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(limits::INBOUND_MESSAGE))
        .max_frame_size(Some(limits::INBOUND_MESSAGE));
    let (stream, early) = match upgraded.downcast::<TokioIo<Transport>>() {
        Ok(parts) => (parts.io.into_inner(), parts.read_buf.to_vec()),
        Err(upgraded) => (Box::new(TokioIo::new(upgraded)) as Transport, Vec::new()),
    };
    let socket =
        WebSocketStream::from_partially_read(stream, early, Role::Client, Some(config)).await;
    Ok(Connection { socket, protocol, note, defaulted })
}

/// A request for a session; who is asked is not said yet.
pub(crate) fn request(path_and_query: &str, key: &str) -> Builder {
    Request::get(path_and_query)
        .header(header::USER_AGENT, concat!("kubectl-nsdebug/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, Protocol::ALL.map(Protocol::as_str).join(", "))
}

/// That the server switched to what was asked for, and which of the protocols it chose.
fn check(headers: &HeaderMap, key: &str) -> Result<Protocol, UpgradeError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let websocket = text(header::UPGRADE).is_some_and(|v| v.eq_ignore_ascii_case("websocket"));
    let accepted =
        text(header::SEC_WEBSOCKET_ACCEPT) == Some(derive_accept_key(key.as_bytes()).as_str());
    if !websocket || !accepted {
        return Err(UpgradeError::NotAWebsocket);
    }
    text(header::SEC_WEBSOCKET_PROTOCOL).and_then(Protocol::named).ok_or(UpgradeError::NoProtocol)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

async fn refusal(response: Response<Incoming>) -> UpgradeError {
    let code = response.status();
    let body = beginning(response.into_body()).await;
    refused(code, &body)
}

fn refused(code: StatusCode, body: &[u8]) -> UpgradeError {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if !status.message.is_empty() => {
            UpgradeError::Refused { status: Box::new(status) }
        }
        _ => UpgradeError::Foreign { code },
    }
}

/// As much of a body as is read of a refusal. One that breaks off is judged by what came.
pub(crate) async fn beginning<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            let room = limits::REFUSAL - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
            if read.len() == limits::REFUSAL {
                break;
            }
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.clone(), v.parse().expect("a value"))).collect()
    }

    #[test]
    fn the_chosen_protocol_is_taken_and_a_foreign_one_is_not() {
        let accept = derive_accept_key(b"key");
        let answer = |protocol| {
            let headers = headers(&[
                (header::UPGRADE, "WebSocket"),
                (header::SEC_WEBSOCKET_ACCEPT, &accept),
                (header::SEC_WEBSOCKET_PROTOCOL, protocol),
            ]);
            check(&headers, "key")
        };
        assert!(matches!(answer("v5.channel.k8s.io"), Ok(Protocol::V5)));
        assert!(matches!(answer("v4.channel.k8s.io"), Ok(Protocol::V4)));
        assert!(matches!(answer("channel.k8s.io"), Err(UpgradeError::NoProtocol)));
    }

    #[test]
    fn an_answer_to_another_key_is_refused() {
        let headers = headers(&[
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_ACCEPT, &derive_accept_key(b"other")),
            (header::SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io"),
        ]);
        assert!(matches!(check(&headers, "key"), Err(UpgradeError::NotAWebsocket)));
    }
}
