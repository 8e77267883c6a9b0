//! The flags of an agent that dials in, apart from those of one that listens.

use std::path::PathBuf;

use super::error::BadConfig;
use crate::listen::Gateways;
use crate::tools::Tools;

/// Which gateways to dial
#[derive(Clone, Debug, clap::Args)]
pub struct GatewayArgs {
    /// Gateways to dial, may be repeated: `HOST:PORT`, where every address of HOST is one gateway
    #[arg(
        long,
        env = "NSDEBUG_GATEWAY",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        requires_all = ["gateway_ca", "token_file"]
    )]
    gateway: Vec<String>,

    /// CA that signs the certificates of gateways, PEM; read again for each connection
    #[arg(long, env = "NSDEBUG_GATEWAY_CA", value_name = "FILE", requires = "gateway")]
    gateway_ca: Option<PathBuf>,

    /// The token that authenticates this agent to gateways; read again for each connection
    #[arg(long, env = "NSDEBUG_TOKEN_FILE", value_name = "FILE", requires = "gateway")]
    token_file: Option<PathBuf>,

    /// The name of this node, for gateways to compare with the token
    #[arg(long, env = "NSDEBUG_NODE_NAME", value_name = "NAME", requires = "gateway")]
    node_name: Option<String>,

    /// Idle connections to keep open to each gateway
    #[arg(
        long,
        env = "NSDEBUG_GATEWAY_CONNECTIONS",
        value_name = "COUNT",
        default_value = "2",
        value_parser = clap::value_parser!(u16).range(1..=8)
    )]
    gateway_connections: u16,
}

impl GatewayArgs {
    /// What to dial, if anything.
    pub(super) fn resolve(self, tools: Tools) -> Result<Option<Gateways>, BadConfig> {
        let Self { gateway, gateway_ca, token_file, node_name, gateway_connections } = self;
        match (gateway_ca, token_file) {
            (Some(_), Some(_)) if tools == Tools::Host => Err(BadConfig::HostToolsForGateways),
            (Some(authority), Some(token)) => Ok(Some(Gateways {
                names: gateway,
                authority,
                token,
                node: node_name,
                connections: gateway_connections,
            })),
            _ => Ok(None),
        }
    }
}
