//! `serve`: the daemon, from its sockets to its last session.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use daemon::audit::AuditLog;
use daemon::shutdown::shutdown;
use daemon::{OWN_FAILURE, Signals, USAGE, failed};
use entry::{Cgroups, HelperImage, Layout, Resources};
use tokio::runtime;
use tokio::task::JoinSet;
use tracing::{info, warn};
use wire::chain;

use crate::config::{CareConfig, Config, ServeArgs, TlsConfig};
use crate::kernel::CollectsAtClose;
use crate::limits::SessionLimits;
use crate::listen::{Certificates, RELOAD_EVERY, Serving, TlsListener, UnixListener, strangers};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::runtime::Containerd;
use crate::server::exec::{self, SessionSettings};
use crate::server::{Agent, router, sessions};
use crate::session::Launcher;
use crate::slots::Slots;

/// What sessions get, once told to end, to kill what they started and say why.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Threads for work that takes the kernel its time and is no session's, such as asking for a gateway's addresses.
/// Beside them there is one for each session that ends and one for each that begins, so that none waits for
/// another's end.
const OTHER_WORK: usize = 16;

#[must_use]
pub fn run(args: ServeArgs) -> ExitCode {
    let config = match Config::try_from(args) {
        Ok(config) => config,
        Err(error) => return failed(&chain(&error), USAGE),
    };
    // One thread: sessions are tools, which have processes of their own.
    let served = runtime::Builder::new_current_thread()
        .max_blocking_threads(2 * usize::from(config.max_sessions.get()) + OTHER_WORK)
        .enable_all()
        .build()
        .context("cannot start the event loop")
        .and_then(|runtime| runtime.block_on(serve(config)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&chain(error.as_ref()), OWN_FAILURE),
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let Config {
        unix,
        tls,
        gateways,
        policy,
        containerd,
        remount_cgroups,
        grace,
        max_sessions,
        limits,
        together,
        care,
    } = config;
    check_pids()?;
    let CareConfig { max_sessions_per_caller, lifetime, audit_log } = care;
    let audit =
        audit_log.as_deref().map_or_else(|| Ok(AuditLog::to_stderr()), AuditLog::to_file)?;
    let image = HelperImage::sealed_copy(Path::new("/proc/self/exe"))?;
    let mut signals = Signals::install().context("cannot listen for signals")?;
    let (control, shutdown) = shutdown();
    let agent = Agent {
        runtime: Arc::new(Containerd::new(&containerd)),
        metrics: Metrics::default(),
        shutdown: shutdown.clone(),
        slots: Slots::new(max_sessions, max_sessions_per_caller).forgiving(forgiven(limits)),
    };
    let registry = Registry::default();
    let terms = SessionSettings { policy, lifetime, audit, registry: registry.clone() };
    let launcher = Arc::new(Launcher::new(image, cgroups(limits, together, remount_cgroups)?));
    let routes = exec::routes(agent.clone(), Arc::clone(&launcher), terms);
    let routes = routes.merge(sessions::routes(registry));
    let serving =
        Serving { router: router(agent.clone(), routes), metrics: agent.metrics.clone(), shutdown };
    let mut listeners = listen_unix(&unix, &serving)?;
    if let Some(tls) = tls {
        listen_tls(tls, &serving, &mut listeners).await?;
    }
    if let Some(gateways) = gateways {
        listeners.spawn(gateways.serve(serving.clone()));
    }
    if let Some(unbounded) = CollectsAtClose::here() {
        warn!("{unbounded}");
    }
    info!(version = env!("CARGO_PKG_VERSION"), containerd = %containerd.display(), "started");

    let signal = signals.next().await;
    info!(signal, sessions = agent.slots.taken(), grace = grace.as_secs(), "draining");
    control.drain();
    drain(&agent.slots, grace, &mut signals).await;
    control.end();
    if tokio::time::timeout(END_LIMIT, agent.slots.all_free()).await.is_err() {
        warn!(sessions = agent.slots.taken(), "sessions did not end in time");
    }
    launcher.retire().await;
    listeners.join_all().await;
    info!("stopped");
    Ok(())
}

/// A number that containerd tells, or that is in the name of a control group, is of containerd's pid namespace. A node
/// may itself be a container, as kind makes them: then that is not the machine's first. A pod of its own is none.
fn check_pids() -> anyhow::Result<()> {
    let here = entry::in_initial_pids();
    match here.context("cannot read from /proc which pid namespace the agent is in")? {
        true => {}
        false if std::process::id() == 1 => anyhow::bail!(
            "the agent is not in the node's pid namespace: run it there (in a pod: hostPID: true)"
        ),
        false => warn!("not in the machine's first pid namespace: containerd must be in this one"),
    }
    Ok(())
}

/// How many processes of ended sessions each caller may leave unreaped: as many as one session may have, for which
/// what one caller is given ([`crate::config`]) leaves room.
fn forgiven(limits: SessionLimits) -> u64 {
    match limits {
        SessionLimits::Toolbox(Resources { pids, .. }) => pids.into(),
        SessionLimits::None | SessionLimits::Host => 0,
    }
}

/// Control groups for sessions, once what a predecessor left in them has been ended.
fn cgroups(
    limits: SessionLimits,
    together: Resources,
    remount: bool,
) -> anyhow::Result<Option<Cgroups>> {
    if remount {
        info!(mounts = entry::make_cgroups_writable()?, "control groups are writable");
    }
    let cgroups = match limits.cgroups(Layout::Daemon, Some(together)) {
        Ok(cgroups) => cgroups,
        // The node's own tools have no limits anyway.
        Err(error) if limits == SessionLimits::Host => {
            warn!(error = chain(&error), "sessions have no control groups");
            None
        }
        Err(error) => return Err(error.into()),
    };
    match cgroups.as_ref().map(Cgroups::sweep) {
        Some(Err(error)) => warn!(error = chain(&error), "sessions of an earlier agent not ended"),
        Some(Ok(sessions)) if sessions > 0 => info!(sessions, "sessions of an earlier agent ended"),
        _ => {}
    }
    Ok(cgroups)
}

fn listen_unix(paths: &[PathBuf], serving: &Serving) -> anyhow::Result<JoinSet<()>> {
    let mut listeners = JoinSet::new();
    for path in paths {
        listeners.spawn(UnixListener::bind(path)?.serve(serving.clone()));
        info!(path = %path.display(), "listening");
    }
    Ok(listeners)
}

async fn listen_tls(
    config: TlsConfig,
    serving: &Serving,
    listeners: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let TlsConfig { addresses, files } = config;
    let certificates = Certificates::load(files)?;
    let strangers = strangers();
    for address in addresses {
        let listener = TlsListener::bind(address, certificates.subscribe(), strangers.clone())
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        info!(address = %listener.address().unwrap_or(address), "listening");
        listeners.spawn(listener.serve(serving.clone()));
    }
    listeners.spawn(certificates.keep_fresh(RELOAD_EVERY, serving.shutdown.clone()));
    Ok(())
}

/// Waits for the sessions, for at most `grace` or until a second signal.
async fn drain(slots: &Slots, grace: Duration, signals: &mut Signals) {
    tokio::select! {
        () = slots.all_free() => {}
        () = tokio::time::sleep(grace) => info!(sessions = slots.taken(), "grace period ended"),
        signal = signals.next() => info!(signal, sessions = slots.taken(), "asked again"),
    }
}
