//! What `serve` is told, from flags and environment to values that cannot contradict each other.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use wire::TimeSpan;
use wire::rights::ReviewPolicy;

use crate::certificates::{Files, Names};

/// The least that a replacement takes to be known everywhere; only tests go below an hour.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(36);

/// The least between two reviews, and that a session may have.
const SECOND: Duration = Duration::from_secs(1);

/// Serve the API to kube-apiserver, and let agents connect
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Address for kube-apiserver; only its front-proxy client certificate is accepted
    #[arg(long, env = "NSDEBUG_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,

    /// Address for agents, which authenticate with the token of their service account
    #[arg(
        long,
        env = "NSDEBUG_LISTEN_AGENTS",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9443"
    )]
    listen_agents: SocketAddr,

    /// Address of /healthz, /livez (the same), /readyz and /metrics, without TLS
    #[arg(
        long,
        env = "NSDEBUG_LISTEN_HEALTH",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    listen_health: SocketAddr,

    /// The namespace of this gateway
    #[arg(long, env = "NSDEBUG_NAMESPACE", value_name = "NAME", default_value = "nsdebug")]
    namespace: String,

    /// The service account of agents, in the same namespace
    #[arg(
        long,
        env = "NSDEBUG_AGENT_ACCOUNT",
        value_name = "NAME",
        default_value = "nsdebug-agent"
    )]
    agent_account: String,

    /// Use this kubeconfig instead of the pod's own service account
    #[arg(long, env = "NSDEBUG_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Services of the same namespace that lead here, may be repeated: kube-apiserver and agents
    /// expect a certificate of these names
    #[arg(
        long,
        env = "NSDEBUG_SERVICE",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "nsdebug-gateway,nsdebug-gateway-agents"
    )]
    service: Vec<String>,

    /// More names for the certificate, may be repeated
    #[arg(long, env = "NSDEBUG_DNS_NAME", value_name = "NAME", value_delimiter = ',')]
    dns_name: Vec<String>,

    /// The gateway's certificate chain, PEM; read again when it changes [default: the gateway creates one]
    #[arg(long, env = "NSDEBUG_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, PEM
    #[arg(long, env = "NSDEBUG_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The Secret in which replicas share the certificate that they create
    #[arg(
        long,
        env = "NSDEBUG_CERTIFICATE_SECRET",
        value_name = "NAME",
        default_value = "nsdebug-gateway-tls"
    )]
    certificate_secret: String,

    /// The ConfigMap with the CA certificate by which agents verify the gateway
    #[arg(
        long,
        env = "NSDEBUG_CA_CONFIG_MAP",
        value_name = "NAME",
        default_value = "nsdebug-gateway-ca"
    )]
    ca_config_map: String,

    /// Validity of the certificates that the gateway creates; each is replaced after three quarters of it
    #[arg(
        long,
        env = "NSDEBUG_CERTIFICATE_LIFETIME",
        value_name = "DURATION",
        default_value = "90d",
        value_parser = TimeSpan::at_least(SHORTEST_LIFETIME)
    )]
    certificate_lifetime: TimeSpan,

    /// Do not require the right to `create` `pods/exec` of Kubernetes (kubectl exec) as well
    #[arg(
        long,
        env = "NSDEBUG_INSECURE_SKIP_CORE_EXEC_REVIEW",
        value_parser = BoolishValueParser::new()
    )]
    insecure_skip_core_exec_review: bool,

    /// Allow the profile `netadmin` without the right to host targets, though it reaches the node's network
    #[arg(
        long,
        env = "NSDEBUG_NETADMIN_REACHES_NODE_NETWORK",
        value_parser = BoolishValueParser::new()
    )]
    netadmin_reaches_node_network: bool,

    /// Origins whose web pages may open sessions, may be repeated
    #[arg(long, env = "NSDEBUG_ALLOWED_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    allowed_origin: Vec<String>,

    /// Concurrent sessions; the next one is refused
    #[arg(long, env = "NSDEBUG_MAX_SESSIONS", value_name = "COUNT", default_value = "1024")]
    max_sessions: NonZeroU32,

    /// Sessions of one user at once
    #[arg(
        long,
        env = "NSDEBUG_MAX_SESSIONS_PER_USER",
        value_name = "COUNT",
        default_value = "256"
    )]
    max_sessions_per_user: NonZeroU32,

    /// Interval at which the user's rights to a running session are checked again
    #[arg(
        long,
        env = "NSDEBUG_REVIEW_EVERY",
        value_name = "DURATION",
        default_value = "5m",
        value_parser = TimeSpan::at_least(SECOND)
    )]
    review_every: TimeSpan,

    /// Longest duration of a session
    #[arg(
        long,
        env = "NSDEBUG_MAX_SESSION",
        value_name = "DURATION",
        default_value = "8h",
        value_parser = TimeSpan::at_least(SECOND)
    )]
    max_session: TimeSpan,

    /// Longest duration of a session on a node, in a host target, or with `sysadmin` or `netadmin` (`netadmin`
    /// only without --netadmin-reaches-node-network)
    #[arg(
        long,
        env = "NSDEBUG_MAX_HOST_SESSION",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = TimeSpan::at_least(SECOND)
    )]
    max_host_session: TimeSpan,

    /// Write the audit log to this file; a session that cannot be logged is then refused
    /// [default: stdout]
    #[arg(long, env = "NSDEBUG_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,

    /// Time to keep serving after the first SIGTERM or SIGINT, until Kubernetes sends no more requests to this
    /// gateway
    #[arg(long, env = "NSDEBUG_LEAVE", value_name = "DURATION", default_value = "5s")]
    leave: TimeSpan,

    /// Time that running sessions get after --leave
    #[arg(long, env = "NSDEBUG_GRACE", value_name = "DURATION", default_value = "30s")]
    grace: TimeSpan,
}

/// What `serve` does.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) api: SocketAddr,
    pub(crate) agents: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) agent_account: String,
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) certificates: Certificates,
    pub(crate) policy: ReviewPolicy,
    pub(crate) origins: Vec<String>,
    pub(crate) max_sessions: NonZeroU32,
    pub(crate) max_sessions_per_user: NonZeroU32,
    pub(crate) review_every: Duration,
    pub(crate) longest: Longest,
    pub(crate) audit_log: Option<PathBuf>,
    pub(crate) leave: Duration,
    pub(crate) grace: Duration,
}

/// How long sessions may go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Longest {
    usual: Duration,
    host: Duration,
}

impl Longest {
    /// Of a session that is worth as much as its node or not; never more than the usual one.
    pub(crate) fn of(self, is_worth_the_node: bool) -> LongestOf {
        if is_worth_the_node && self.host < self.usual {
            let (flag, value) = ("--max-host-session", "gateway.maxHostSessionSeconds");
            LongestOf { duration: self.host, flag, value }
        } else {
            let (flag, value) = ("--max-session", "gateway.maxSessionSeconds");
            LongestOf { duration: self.usual, flag, value }
        }
    }
}

/// How long one session may go on, and what says so: a flag, and a value of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LongestOf {
    pub(crate) duration: Duration,
    flag: &'static str,
    value: &'static str,
}

impl fmt::Display for LongestOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duration, flag, value } = self;
        write!(f, "{} ({flag}; chart: {value})", TimeSpan::from(*duration))
    }
}

/// Where certificates come from.
#[derive(Clone, Debug)]
pub(crate) enum Certificates {
    Files(Files),
    Made { names: Names, dns_names: Vec<String>, lifetime: Duration },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    #[error("the certificate needs a name: give --service or --dns-name")]
    NoName,
}

impl TryFrom<ServeArgs> for Config {
    type Error = BadConfig;

    fn try_from(args: ServeArgs) -> Result<Self, BadConfig> {
        let ServeArgs {
            listen,
            listen_agents,
            listen_health,
            namespace,
            agent_account,
            kubeconfig,
            service,
            dns_name,
            tls_cert,
            tls_key,
            certificate_secret,
            ca_config_map,
            certificate_lifetime,
            insecure_skip_core_exec_review,
            netadmin_reaches_node_network,
            allowed_origin,
            max_sessions,
            max_sessions_per_user,
            review_every,
            max_session,
            max_host_session,
            audit_log,
            leave,
            grace,
        } = args;
        let files = tls_cert.zip(tls_key).map(|(chain, key)| Files { chain, key });
        let certificates = match files {
            Some(files) => Certificates::Files(files),
            None => Certificates::Made {
                dns_names: dns_names(&namespace, &service, dns_name)?,
                names: Names::of(&namespace, certificate_secret, ca_config_map),
                lifetime: certificate_lifetime.duration(),
            },
        };
        let policy = ReviewPolicy {
            core_exec: !insecure_skip_core_exec_review,
            netadmin_without_host_target: netadmin_reaches_node_network,
            own_namespace: namespace,
        };
        Ok(Self {
            api: listen,
            agents: listen_agents,
            health: listen_health,
            agent_account,
            kubeconfig,
            certificates,
            policy,
            origins: allowed_origin,
            max_sessions,
            max_sessions_per_user,
            review_every: review_every.duration(),
            longest: Longest { usual: max_session.duration(), host: max_host_session.duration() },
            audit_log,
            leave: leave.duration(),
            grace: grace.duration(),
        })
    }
}

/// Every name that is used for a Service from within a cluster.
fn dns_names(
    namespace: &str,
    services: &[String],
    more: Vec<String>,
) -> Result<Vec<String>, BadConfig> {
    let spelled = |service: &String| {
        ["", ".svc", ".svc.cluster.local"].map(|end| format!("{service}.{namespace}{end}"))
    };
    let names = services.iter().filter(|service| !service.is_empty()).flat_map(spelled);
    let names: Vec<_> = names.chain(more).collect();
    if names.is_empty() { Err(BadConfig::NoName) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn config(flags: &[&str]) -> Result<Config, String> {
        let command = ServeArgs::augment_args(clap::Command::new("serve"));
        let all = ["serve", "--dns-name=localhost"].iter().chain(flags);
        let matches = command.try_get_matches_from(all).map_err(|error| error.to_string())?;
        let args = ServeArgs::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Config::try_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn times_are_durations_and_seconds_without_a_unit() {
        let flags = ["--max-session=1h30m", "--max-host-session=60", "--grace=500ms", "--leave=0"];
        let config = config(&flags).expect("a configuration");
        let longest = [false, true].map(|host| config.longest.of(host));
        assert_eq!(longest.map(|one| one.duration), [5400, 60].map(Duration::from_secs));
        let said = [
            "1h30m (--max-session; chart: gateway.maxSessionSeconds)",
            "1m (--max-host-session; chart: gateway.maxHostSessionSeconds)",
        ];
        assert_eq!(longest.map(|one| one.to_string()), said);
        assert_eq!((config.grace, config.leave), (Duration::from_millis(500), Duration::ZERO));
        assert_eq!(config.review_every, Duration::from_secs(300));
    }

    #[test]
    fn a_time_that_is_too_short_is_refused() {
        for (flag, least) in [
            ("--certificate-lifetime=35s", "36s"),
            ("--review-every=500ms", "1s"),
            ("--max-session=0", "1s"),
        ] {
            let error = config(&[flag]).expect_err(flag);
            assert!(error.contains(&format!("the duration must be at least {least}")), "{error}");
        }
    }
}
