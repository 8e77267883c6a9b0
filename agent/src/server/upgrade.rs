//! From a request for a websocket to the websocket.

use axum::body::Body;
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tracing::{Instrument, Span, debug};
use wire::frame::Protocol;

use crate::session::Socket;

/// A request that is a proper one for a websocket (RFC 6455, 4.2.1), whatever it is to carry.
#[derive(Debug)]
pub(super) struct Proposal {
    answer: Response,
    switched: OnUpgrade,
    /// The best of the protocols that both sides speak.
    protocol: Option<Protocol>,
}

/// A websocket for a protocol that both sides speak, and the answer that begins it.
#[derive(Debug)]
pub(super) struct Upgrade {
    answer: Response,
    switched: OnUpgrade,
    protocol: Protocol,
}

impl Proposal {
    pub(super) fn asked_by(parts: &mut Parts) -> Result<Self, Error> {
        let mut request = Request::new(());
        request.method_mut().clone_from(&parts.method);
        *request.version_mut() = parts.version;
        request.headers_mut().clone_from(&parts.headers);
        let answer = create_response(&request)?.map(|()| Body::empty());
        // Only a connection of HTTP/1.1 comes with one.
        let switched = parts.extensions.remove::<OnUpgrade>();
        let switched = switched.ok_or(Error::Protocol(ProtocolError::WrongHttpVersion))?;
        Ok(Self { answer, switched, protocol: offered(&parts.headers) })
    }

    /// `None` where no protocol is in common.
    pub(super) fn agreed(self) -> Option<Upgrade> {
        let Self { mut answer, switched, protocol } = self;
        let protocol = protocol?;
        let name = HeaderValue::from_static(protocol.as_str());
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
        Some(Upgrade { answer, switched, protocol })
    }
}

impl Upgrade {
    /// Grants it. `session` has the websocket as soon as the answer is out, and is dropped where
    /// the client has gone before.
    pub(super) fn grant<F>(
        self,
        session: impl FnOnce(Socket, Protocol) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { answer, switched, protocol } = self;
        let run = async move {
            match switched.await {
                Ok(upgraded) => session(Socket::new(upgraded).await, protocol).await,
                Err(error) => debug!(error = wire::chain(&error), "not upgraded"),
            }
        };
        tokio::spawn(run.instrument(Span::current()));
        answer
    }
}

fn offered(headers: &HeaderMap) -> Option<Protocol> {
    let fields = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names: Vec<&str> = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(str::trim)
        .collect();
    Protocol::ALL.into_iter().find(|protocol| names.contains(&protocol.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen_of(fields: &[&'static str]) -> Option<Protocol> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(field));
        }
        offered(&headers)
    }

    #[test]
    fn the_newest_protocol_of_both_is_chosen_in_whatever_order_they_come() {
        let all = "v4.channel.k8s.io, v5.channel.k8s.io,v5.channel.nsdebug.dev";
        assert_eq!(chosen_of(&[all]), Some(Protocol::Nsdebug));
        let both = "v4.channel.k8s.io , v5.channel.k8s.io";
        assert_eq!(chosen_of(&[both]), Some(Protocol::V5));
        assert_eq!(chosen_of(&["channel.k8s.io", "v4.channel.k8s.io"]), Some(Protocol::V4));
    }

    #[test]
    fn what_nobody_here_speaks_is_not_chosen() {
        assert_eq!(chosen_of(&["v3.channel.k8s.io", "portforward.k8s.io"]), None);
        assert_eq!(chosen_of(&[]), None);
    }
}
