//! What `serve` is told, from flags and environment to values that cannot contradict each other.

mod error;
mod gateways;
mod tls;
mod used;

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use entry::Resources;

pub use error::BadConfig;
pub use gateways::GatewayArgs;
pub use tls::TlsConfig;
use used::Used;
use wire::{Profile, TimeSpan};

use crate::limits::{LimitArgs, SessionLimits, TogetherArgs};
use crate::listen::Gateways;
use crate::profile::planned;
use crate::session::{Lifetime, Policy};
use crate::tools::Tools;

/// Where containerd listens everywhere.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// No session may have less time.
const SHORTEST: Duration = Duration::from_secs(1);

/// Where an image of ours has its tools.
pub const TOOLBOX: &str = "/toolbox";

/// Serve sessions on sockets of this node, and to gateways
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Address to listen on, may be repeated: `unix:/PATH` (only root may connect) or `HOST:PORT` (TLS,
    /// only holders of a client certificate)
    #[arg(
        long,
        env = "NSDEBUG_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "unix:/run/nsdebug/agent.sock"
    )]
    listen: Vec<ListenAddress>,

    /// The agent's certificate chain, PEM; read again when it changes
    #[arg(long, env = "NSDEBUG_TLS_CERT", value_name = "FILE", requires_all = ["tls_key", "client_ca"])]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, PEM
    #[arg(long, env = "NSDEBUG_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// CA that signs the certificates of clients that may connect, PEM
    #[arg(long, env = "NSDEBUG_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,

    #[command(flatten)]
    gateways: GatewayArgs,

    /// Which tools sessions run
    #[arg(long, env = "NSDEBUG_TOOLS", value_enum, default_value = "toolbox")]
    tools: Tools,

    /// The directory of the toolbox: the tree of programs that sessions run
    #[arg(long, env = "NSDEBUG_TOOLBOX", value_name = "DIR", default_value = TOOLBOX)]
    toolbox: PathBuf,

    #[arg(
        long,
        env = "NSDEBUG_MAX_PROFILE",
        value_name = "NAME",
        default_value_t,
        help = max_profile_help()
    )]
    max_profile: Profile,

    /// Allow the profile `netadmin` without the right to host targets, though it reaches the node's network
    #[arg(long, env = "NSDEBUG_NETADMIN_REACHES_NODE_NETWORK", value_parser = BoolishValueParser::new())]
    netadmin_reaches_node_network: bool,

    /// Enter targets that share the node's pid, net, ipc or mount namespace, that hold a capability such
    /// as `SYS_ADMIN` or that have the node's own files or kernel settings mounted, and the node itself
    #[arg(long, env = "NSDEBUG_ALLOW_HOST_TARGETS", value_parser = BoolishValueParser::new())]
    allow_host_targets: bool,

    /// containerd's socket
    #[arg(long, env = "NSDEBUG_CONTAINERD", value_name = "SOCKET", default_value = CONTAINERD_SOCKET)]
    containerd: PathBuf,

    /// In a container: make the agent's own control groups writable, which runtimes mount read-only. Needs the
    /// node's pid namespace and the right to mount
    #[arg(long, env = "NSDEBUG_REMOUNT_CGROUPS", value_parser = BoolishValueParser::new())]
    remount_cgroups: bool,

    /// Time that running sessions get after the first SIGTERM or SIGINT
    #[arg(long, env = "NSDEBUG_GRACE", value_name = "DURATION", default_value = "30s")]
    grace: TimeSpan,

    /// Concurrent sessions; the next one is refused
    #[arg(long, env = "NSDEBUG_MAX_SESSIONS", value_name = "COUNT", default_value = "64")]
    max_sessions: NonZeroU16,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    together: TogetherArgs,

    #[command(flatten)]
    care: CareArgs,
}

fn max_profile_help() -> String {
    let all = Profile::names();
    format!("The highest profile that a session may have: {all}")
}

/// How sessions are looked after
#[derive(Clone, Debug, clap::Args)]
pub struct CareArgs {
    /// Concurrent sessions of one caller. (This + 2) × --session-pids must be at most --all-sessions-pids
    #[arg(
        long,
        env = "NSDEBUG_MAX_SESSIONS_PER_CALLER",
        value_name = "COUNT",
        default_value = "8"
    )]
    max_sessions_per_caller: NonZeroU16,

    /// Longest time of a session without a byte of input or output
    #[arg(
        long,
        env = "NSDEBUG_IDLE_LIMIT",
        value_name = "DURATION",
        default_value = "30m",
        value_parser = TimeSpan::at_least(SHORTEST)
    )]
    idle_limit: TimeSpan,

    /// Longest duration of a session. A tool that ignores the signal at its end, or is suspended (SIGSTOP), is
    /// killed 4 s later
    #[arg(
        long,
        env = "NSDEBUG_SESSION_LIMIT",
        value_name = "DURATION",
        default_value = "8h",
        value_parser = TimeSpan::at_least(SHORTEST)
    )]
    session_limit: TimeSpan,

    /// Longest duration, if shorter, of a session with full control of the node: with `sysadmin` or the node's
    /// own tools, on the node itself, or in a host target
    #[arg(
        long,
        env = "NSDEBUG_PRIVILEGED_SESSION_LIMIT",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = TimeSpan::at_least(SHORTEST)
    )]
    privileged_session_limit: TimeSpan,

    /// The audit log: a line of JSON at the start and at the end of each session. A session that cannot be
    /// logged is refused [default: stderr, with the log]
    #[arg(long, env = "NSDEBUG_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,
}

/// What `serve` does.
#[derive(Clone, Debug)]
pub struct Config {
    pub unix: Vec<PathBuf>,
    pub tls: Option<TlsConfig>,
    pub gateways: Option<Gateways>,
    pub policy: Policy,
    pub containerd: PathBuf,
    pub remount_cgroups: bool,
    pub grace: Duration,
    pub max_sessions: NonZeroU16,
    pub limits: SessionLimits,
    /// Of all sessions with limits.
    pub together: Resources,
    pub care: CareConfig,
}

#[derive(Clone, Debug)]
pub struct CareConfig {
    pub max_sessions_per_caller: NonZeroU16,
    pub lifetime: Lifetime,
    pub audit_log: Option<PathBuf>,
}

impl From<CareArgs> for CareConfig {
    fn from(args: CareArgs) -> Self {
        let CareArgs {
            max_sessions_per_caller,
            idle_limit,
            session_limit,
            privileged_session_limit,
            audit_log,
        } = args;
        let lifetime = Lifetime {
            idle: idle_limit,
            total: session_limit,
            privileged: privileged_session_limit,
        };
        Self { max_sessions_per_caller, lifetime, audit_log }
    }
}

/// One `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Unix(PathBuf),
    Tls(Vec<SocketAddr>),
}

#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    #[error("the path of a unix socket begins with `/`: unix:/run/nsdebug/agent.sock")]
    RelativePath,
    #[error("neither `unix:/PATH` nor `HOST:PORT` of this host, e.g. 0.0.0.0:7443")]
    HostPort(#[source] std::io::Error),
}

impl FromStr for ListenAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(BadAddress::RelativePath),
            None => {
                let addresses = text.to_socket_addrs().map_err(BadAddress::HostPort)?;
                Ok(Self::Tls(addresses.collect()))
            }
        }
    }
}

impl TryFrom<ServeArgs> for Config {
    type Error = BadConfig;

    fn try_from(args: ServeArgs) -> Result<Self, BadConfig> {
        let ServeArgs {
            listen,
            tls_cert,
            tls_key,
            client_ca,
            gateways,
            tools,
            toolbox,
            max_profile,
            allow_host_targets,
            netadmin_reaches_node_network,
            containerd,
            remount_cgroups,
            grace,
            max_sessions,
            limits,
            together,
            care,
        } = args;
        let (unix, addresses) = split(listen);
        // One requires the others.
        let tls = TlsConfig::of(addresses, tls_cert.zip(tls_key).zip(client_ca))?;
        let gateways = gateways.resolve(tools)?;
        let limits = limits.of(tools == Tools::Toolbox);
        let together = leaving_some(together, limits, care.max_sessions_per_caller)?;
        let policy = match tools {
            Tools::Host => Policy::Host,
            Tools::Toolbox => Policy::Toolbox {
                own: Used {
                    unix: &unix,
                    containerd: &containerd,
                    toolbox: &toolbox,
                    audit_log: care.audit_log.as_deref(),
                    tls: tls.as_ref(),
                    gateways: gateways.as_ref(),
                }
                .paths()?,
                tree: toolbox,
                most: planned(max_profile),
                host_targets: allow_host_targets,
                node_network: netadmin_reaches_node_network,
            },
        };
        Ok(Self {
            unix,
            tls,
            gateways,
            policy,
            containerd,
            remount_cgroups,
            grace: grace.duration(),
            max_sessions,
            limits,
            together,
            care: care.into(),
        })
    }
}

/// What all have together, if one caller's sessions leave processes of it for one of another: what they fork and nobody
/// reaps counts until their container ends, for a session's worth of it also where their slot is free again.
fn leaving_some(
    together: TogetherArgs,
    limits: SessionLimits,
    per_caller: NonZeroU16,
) -> Result<Resources, BadConfig> {
    let together = together.resources();
    let SessionLimits::Toolbox(Resources { pids: session, .. }) = limits else {
        return Ok(together);
    };
    let (needed, all) = ((u64::from(per_caller.get()) + 2) * u64::from(session), together.pids);
    if needed > u64::from(all) {
        return Err(BadConfig::OneTakesAll { per_caller, session, needed, all });
    }
    Ok(together)
}

/// The paths of the sockets in `listen`, and the addresses of the ports.
fn split(listen: Vec<ListenAddress>) -> (Vec<PathBuf>, Vec<SocketAddr>) {
    let (mut unix, mut addresses) = (Vec::new(), Vec::new());
    for address in listen {
        match address {
            ListenAddress::Unix(path) => unix.push(path),
            ListenAddress::Tls(resolved) => addresses.extend(resolved),
        }
    }
    (unix, addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn config(flags: &[&str]) -> Result<Config, String> {
        let command = ServeArgs::augment_args(clap::Command::new("serve"));
        let all = ["serve"].iter().chain(flags);
        let matches = command.try_get_matches_from(all).map_err(|error| error.to_string())?;
        let args = ServeArgs::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Config::try_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_only_root_of_this_node_is_served() {
        let config = config(&[]).expect("a configuration");
        assert_eq!(config.unix, [PathBuf::from("/run/nsdebug/agent.sock")]);
        assert!(config.tls.is_none());
        assert_eq!(config.grace, Duration::from_secs(30));
    }

    #[test]
    fn what_the_agent_itself_uses_makes_a_target_that_has_it_a_host_target() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (socket, containerd, log) = (path("sd/a.sock"), path("c.sock"), path("log/audit"));
        let listen = format!("--listen=unix:{socket}");
        let (asks, logs) = (format!("--containerd={containerd}"), format!("--audit-log={log}"));
        let config = config(&[&listen, &asks, &logs, "--toolbox=/toolbox"]).expect("one");
        let signs = config.policy.signs();
        for own in [&socket, &containerd] {
            assert!(signs.own.contains(own), "{own} in {:?}", signs.own);
        }
        for own in ["/toolbox", &log] {
            assert!(signs.own_to_write.iter().any(|it| it == own), "{own}");
        }
    }

    #[test]
    fn a_port_without_certificates_is_refused_and_the_other_way_round() {
        let error = config(&["--listen", "127.0.0.1:0"]).expect_err("no certificate");
        assert!(error.contains("--client-ca"), "{error}");
        let files = ["--tls-cert=c", "--tls-key=k", "--client-ca=a"];
        assert!(config(&files).expect_err("no port").contains("--listen"));
        assert!(config(&files[..2]).expect_err("no CA").contains("--client-ca"));
        let both = [&files[..], &["--listen", "127.0.0.1:0", "--listen", "unix:/a"]].concat();
        let config = config(&both).expect("a configuration");
        assert_eq!((config.unix.len(), config.tls.map(|tls| tls.addresses.len())), (1, Some(1)));
    }

    #[test]
    fn gateways_are_dialled_with_a_ca_and_a_token_and_never_get_the_nodes_tools() {
        let gateway = ["--gateway=gw.nsdebug.svc:9443"];
        let error = config(&gateway).expect_err("neither CA nor token");
        assert!(error.contains("--gateway-ca") && error.contains("--token-file"), "{error}");
        let all = [&gateway[..], &["--gateway-ca=ca", "--token-file=token"]].concat();
        let gateways = config(&all).expect("a configuration").gateways.expect("gateways");
        assert_eq!((gateways.names.len(), gateways.connections), (1, 2));
        let error = config(&[&all[..], &["--tools=host"]].concat()).expect_err("too much");
        assert!(error.contains("--tools host"), "{error}");
    }

    #[test]
    fn one_caller_cannot_be_given_the_processes_of_all() {
        let error = config(&["--max-sessions-per-caller=32"]).expect_err("it takes all");
        for word in
            ["--session-pids", "is 8704, more than --all-sessions-pids 3072", "the last to 8704"]
        {
            assert!(error.contains(word), "{word}: {error}");
        }
        let fits = ["--max-sessions-per-caller=32", "--all-sessions-pids=8704"];
        assert!(config(&fits).is_ok());
        // Where sessions have no limits there is none that one could use up.
        for unlimited in ["--tools=host", "--no-session-cgroup"] {
            assert!(config(&["--max-sessions-per-caller=32", unlimited]).is_ok(), "{unlimited}");
        }
    }

    #[test]
    fn an_address_that_is_none_says_what_one_looks_like() {
        for bad in ["unix:agent.sock", "7443", "/run/agent.sock"] {
            let error = config(&["--listen", bad]).expect_err(bad);
            assert!(error.contains("unix:/"), "{error}");
        }
    }
}
