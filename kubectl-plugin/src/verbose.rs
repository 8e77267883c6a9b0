//! `-v`: what is asked, of which host, and how long that took, a line each on stderr.
//!
//! Never what is secret: no headers, no queries, no arguments, and nothing that a library says.

use std::io;

use hyper::Uri;
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Our own modules. Libraries may well print a request with all its headers.
const OURS: &str = env!("CARGO_CRATE_NAME");

pub(crate) fn start() {
    let lines = layer().with_writer(io::stderr).with_ansi(false).without_time().with_target(false);
    let ours = Targets::new().with_target(OURS, Level::DEBUG);
    // It is the first of this program, and an error would say that it is not.
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).try_init();
}

/// Host and port of a URL, which may have a password before them and a secret behind.
pub(crate) fn host(url: &Uri) -> String {
    let host = url.host().unwrap_or("nowhere").to_owned();
    url.port_u16().map_or(host.clone(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_host_and_port_are_shown() {
        let shown = |url: &str| host(&url.parse().expect("a URL"));
        assert_eq!(
            shown("https://me:secret@proxy.example:3128/path?token=x"),
            "proxy.example:3128"
        );
        assert_eq!(shown("https://[fd00::1]/"), "[fd00::1]");
    }
}
