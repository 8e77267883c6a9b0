//! `kubectl nsdebug version`: ours, the gateway's, and whether they still belong together.

use crate::cli::Arguments;
use crate::error::Failure;
use crate::kubernetes::Cluster;
use crate::kubernetes::error::ClusterError;
use crate::outcome::Outcome;
use crate::{output, runtime};

const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Minor versions that may lie between: what kubectl is given beside an API server.
const MOST_SKEW: u64 = 1;

pub(super) fn run(arguments: &Arguments, client_only: bool) -> Result<Outcome, Failure> {
    output::line(&format!("Client Version: v{CLIENT}"));
    if client_only {
        return Ok(Outcome::of(0));
    }
    let server = runtime::run(async { Ok(ask(arguments).await?) })?;
    output::line(&format!("Server Version: v{server}"));
    if let Some(warning) = skew(CLIENT, &server) {
        output::warning(&warning);
    }
    Ok(Outcome::of(0))
}

async fn ask(arguments: &Arguments) -> Result<String, ClusterError> {
    let cluster = Cluster::open(&arguments.cluster, &arguments.certificates).await?;
    cluster.gateway_version().await
}

/// What to say where client and server are too far apart.
fn skew(client: &str, server: &str) -> Option<String> {
    let apart = match (parts(client), parts(server)) {
        (Some((ours, minor)), Some((theirs, their_minor))) => {
            ours != theirs || minor.abs_diff(their_minor) > MOST_SKEW
        }
        _ => true,
    };
    apart.then(|| {
        format!(
            "version difference between client ({client}) and server ({server}) exceeds the \
             supported minor version skew of +/-{MOST_SKEW}"
        )
    })
}

fn parts(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_version_apart_is_close_enough() {
        for server in ["1.2.0", "1.1.9", "1.3.0-rc.1"] {
            assert_eq!(skew("1.2.3", server), None, "{server}");
        }
        for server in ["1.0.0", "1.4.0", "2.2.3", "v1alpha1", "unknown", ""] {
            let said = skew("1.2.3", server).expect(server);
            assert!(said.contains("exceeds"), "{said}");
        }
    }
}
