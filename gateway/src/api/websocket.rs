//! The handshake of a websocket, before anybody is asked anything.
//!
//! Only the head is looked at. kube-apiserver proxies any upgrade to any path, so what is not exactly
//! this ends here.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use wire::frame::Protocol;

/// What the agent has to be told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    key: HeaderValue,
    protocols: Vec<HeaderValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHandshake {
    #[error("a session needs a websocket upgrade; the request has an invalid or missing `{field}`")]
    Field { field: &'static str },
    #[error("no common subprotocol: this server supports {}", Protocol::ALL.map(Protocol::as_str).join(", "))]
    Protocol,
    #[error(
        "requests with the origin {origin} are not allowed: a browser sends the origin of the web page that asks, and some \
         clients, such as Python's, send the address of the API server; hint: chart value gateway.allowedOrigins \
         (--allowed-origin)"
    )]
    Origin { origin: String },
}

impl Handshake {
    /// Reads the head of a request; pages of a browser only of `origins`.
    pub(crate) fn read(headers: &HeaderMap, origins: &[String]) -> Result<Self, BadHandshake> {
        if !only(headers, &header::UPGRADE).is_some_and(|v| v.eq_ignore_ascii_case(b"websocket")) {
            return Err(BadHandshake::Field { field: "Upgrade" });
        }
        if !asks_to_upgrade(headers) {
            return Err(BadHandshake::Field { field: "Connection" });
        }
        if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
            return Err(BadHandshake::Field { field: "Sec-WebSocket-Version" });
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
        let key = key.and_then(|key| HeaderValue::from_bytes(key).ok());
        let key = key.ok_or(BadHandshake::Field { field: "Sec-WebSocket-Key" })?;
        let protocols: Vec<_> =
            headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
        let offered = protocols.iter().filter_map(|value| value.to_str().ok());
        let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
        if !offered.any(|name| Protocol::named(name).is_some()) {
            return Err(BadHandshake::Protocol);
        }
        check_origin(headers, origins)?;
        Ok(Self { key, protocols })
    }

    /// The same, as the gateway asks its agent.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, self.key.clone());
        for protocol in &self.protocols {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
    }
}

/// Whether the request wants to leave HTTP, for whatever.
pub(crate) fn asks_to_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION);
    let mut tokens = values.iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// The value of a field that is there once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes().trim_ascii())
}

/// 16 bytes in base64, which nobody needs to decode.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || b"+/".contains(b);
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(digit))
}

/// A browser sends the cookies and certificates of its user with the wishes of any page. The API server's own
/// address is no exception: it serves pages of pods and services through its proxies.
pub(super) fn check_origin(headers: &HeaderMap, origins: &[String]) -> Result<(), BadHandshake> {
    let allowed = |origin: &[u8]| origins.iter().any(|allowed| allowed.as_bytes() == origin);
    let mut found = headers.get_all(header::ORIGIN).iter();
    match found.find(|origin| !allowed(origin.as_bytes())) {
        None => Ok(()),
        Some(origin) => {
            let origin = origin.as_bytes().escape_ascii().to_string();
            Err(BadHandshake::Origin { origin })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io"),
    ];

    fn read(fields: &[(&'static str, &'static str)]) -> Result<Handshake, BadHandshake> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Handshake::read(&headers, &["https://console.example".to_owned()])
    }

    #[test]
    fn a_good_handshake_is_passed_on() {
        let mut headers = HeaderMap::new();
        read(&GOOD).expect("a handshake").write(&mut headers);
        assert_eq!(Handshake::read(&headers, &[]), read(&GOOD));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        let bad = [
            (0, "keep-alive", "Connection"),
            (1, "spdy/3.1", "Upgrade"),
            (1, "websocket, spdy/3.1", "Upgrade"),
            (2, "8", "Sec-WebSocket-Version"),
            (3, "short", "Sec-WebSocket-Key"),
            (4, "v4.base64.channel.k8s.io", "v5.channel.k8s.io, v4"),
        ];
        for (field, value, named) in bad {
            let mut fields = GOOD;
            fields[field].1 = value;
            let error = read(&fields).expect_err(value).to_string();
            assert!(error.contains(named), "{error}");
            let mut without = GOOD.to_vec();
            without.remove(field);
            assert!(read(&without).is_err(), "without {}", GOOD[field].0);
        }
        for twice in [1, 2, 3] {
            let fields = [&GOOD[..], &GOOD[twice..=twice]].concat();
            assert!(read(&fields).is_err(), "{} twice", GOOD[twice].0);
        }
    }

    #[test]
    fn a_page_is_of_an_allowed_origin_or_gets_nothing() {
        let from = |origin| read(&[&GOOD[..], &[("origin", origin)]].concat());
        assert!(from("https://console.example").is_ok());
        for origin in ["https://evil.example", "null", ""] {
            assert!(matches!(from(origin), Err(BadHandshake::Origin { .. })), "{origin}");
        }
        let said = from("https://10.0.0.1:6443").expect_err("the API server's").to_string();
        for words in ["https://10.0.0.1:6443", "web page", "Python", "gateway.allowedOrigins"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
