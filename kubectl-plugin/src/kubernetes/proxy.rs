//! Through which proxy the API server is reached: what Go's `net/http` does, for kubectl does that.
//!
//! Speaking to the proxy is the HTTP stack's business.

use std::net::IpAddr;

use hyper::Uri;

#[derive(Debug, thiserror::Error)]
#[error("invalid proxy `{given}`: not a URL")]
pub(crate) struct BadProxy {
    given: String,
    #[source]
    source: hyper::http::uri::InvalidUri,
}

/// The proxy that the environment names for `server`, if there is one.
pub(super) fn from_environment(
    server: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, BadProxy> {
    let either = |upper: &str, lower: &str| {
        variable(upper).or_else(|| variable(lower)).filter(|value| !value.is_empty())
    };
    let proxy = match server.scheme_str() {
        Some("https") => either("HTTPS_PROXY", "https_proxy"),
        _ => either("HTTP_PROXY", "http_proxy"),
    };
    let Some(given) = proxy else { return Ok(None) };
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let spared = either("NO_PROXY", "no_proxy").unwrap_or_default();
    if is_loopback(host) || is_spared(host, server.port_u16(), &spared) {
        return Ok(None);
    }
    parse(&given).map(Some)
}

/// A host without a scheme is one of plain HTTP.
pub(super) fn parse(given: &str) -> Result<Uri, BadProxy> {
    let url = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    url.parse().map_err(|source| BadProxy { given: given.to_owned(), source })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether one of the comma-separated `rules` is about `host`: `*`, an address, a network, a domain.
fn is_spared(host: &str, port: Option<u16>, rules: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    rules.split(',').map(str::trim).filter(|rule| !rule.is_empty()).any(|rule| {
        let rule = rule.to_ascii_lowercase();
        if rule == "*" {
            return true;
        }
        if let Some((network, bits)) = rule.split_once('/') {
            return address.is_some_and(|address| is_within(address, network, bits));
        }
        let (name, wanted) = match rule.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
                (name.trim_start_matches('[').trim_end_matches(']'), port.parse().ok())
            }
            _ => (rule.as_str(), None),
        };
        if wanted.is_some() && wanted != port {
            return false;
        }
        if let Ok(ruled) = name.parse::<IpAddr>() {
            return address == Some(ruled);
        }
        // `.example.com` and `*.example.com` are only what is below it.
        match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
        }
    })
}

fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let same = |one: u128, other: u128, width: u32| {
        bits <= width && (bits == 0 || (one ^ other) >> (width - bits) == 0)
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            same(u32::from(one).into(), u32::from(other).into(), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.into(), other.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: &str, environment: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let server = server.parse().expect("a URL");
        let proxy = from_environment(&server, variable).expect("a proxy");
        proxy.map(|proxy| proxy.to_string())
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "p:2")];
        assert_eq!(proxy("https://api:6443", &both).as_deref(), Some("http://s:1/"));
        assert_eq!(proxy("http://api:8001", &both).as_deref(), Some("http://p:2/"));
        assert_eq!(proxy("https://api:6443", &[("https_proxy", "")]), None);
        assert_eq!(proxy("https://127.0.0.1:6443", &both), None);
        assert_eq!(proxy("https://localhost:6443", &both), None);
    }

    #[test]
    fn what_is_spared_is_reached_straight() {
        let spared = |server: &str, rules: &str| {
            proxy(server, &[("HTTPS_PROXY", "http://s:1"), ("NO_PROXY", rules)]).is_none()
        };
        let api = "https://api.example.com:6443";
        for rules in
            ["*", "example.com", " x, .example.com", "*.example.com", "API.example.com:6443"]
        {
            assert!(spared(api, rules), "{rules}");
        }
        for rules in ["", "ample.com", ".api.example.com", "api.example.com:443", "10.0.0.0/8"] {
            assert!(!spared(api, rules), "{rules}");
        }
        for rules in ["10.1.2.3", "10.0.0.0/8", "0.0.0.0/0", "10.1.2.3:6443"] {
            assert!(spared("https://10.1.2.3:6443", rules), "{rules}");
        }
        assert!(!spared("https://10.1.2.3:6443", "10.1.3.0/24,10.1.2.3/99,x/8"));
        assert!(spared("https://[fd00::1]:6443", "fd00::/8"));
    }
}
