//! Where an agent listens, as `--agent` says it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// `host` is a name or an IP address without brackets.
    Https {
        host: String,
        port: u16,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadAddress {
    #[error("an agent is `unix:PATH` or `https://HOST:PORT`")]
    Form,
    #[error("the port is missing: https://HOST:PORT")]
    NoPort,
    #[error("an agent's address is `https://HOST:PORT`, without user, path or query")]
    TooMuch,
    #[error("agents are only reached with encryption: use `unix:PATH` or `https://HOST:PORT`")]
    Plain,
}

impl Address {
    /// What the request calls its server.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Https { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Https { host, port } => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text.split_once(':') {
            Some(("unix", path)) => {
                // `unix:///run/x` is how gRPC and Docker spell it.
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() { Err(BadAddress::Form) } else { Ok(Self::Unix(path.into())) }
            }
            Some(("https", _)) => https(&text.parse().map_err(|_| BadAddress::Form)?),
            Some(("http", _)) => Err(BadAddress::Plain),
            _ => Err(BadAddress::Form),
        }
    }
}

fn https(uri: &Uri) -> Result<Address, BadAddress> {
    let authority = uri.authority().ok_or(BadAddress::Form)?;
    if authority.as_str().contains('@') || uri.path() != "/" || uri.query().is_some() {
        return Err(BadAddress::TooMuch);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(BadAddress::Form);
    }
    let port = authority.port_u16().ok_or(BadAddress::NoPort)?;
    Ok(Address::Https { host: host.to_owned(), port })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Https { .. } => write!(f, "https://{}", self.host()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_their_own_display() {
        for text in ["unix:/run/nsdebug/agent.sock", "https://node-1:7777", "https://[::1]:7777"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn an_ip_address_loses_its_brackets() {
        let address: Address = "https://[::1]:7777/".parse().expect("an address");
        assert_eq!(address, Address::Https { host: "::1".to_owned(), port: 7777 });
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "unix:",
            "/run/agent.sock",
            "https://",
            "https://node",
            "https://node:x",
            "https://node:1/path",
            "https://me@node:1",
            "http://node:1",
            "https://node:1?a",
            "ftp://x:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
