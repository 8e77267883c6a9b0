//! The way into a cluster: this agent dials gateways and serves on the connections it made.
//!
//! Nothing listens. A few idle connections wait at every gateway; each one that a session takes is
//! replaced at once, and what a gateway forwards means something here and nowhere else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use tokio::net::lookup_host;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tower::ServiceExt;
use tracing::{debug, info, warn};
use wire::forward::END_PATH;
use wire::{Forwarded, SessionTarget, StatusReason, dry_run};

use super::dial::{DialError, Dialler};
use super::{BUFFER, HEAD, Serving};
use crate::peer::Peer;
use crate::server::Refusal;

/// How soon a new gateway is found: it is one more way in, and the old ones still work.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// Addresses of one name that are dialled: a cluster has two or three gateways, and a server that answers for the
/// name must not have an agent hold connections without end.
const MOST_GATEWAYS: usize = 16;

/// The first pause after a failure, and the longest: a gateway that restarts takes seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A connection that ended sooner than this was no use, and the next one must not be dialled at once.
const WORTHWHILE: Duration = Duration::from_secs(2);

/// A gateway asks idle connections for a sign of life every minute. Who is silent for longer than two
/// of them is gone, whatever TCP thinks.
const SILENCE: Duration = Duration::from_secs(150);

/// Where gateways are, and how to get in.
#[derive(Clone, Debug)]
pub struct Gateways {
    /// `HOST:PORT`; one name may have several addresses, and each is a gateway.
    pub names: Vec<String>,
    pub authority: PathBuf,
    pub token: PathBuf,
    /// Which node this is, to be compared with the token.
    pub node: Option<String>,
    /// Idle connections at each gateway.
    pub connections: u16,
}

impl Gateways {
    /// Keeps connections at every gateway until the agent drains; sessions go on by themselves.
    pub async fn serve(self, serving: Serving) {
        let mut known = HashMap::<(String, SocketAddr), Keepers>::new();
        loop {
            for name in &self.names {
                // A name that cannot be resolved takes nobody's connections away.
                match lookup_host(name).await {
                    Ok(found) => {
                        let found: Vec<_> = found.take(MOST_GATEWAYS).collect();
                        self.settle(name, &found, &mut known, &serving);
                    }
                    Err(error) => warn!(gateway = name, %error, "gateway not found"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RESOLVE_EVERY) => {}
                () = serving.shutdown.draining() => break,
            }
        }
        // Each keeper leaves by itself: its sessions must not be cut.
        for (_, keepers) in known {
            keepers.tasks.join_all().await;
        }
    }

    /// Starts with gateways that are new. Those that are leaving keep what idles, to say over it why they
    /// end sessions, and are dialled no more.
    fn settle(
        &self,
        name: &str,
        found: &[SocketAddr],
        known: &mut HashMap<(String, SocketAddr), Keepers>,
        serving: &Serving,
    ) {
        for ((_, address), keepers) in known.iter_mut().filter(|((of, _), _)| of == name) {
            keepers.wanted.send_replace(found.contains(address));
            while keepers.tasks.try_join_next().is_some() {}
        }
        known.retain(|_, keepers| *keepers.wanted.borrow() || !keepers.tasks.is_empty());
        for &address in found {
            let keepers = known.entry((name.to_owned(), address)).or_insert_with(|| {
                info!(gateway = name, %address, "gateway found");
                Keepers { wanted: watch::Sender::new(true), tasks: JoinSet::new() }
            });
            while keepers.tasks.len() < usize::from(self.connections) {
                let (dialler, wanted) = (self.dialler(name, address), keepers.wanted.subscribe());
                keepers.tasks.spawn(keep(dialler, serving.clone(), wanted));
            }
        }
    }

    fn dialler(&self, name: &str, address: SocketAddr) -> Dialler {
        let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Dialler {
            address,
            host,
            authority: self.authority.clone(),
            token: self.token.clone(),
            node: self.node.clone(),
        }
    }
}

/// Who keep the connections at one gateway. Dropping them drops what they dial and what idles, never a
/// session: that has its own task.
struct Keepers {
    /// Whether that gateway is still found.
    wanted: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Keeps one idle connection at one gateway for as long as that is found.
async fn keep(dialler: Dialler, serving: Serving, wanted: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    while *wanted.borrow() {
        let since = Instant::now();
        let taken = tokio::select! {
            dialled = dialler.dial() => match dialled {
                Ok(stream) => idle(stream, dialler.address, serving.clone()).await,
                Err(error) => {
                    complain(&dialler, &error);
                    false
                }
            },
            () = serving.shutdown.draining() => return,
        };
        if serving.shutdown.is_draining() {
            return;
        }
        if taken || since.elapsed() >= WORTHWHILE {
            pause = FIRST_PAUSE;
        }
        if !taken {
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = serving.shutdown.draining() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn complain(dialler: &Dialler, error: &DialError) {
    let Dialler { host, address, .. } = dialler;
    warn!(gateway = host, %address, error = wire::chain(error), "gateway not reached");
}

/// Between half and all of `pause`, so that a thousand agents do not come at once.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let random = u32::try_from(RandomState::new().hash_one(0) & 0xffff).unwrap_or(0);
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(0xffff))
}

/// Serves on one connection; returns as soon as a session takes it, which is then the answer `true`,
/// or when it has ended.
async fn idle(stream: Upgraded, gateway: SocketAddr, serving: Serving) -> bool {
    let (sender, mut taken) = mpsc::channel(1);
    let mut served = tokio::spawn(serve(stream, gateway, serving, sender));
    let idling = Idling(Some(served.abort_handle()));
    let taken = tokio::select! {
        taken = taken.recv() => taken.is_some(),
        _ = &mut served => false,
    };
    idling.disarm();
    taken
}

/// Ends a connection that nobody keeps any more, unless a session has it.
#[must_use = "the connection ends when this is dropped"]
struct Idling(Option<AbortHandle>);

impl Idling {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Idling {
    fn drop(&mut self) {
        if let Some(idle) = &self.0 {
            idle.abort();
        }
    }
}

async fn serve(stream: Upgraded, gateway: SocketAddr, serving: Serving, taken: mpsc::Sender<()>) {
    let Serving { router, metrics: _, shutdown } = serving;
    let heard = watch::Sender::new(());
    let mut hearing = heard.subscribe();
    let service = service_fn(move |request: Request<Incoming>| {
        heard.send_replace(());
        answer(router.clone(), request, gateway, taken.clone())
    });
    let mut http = http1::Builder::new();
    http.max_header_size(HEAD).max_buf_size(BUFFER);
    let connection = http.serve_connection(stream, service).with_upgrades();
    let mut connection = pin!(connection);
    let silent = async {
        while tokio::time::timeout(SILENCE, hearing.changed()).await.is_ok() {}
        // A session starts in less, and is upgraded then: nothing is waited for here.
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => return,
        () = shutdown.draining() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(error = %wire::chain(&error), "connection failed");
    }
}

/// Answers what a gateway may ask: how one is, sessions in the name of a user, and their end.
async fn answer(
    router: axum::Router,
    mut request: Request<Incoming>,
    gateway: SocketAddr,
    taken: mpsc::Sender<()>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    if path != "/healthz" {
        // What is only judged gives the connection back.
        let is_dry_run = dry_run::is_in(request.uri().query().unwrap_or_default());
        if path != END_PATH && !is_dry_run {
            // Full when the connection is taken already, and that is all there is to say.
            let _ = taken.try_send(());
        }
        match vouched_for(&request, gateway) {
            Ok(peer) => drop(request.extensions_mut().insert(peer)),
            Err(refusal) => return Ok(refusal.into_response()),
        }
    }
    router.oneshot(request).await
}

fn vouched_for<B>(request: &Request<B>, gateway: SocketAddr) -> Result<Peer, Refusal> {
    let path = request.uri().path();
    if !is_session(path) && path != END_PATH {
        let message = "this agent serves only sessions to gateways";
        return Err(Refusal::new(StatusReason::NotFound, message));
    }
    let headers = request.headers();
    let forwarded = Forwarded::read(|name| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?;
        // Twice is unreadable, not the first of two.
        Some(if values.next().is_none() { value.as_bytes() } else { b"" })
    });
    let forwarded =
        forwarded.map_err(|error| Refusal::new(StatusReason::BadRequest, error.to_string()))?;
    let of_node = path == SessionTarget::NODE_ROUTE;
    if path != END_PATH && of_node != forwarded.pod_uid.is_none() {
        let message = "the gateway's request for a pod does not name the pod, or its request for a node names one";
        return Err(Refusal::new(StatusReason::BadRequest, message));
    }
    Ok(Peer::Gateway { address: gateway, forwarded: Arc::new(forwarded) })
}

/// Whether this is the path of a session of a pod or of the node, in the one spelling that it has.
fn is_session(path: &str) -> bool {
    if path == SessionTarget::NODE_ROUTE {
        return true;
    }
    let segments: Vec<_> = path.split('/').collect();
    let ["", "v1", "namespaces", namespace, "pods", name, "exec"] = segments[..] else {
        return false;
    };
    match (namespace.parse(), name.parse()) {
        (Ok(namespace), Ok(name)) => SessionTarget::Pod { namespace, name }.path() == path,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, forwarded: &Forwarded) -> Request<()> {
        let mut request = Request::get(path);
        for (name, value) in forwarded.fields() {
            request = request.header(name, value);
        }
        request.body(()).expect("a request")
    }

    fn forwarded() -> Forwarded {
        Forwarded {
            user: "alice".to_owned(),
            session_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            audit_id: "1".parse().expect("an ID"),
            pod_uid: Some("u1".to_owned()),
            container_id: None,
            waiting: None,
            host_target: false,
            max_profile: wire::Profile::General,
        }
    }

    const POD: &str = "/v1/namespaces/shop/pods/api/exec";

    #[test]
    fn a_gateway_asks_for_pods_in_the_name_of_a_user() {
        let gateway = SocketAddr::from(([192, 0, 2, 1], 9443));
        let peer = vouched_for(&request(POD, &forwarded()), gateway).expect("a peer");
        assert_eq!(peer.to_string(), "alice through the gateway at 192.0.2.1:9443");
        for path in [
            "/v1/containers/0123abcd/exec",
            "/metrics",
            "/v1/sessions",
            "/v1/namespaces/shop/pods/a%70i/exec",
        ] {
            assert!(vouched_for(&request(path, &forwarded()), gateway).is_err(), "{path}");
        }
        let anybody = Request::get(POD).body(()).expect("a request");
        assert!(vouched_for(&anybody, gateway).is_err());
        let unbound = Forwarded { pod_uid: None, ..forwarded() };
        assert!(vouched_for(&request(POD, &unbound), gateway).is_err());
        let mut twice = request(POD, &forwarded());
        twice.headers_mut().append("nsdebug-user", "mallory".parse().expect("a value"));
        assert!(vouched_for(&twice, gateway).is_err());
    }

    #[test]
    fn a_gateway_that_is_older_than_the_agent_asks_without_an_id_of_its_own() {
        let gateway = SocketAddr::from(([192, 0, 2, 1], 9443));
        let mut request = request(POD, &forwarded());
        request.headers_mut().remove("nsdebug-session-id").expect("an ID");
        let Ok(Peer::Gateway { forwarded, .. }) = vouched_for(&request, gateway) else {
            panic!("it is refused");
        };
        assert_eq!((forwarded.session_id.as_deref(), forwarded.user.as_str()), (None, "alice"));
    }

    #[test]
    fn a_gateway_asks_for_the_node_where_it_means_no_pod() {
        let gateway = SocketAddr::from(([192, 0, 2, 1], 9443));
        let unbound = Forwarded { pod_uid: None, ..forwarded() };
        let asked = |path: &str, told: &Forwarded| vouched_for(&request(path, told), gateway);
        assert!(asked(SessionTarget::NODE_ROUTE, &unbound).is_ok());
        assert!(asked(SessionTarget::NODE_ROUTE, &forwarded()).is_err());
        assert!(asked("/v1/node/exec/", &unbound).is_err());
        assert!(asked("/v1/nodes/exec", &unbound).is_err());
        // Of whichever, it may say that it ends.
        assert!(asked(END_PATH, &unbound).is_ok() && asked(END_PATH, &forwarded()).is_ok());
    }

    #[test]
    fn pauses_differ_and_have_bounds() {
        let pauses: Vec<_> = (0..100).map(|_| jittered(LONGEST_PAUSE)).collect();
        assert!(pauses.iter().all(|pause| (LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
