//! The gateway as a whole, from its ports to its last session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use daemon::Signals;
use daemon::audit::AuditLog;
use daemon::shutdown::{Control, Shutdown, shutdown};
use kube::Client;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use rustls::crypto::ring;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::agents::{Agents, Reception, Tokens};
use crate::api::Sessions;
use crate::certificates::{Keeper, Shown};
use crate::config::{Certificates, Config};
use crate::health::{self, Health};
use crate::identity::{Trust, keep_current};
use crate::kubernetes::Kubernetes;
use crate::listen::Ports;
use crate::metrics::Metrics;
use crate::quotas::Quotas;
use crate::turns::Turns;

/// What sessions get, once told to end, to be written down.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A gateway that serves.
#[derive(Debug)]
#[must_use = "dropping this ends every session"]
pub struct Gateway {
    control: Control,
    quotas: Quotas,
    agents: Agents,
    tasks: JoinSet<()>,
    addresses: Addresses,
    leave: Duration,
    grace: Duration,
}

/// Where it listens, ports that were asked for as 0 included.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub api: SocketAddr,
    pub agents: SocketAddr,
    pub health: SocketAddr,
}

/// What is listened on.
struct Listeners {
    api: TcpListener,
    agents: TcpListener,
    health: TcpListener,
}

impl Gateway {
    /// Starts one with the cluster that it is in, or that its kubeconfig names.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        // Other code of this process that makes TLS without saying by what.
        let _ = ring::default_provider().install_default();
        let client = client(&config).await?;
        Self::start_with(config, client).await
    }

    /// Starts one with the API server that `client` talks to.
    pub async fn start_with(config: Config, client: Client) -> anyhow::Result<Self> {
        let Config {
            api,
            agents,
            health,
            agent_account,
            kubeconfig: _,
            certificates,
            policy,
            origins,
            max_sessions,
            max_sessions_per_user,
            review_every,
            longest,
            audit_log,
            leave,
            grace,
        } = config;
        let listeners = Listeners {
            api: bind(api).await?,
            agents: bind(agents).await?,
            health: bind(health).await?,
        };
        let addresses = listeners.addresses()?;
        let (control, shutdown) = shutdown();
        let (metrics, shown) = (Metrics::default(), Shown::default());
        let kubernetes = Kubernetes::new(client);
        let mut tasks = JoinSet::new();
        keep(certificates, &kubernetes, &shown, &shutdown, &mut tasks)?;
        let (sender, trust) = watch::channel(None);
        tasks.spawn(keep_current(kubernetes.clone(), sender, shutdown.clone()));
        let tokens = Tokens::new(kubernetes.clone(), &policy.own_namespace, &agent_account);
        let sessions = Arc::new(Sessions {
            kubernetes,
            agents: Agents::new(metrics.idle().clone()),
            turns: Turns::new(),
            quotas: Quotas::new(max_sessions, max_sessions_per_user),
            policy,
            origins,
            review_every,
            longest,
            audit: audit_log
                .as_deref()
                .map_or_else(|| Ok(AuditLog::to_stdout()), AuditLog::to_file)?,
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
        });
        let (quotas, agents) = (sessions.quotas.clone(), sessions.agents.clone());
        let ports = Ports { shown, metrics, shutdown };
        listeners.serve(ports, trust, tokens, sessions, &mut tasks);
        let Addresses { api, agents: dialled, health } = addresses;
        info!(version = env!("CARGO_PKG_VERSION"), %api, agents = %dialled, %health, "started");
        Ok(Self { control, quotas, agents, tasks, addresses, leave, grace })
    }

    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until a signal says to stop.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut signals = Signals::install().context("cannot listen for signals")?;
        let signal = signals.next().await;
        info!(signal, sessions = self.quotas.taken(), "leaving");
        let again = async move {
            let signal = signals.next().await;
            info!(signal, "asked again");
        };
        self.stop(again).await;
        Ok(())
    }

    /// Stops in order; sessions get their time unless `hurry` completes.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let Self { control, quotas, agents, tasks, addresses: _, leave, grace } = self;
        control.leave();
        let in_peace = async {
            tokio::time::sleep(leave).await;
            control.drain();
            if tokio::time::timeout(grace, quotas.all_free()).await.is_err() {
                info!(sessions = quotas.taken(), "grace period ended");
            }
        };
        tokio::select! {
            () = in_peace => {}
            () = hurry => {}
        }
        control.end();
        if tokio::time::timeout(END_LIMIT, quotas.all_free()).await.is_err() {
            warn!(sessions = quotas.taken(), "sessions did not end in time");
        }
        agents.let_go();
        if tokio::time::timeout(END_LIMIT, tasks.join_all()).await.is_err() {
            warn!("ports did not close in time");
        }
        info!("stopped");
    }
}

impl Listeners {
    fn addresses(&self) -> anyhow::Result<Addresses> {
        let address = |listener: &TcpListener| listener.local_addr().context("no address");
        Ok(Addresses {
            api: address(&self.api)?,
            agents: address(&self.agents)?,
            health: address(&self.health)?,
        })
    }

    fn serve(
        self,
        ports: Ports,
        trust: Trust,
        tokens: Tokens,
        sessions: Arc<Sessions>,
        tasks: &mut JoinSet<()>,
    ) {
        let Ports { shown, metrics, shutdown } = ports.clone();
        let agents = sessions.agents.clone();
        let reception = Reception {
            tokens,
            agents: agents.clone(),
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
        };
        tasks.spawn(agents.sweep(shutdown.clone()));
        tasks.spawn(ports.clone().serve_agents(self.agents, reception));
        tasks.spawn(ports.clone().serve_api(self.api, trust.clone(), sessions));
        let health = health::router(Health { trust, shown, metrics, shutdown });
        tasks.spawn(ports.serve_health(self.health, health));
    }
}

/// Starts what keeps the certificate fresh.
fn keep(
    certificates: Certificates,
    kubernetes: &Kubernetes,
    shown: &Shown,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    match certificates {
        Certificates::Files(files) => {
            files.load(shown)?;
            tasks.spawn(files.keep_fresh(shown.clone(), shutdown.clone()));
        }
        Certificates::Made { names, dns_names, lifetime } => {
            let keeper = Keeper::new(kubernetes.clone(), names, dns_names, lifetime, shown.clone());
            tasks.spawn(keeper.keep(shutdown.clone()));
        }
    }
    Ok(())
}

/// There is no service account to ask the API server with.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the service account of a pod")]
pub(crate) struct NotInPod(#[source] InClusterError);

/// The cause of `error`, which is about a kubeconfig that the error round it names.
fn cause(error: KubeconfigError) -> anyhow::Error {
    match error {
        KubeconfigError::ReadConfig(source, _) => source.into(),
        error => error.into(),
    }
}

async fn client(config: &Config) -> anyhow::Result<Client> {
    let inferred = match &config.kubeconfig {
        None => kube::Config::incluster().map_err(NotInPod)?,
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(cause);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use {}", path.display()))?
        }
    };
    Client::try_from(inferred).context("cannot make a client of the API server")
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
