//! `kubectl nsdebug version`: ours, the gateway's, and whether they still belong together.
//!
//! The gateway says its version where every API server does: in `info.version` of `/openapi/v3`.

use serde_json::Value;

use crate::cli::Arguments;
use crate::error::Failure;
use crate::kubernetes::error::ClusterError;
use crate::kubernetes::{Cluster, api_path};
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
    of_server(&cluster).await
}

/// The version of the gateway that answers.
pub(super) async fn of_server(cluster: &Cluster) -> Result<String, ClusterError> {
    let document = cluster.get::<Value>(&format!("/openapi/v3{}", api_path())).await;
    let document = document.map_err(|error| match error {
        ClusterError::Foreign { code, .. } if code.as_u16() == 404 => ClusterError::NotInstalled,
        ClusterError::Status(status) if status.code == 404 => ClusterError::NotInstalled,
        error => error,
    })?;
    let version = document["info"]["version"].as_str().unwrap_or("unknown");
    Ok(version.trim_start_matches('v').to_owned())
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
