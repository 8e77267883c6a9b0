//! One HTTP connection to the API server, with all that the configuration asks for on it.
//!
//! The `kube` crate's parts, put together here: its own stack waits to fill packets and tries refused
//! requests again, and a key press must not wait.

use std::error::Error;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, Client, ClientBuilder, ConfigExt};
use kube::{Config, Error as KubeError};
use tokio::net::TcpStream;
use tower::{BoxError, Service, ServiceBuilder};
use tracing::debug;

use crate::connect::ahead::Ahead;
use crate::connect::low_water::LowWater;
use crate::verbose;

/// A server that does not even take the connection for this long is not there.
const REACH: Duration = Duration::from_secs(30);

/// A client that connects when it first sends something.
pub(super) fn of(config: &Config) -> Result<Client, KubeError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(REACH));
    let calm = |tcp: TokioIo<TcpStream>| TokioIo::new(LowWater::of(tcp.into_inner()));
    let tcp = ServiceBuilder::new().map_response(calm).service(tcp);
    let Some(proxy) = config.proxy_url.clone() else { return over(tcp, config) };
    debug!(proxy = %verbose::host(&proxy), "goes through a proxy");
    match proxy.scheme_str() {
        Some("socks5" | "socks5h") => over(SocksV5::new(proxy, tcp), config),
        Some("https") => {
            let encrypted = config.rustls_https_connector_with_connector(tcp)?;
            over(authenticated(Tunnel::new(proxy.clone(), encrypted), &proxy), config)
        }
        Some("http") => over(authenticated(Tunnel::new(proxy.clone(), tcp), &proxy), config),
        _ => Err(KubeError::ProxyProtocolUnsupported { proxy_url: Box::new(proxy) }),
    }
}

/// With the user and password that the proxy's URL names.
fn authenticated<C>(tunnel: Tunnel<C>, proxy: &Uri) -> Tunnel<C> {
    use base64::Engine;
    let userinfo = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let Some((userinfo, _)) = userinfo else { return tunnel };
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(userinfo).collect();
    let encoded = base64::engine::general_purpose::STANDARD.encode(decoded);
    match format!("Basic {encoded}").parse() {
        Ok(value) => tunnel.with_auth(value),
        Err(_) => tunnel, // base64 is always a header's value
    }
}

fn over<H>(connector: H, config: &Config) -> Result<Client, KubeError>
where
    H: Service<Uri> + Clone + Send + Sync + 'static,
    H::Response: Connection + Read + Write + Send + Unpin + 'static,
    H::Future: Send + 'static,
    H::Error: Error + Send + Sync + 'static,
{
    let ahead = |stream: H::Response| TokioIo::new(Ahead::of(TokioIo::new(stream)));
    let connector = ServiceBuilder::new().map_response(ahead).service(connector);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http = hyper_util::client::legacy::Builder::new(TokioExecutor::new());
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .map_response(|response: hyper::Response<hyper::body::Incoming>| {
            response.map(|body| body.map_err(BoxError::from))
        })
        .service(http.build::<_, Body>(connector));
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}
