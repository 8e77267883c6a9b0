//! From kubeconfig, command line and environment to one way into one cluster.
//!
//! In this order: flags, kubeconfig, the service account of the pod that we may run in.

use hyper::Uri;
use kube::Config;
use kube::config::{
    AuthInfo, Cluster, Context, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError,
    NamedAuthInfo, NamedCluster, NamedContext,
};
use secrecy::SecretString;

use super::credential::{self, CredentialError};
use super::kubeconfig::{self, ChoiceError};
use super::proxy::{self, BadProxy};
use crate::cli::{CertificateFlags, ClusterFlags};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("no cluster is configured: there is no kubeconfig, no --server and no --agent")]
    Nowhere,
    #[error("the service account of this pod cannot be used")]
    InCluster(#[source] InClusterError),
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    #[error("requesting uid or groups for impersonation without a user: give --as too")]
    GroupWithoutUser,
    #[error(transparent)]
    Proxy(#[from] BadProxy),
}

impl ConfigError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Nowhere => Some(
                "set KUBECONFIG, or give --kubeconfig FILE; for the agent of this node, without a cluster: \
                 --agent unix:/run/nsdebug/agent.sock"
                    .to_owned(),
            ),
            Self::Credential(error) => error.hint(),
            _ => None,
        }
    }
}

/// Everything that can be known without asking the cluster. Runs a credential program, if there is one.
pub(super) async fn load(
    flags: &ClusterFlags,
    certificates: &CertificateFlags,
) -> Result<Config, ConfigError> {
    if flags.as_user.is_none() && (!flags.as_group.is_empty() || flags.as_uid.is_some()) {
        return Err(ConfigError::GroupWithoutUser);
    }
    let read = kubeconfig::read(flags.kubeconfig.as_deref())?;
    let mut config = if kubeconfig::is_empty(&read) && flags.server.is_none() {
        in_cluster(flags)?
    } else {
        from_kubeconfig(&read, flags, certificates).await?
    };
    // Nobody verifies what is not encrypted, or not to be verified: no need for the system's roots.
    if config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http") {
        config.root_cert.get_or_insert_default();
    }
    Ok(config)
}

async fn from_kubeconfig(
    read: &Kubeconfig,
    flags: &ClusterFlags,
    certificates: &CertificateFlags,
) -> Result<Config, ConfigError> {
    let mut chosen = kubeconfig::choose(read, flags)?;
    override_cluster(&mut chosen.cluster, flags, certificates);
    override_user(&mut chosen.user, flags, certificates);
    let proxy = chosen.cluster.proxy_url.take().filter(|proxy| !proxy.is_empty());
    let single = Kubeconfig {
        clusters: vec![NamedCluster { cluster: Some(chosen.cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo {
            auth_info: Some(chosen.user),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            context: Some(Context {
                user: Some(String::new()),
                namespace: chosen.namespace.filter(|namespace| !namespace.is_empty()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some(String::new()),
        ..Kubeconfig::default()
    };
    let config = Config::from_custom_kubeconfig(single, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| match error {
        KubeconfigError::MissingClusterUrl => ConfigError::Nowhere,
        error => ConfigError::Kubeconfig(Box::new(error)),
    })?;
    credential::run(&mut config.auth_info)?;
    config.proxy_url = proxy_of(&config.cluster_url, proxy)?;
    Ok(config)
}

/// The kubeconfig's own proxy is for every request; the environment's spares some.
fn proxy_of(server: &Uri, own: Option<String>) -> Result<Option<Uri>, BadProxy> {
    match own {
        Some(own) => proxy::parse(&own).map(Some),
        None => proxy::from_environment(server, |name| std::env::var(name).ok()),
    }
}

fn in_cluster(flags: &ClusterFlags) -> Result<Config, ConfigError> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Err(ConfigError::Nowhere);
    }
    let mut config = Config::incluster_env().map_err(ConfigError::InCluster)?;
    override_user(&mut config.auth_info, flags, &CertificateFlags::default());
    Ok(config)
}

fn override_cluster(cluster: &mut Cluster, flags: &ClusterFlags, certificates: &CertificateFlags) {
    if let Some(server) = &flags.server {
        // kubectl takes `host:port` for plain HTTP.
        let has_scheme = server.contains("://");
        cluster.server = Some(if has_scheme { server.clone() } else { format!("http://{server}") });
    }
    if let Some(authority) = &certificates.certificate_authority {
        cluster.certificate_authority = Some(authority.to_string_lossy().into_owned());
        cluster.certificate_authority_data = None;
        cluster.insecure_skip_tls_verify = None;
    }
    if flags.insecure_skip_tls_verify {
        cluster.insecure_skip_tls_verify = Some(true);
        cluster.certificate_authority = None;
        cluster.certificate_authority_data = None;
    }
    if let Some(name) = &certificates.tls_server_name {
        cluster.tls_server_name = Some(name.clone());
    }
}

fn override_user(user: &mut AuthInfo, flags: &ClusterFlags, certificates: &CertificateFlags) {
    if user.token_file.is_some() {
        user.token = None; // a file is newer than what was written beside it
    }
    if let Some(token) = &flags.token {
        user.token = Some(SecretString::from(token.clone()));
        (user.token_file, user.exec, user.auth_provider) = (None, None, None);
        (user.username, user.password) = (None, None);
    }
    if let (Some(certificate), Some(key)) =
        (&certificates.client_certificate, &certificates.client_key)
    {
        user.client_certificate = Some(certificate.to_string_lossy().into_owned());
        user.client_key = Some(key.to_string_lossy().into_owned());
        (user.client_certificate_data, user.client_key_data, user.exec) = (None, None, None);
    }
    if let Some(name) = &flags.as_user {
        user.impersonate = Some(name.clone());
        user.impersonate_uid.clone_from(&flags.as_uid);
        user.impersonate_groups = Some(flags.as_group.clone());
        user.impersonate_user_extra = None;
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn loaded(text: &str, flags: &ClusterFlags, certificates: &CertificateFlags) -> Config {
        let read = Kubeconfig::from_yaml(text).expect("a kubeconfig");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.build().expect("a runtime");
        runtime.block_on(from_kubeconfig(&read, flags, certificates)).expect("a configuration")
    }

    const TEXT: &str = r#"
clusters: [{name: c, cluster: {server: "https://api:6443", insecure-skip-tls-verify: true, proxy-url: "http://p:3128"}}]
users: [{name: u, user: {exec: {command: /nowhere, apiVersion: x}, as: eve, as-groups: [wicked]}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: shop}}]
current-context: x
"#;

    #[test]
    fn the_command_line_wins_over_the_kubeconfig() {
        let flags = ClusterFlags {
            server: Some("https://other:1".to_owned()),
            token: Some("t".to_owned()),
            as_user: Some("bob".to_owned()),
            as_group: vec!["dev".to_owned()],
            ..ClusterFlags::default()
        };
        let tls_server_name = Some("name".to_owned());
        let certificates = CertificateFlags { tls_server_name, ..CertificateFlags::default() };
        let config = loaded(TEXT, &flags, &certificates);
        assert_eq!(config.cluster_url.to_string(), "https://other:1/");
        assert_eq!(config.default_namespace, "shop");
        assert_eq!(config.tls_server_name.as_deref(), Some("name"));
        assert_eq!(config.proxy_url.map(|url| url.to_string()).as_deref(), Some("http://p:3128/"));
        assert!(config.accept_invalid_certs);
        let user = config.auth_info;
        assert_eq!(user.token.expect("a token").expose_secret(), "t");
        assert_eq!(user.impersonate.as_deref(), Some("bob"));
        assert_eq!(user.impersonate_groups, Some(vec!["dev".to_owned()]));
    }

    #[test]
    fn a_server_alone_is_a_cluster() {
        let server = Some("127.0.0.1:8001".to_owned());
        let flags = ClusterFlags { server, ..ClusterFlags::default() };
        let config = loaded("{}", &flags, &CertificateFlags::default());
        assert_eq!(config.cluster_url.to_string(), "http://127.0.0.1:8001/");
        assert_eq!(config.default_namespace, "default");
    }

    #[test]
    fn an_authority_on_the_command_line_is_verified_with() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, "").expect("a file");
        let certificate_authority = Some(path);
        let certificates =
            CertificateFlags { certificate_authority, ..CertificateFlags::default() };
        let flags = ClusterFlags { token: Some("t".to_owned()), ..ClusterFlags::default() };
        let config = loaded(TEXT, &flags, &certificates);
        assert!(!config.accept_invalid_certs && config.root_cert.is_some());
    }
}
