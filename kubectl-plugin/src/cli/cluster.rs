//! The flags that say which cluster is meant and as whom: kubectl's own, by kubectl's names.
//!
//! What they come to together with the kubeconfig is decided in `kubernetes::config`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use wire::TimeSpan;

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterFlags {
    /// The kubeconfig to use, instead of those in KUBECONFIG or `~/.kube/config`
    #[arg(long, env = "NSDEBUG_KUBECONFIG", value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, env = "NSDEBUG_CONTEXT", value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,

    /// Cluster of the kubeconfig
    #[arg(long, env = "NSDEBUG_CLUSTER", value_name = "NAME", global = true)]
    pub(crate) cluster: Option<String>,

    /// User of the kubeconfig
    #[arg(long, env = "NSDEBUG_USER", value_name = "NAME", global = true)]
    pub(crate) user: Option<String>,

    /// Address of the API server
    #[arg(short, long, env = "NSDEBUG_SERVER", value_name = "URL", global = true)]
    pub(crate) server: Option<String>,

    /// Bearer token for the API server
    #[arg(
        long,
        env = "NSDEBUG_TOKEN",
        value_name = "TOKEN",
        global = true,
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,

    /// User to impersonate
    #[arg(long = "as", env = "NSDEBUG_AS", value_name = "USER", global = true)]
    pub(crate) as_user: Option<String>,

    /// Group to impersonate, may be repeated
    #[arg(long, env = "NSDEBUG_AS_GROUP", value_name = "GROUP", global = true)]
    pub(crate) as_group: Vec<String>,

    /// UID to impersonate
    #[arg(long, env = "NSDEBUG_AS_UID", value_name = "UID", global = true)]
    pub(crate) as_uid: Option<String>,

    /// Accept any certificate of the API server (insecure)
    #[arg(long, env = "NSDEBUG_INSECURE_SKIP_TLS_VERIFY", global = true, value_parser = FalseyValueParser::new())]
    pub(crate) insecure_skip_tls_verify: bool,

    /// Longest wait for one answer of the API server, such as `10s`; 0 means the default of one minute
    #[arg(long, env = "NSDEBUG_REQUEST_TIMEOUT", value_name = "DURATION", global = true)]
    pub(crate) request_timeout: Option<TimeSpan>,
}

/// Whom to trust and what to show, of an API server or an agent.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Certificates")]
pub(crate) struct CertificateFlags {
    /// CA file (PEM) that verifies the certificate of the API server, or of the agent
    #[arg(long, env = "NSDEBUG_CERTIFICATE_AUTHORITY", value_name = "FILE", global = true)]
    pub(crate) certificate_authority: Option<PathBuf>,

    /// Client certificate (PEM)
    #[arg(
        long,
        env = "NSDEBUG_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "client_key",
        global = true
    )]
    pub(crate) client_certificate: Option<PathBuf>,

    /// Private key of the client certificate (PEM)
    #[arg(
        long,
        env = "NSDEBUG_CLIENT_KEY",
        value_name = "FILE",
        requires = "client_certificate",
        global = true
    )]
    pub(crate) client_key: Option<PathBuf>,

    /// Name to expect in the server's certificate [default: the host of its address]
    #[arg(long, env = "NSDEBUG_TLS_SERVER_NAME", value_name = "NAME", global = true)]
    pub(crate) tls_server_name: Option<String>,
}

impl ClusterFlags {
    /// The first flag that is given: with `--agent` there is no cluster to mean.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let Self {
            kubeconfig,
            context,
            cluster,
            user,
            server,
            token,
            as_user,
            as_group,
            as_uid,
            insecure_skip_tls_verify,
            request_timeout,
        } = self;
        let given = [
            ("--kubeconfig", kubeconfig.is_some()),
            ("--context", context.is_some()),
            ("--cluster", cluster.is_some()),
            ("--user", user.is_some()),
            ("--server", server.is_some()),
            ("--token", token.is_some()),
            ("--as", as_user.is_some()),
            ("--as-group", !as_group.is_empty()),
            ("--as-uid", as_uid.is_some()),
            ("--insecure-skip-tls-verify", *insecure_skip_tls_verify),
            ("--request-timeout", request_timeout.is_some()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}
