//! A gateway with an API server of the test's, and an agent whose sessions are the test's.
//!
//! Gateway and agent are the real ones; only what starts tools is not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::listen::{Gateways, Serving};
use agent::metrics::Metrics;
use agent::peer::Peer;
use agent::runtime::Containerd;
use agent::server::{Agent, router};
use agent::slots::Slots;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, Request};
use axum::http::header::{CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::{Args, FromArgMatches};
use daemon::shutdown::{Control, shutdown};
use futures_util::{SinkExt, StreamExt};
use gateway::config::{Config, ServeArgs};
use gateway::serve::{Addresses, Gateway};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::Role;
use wire::DryRun;
use wire::dry_run::Entered;
use wire::forward::{END_PATH, WHY};

use crate::apiserver::ApiServer;
use crate::authority::{Authority, PROXY};

/// What anything here may take; the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

pub(crate) const EXEC: &str = "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec?command=ps";
pub(crate) const AUTHENTICATION: &str =
    "api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
pub(crate) const POD: &str = "api/v1/namespaces/shop/pods/api";
pub(crate) const API_SERVICE: &str =
    "apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.nsdebug.dev";
pub(crate) const CA_MAP: &str = "api/v1/namespaces/nsdebug/configmaps/nsdebug-gateway-ca";

/// A gateway and what it stands on.
pub(crate) struct Rig {
    pub(crate) api: ApiServer,
    pub(crate) authority: Authority,
    pub(crate) addresses: Addresses,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) gateway: Gateway,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let authority = Authority::new();
        let api = cluster(&authority).await;
        let directory = tempfile::tempdir().expect("a directory");
        let audit = format!("--audit-log={}", directory.path().join("audit").display());
        let config = config(&[&[audit.as_str()], flags].concat());
        let gateway = Gateway::start_with(config, api.client()).await.expect("a gateway");
        let rig = Self { addresses: gateway.addresses(), api, authority, directory, gateway };
        rig.until("the gateway is ready", async || {
            rig.health("/readyz").await.starts_with("HTTP/1.1 200 ")
        })
        .await;
        rig
    }

    /// Starts an agent of the node `n1`, which is there when this returns.
    pub(crate) async fn agent(&self) -> TestAgent {
        let agent = TestAgent::start(self, "good");
        self.until("the agent is connected", async || {
            self.metric("agent_connections_idle").await >= 2
        })
        .await;
        agent
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waited = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, waited).await.is_ok(), "in vain: {what}");
    }

    pub(crate) async fn health(&self, path: &str) -> String {
        get_plain(self.addresses.health, path).await
    }

    pub(crate) async fn metric(&self, name: &str) -> i64 {
        let page = self.health("/metrics").await;
        let name = format!("nsdebug_gateway_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
        value.parse().expect("a number")
    }

    /// Says `head` to the API port as `client` and reads what comes until the end.
    pub(crate) async fn say(
        &self,
        client: Arc<ClientConfig>,
        head: &str,
    ) -> std::io::Result<String> {
        let talk = async {
            let mut stream = dial(self.addresses.api, client).await?;
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        tokio::time::timeout(LIMIT, talk).await.expect("an answer in time")
    }

    /// What kube-apiserver is answered for a session at `path`, which has to be refused. Its dry run has to be
    /// refused with the same status, and is audited as one.
    pub(crate) async fn refused(&self, path: &str, more: &str) -> String {
        let before = self.audit().len();
        let answer = self.ask(&upgrade(path, more)).await;
        let dry = self.ask(&dry_run(path, more)).await;
        let body = |answer: &str| answer.split_once("\r\n\r\n").expect("a body").1.to_owned();
        assert!(!answer.starts_with("HTTP/1.1 2") && !answer.starts_with("HTTP/1.1 1"), "{answer}");
        assert_eq!((&dry[..12], body(&dry)), (&answer[..12], body(&answer)), "of its dry run");
        assert!(dry.contains("\r\nnsdebug-dry-run: All\r\n"), "{dry}");
        let lines = &self.audit()[before..];
        let marked: Vec<_> = lines.iter().map(|line| line["dry_run"] == true).collect();
        assert_eq!(marked, [false, true], "{lines:?}");
        answer
    }

    /// The same as kube-apiserver.
    pub(crate) async fn ask(&self, head: &str) -> String {
        self.say(self.authority.front_proxy(), head).await.expect("an answer")
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.directory.path().join("audit"));
        let lines = log.unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        ca_file(&self.api, self.directory.path())
    }
}

/// What the gateway of `api` has published of who signed its certificate, as a file in `directory`.
pub(crate) fn ca_file(api: &ApiServer, directory: &Path) -> PathBuf {
    let path = directory.join("ca.crt");
    let world = api.world();
    let bundle = world.objects[CA_MAP]["data"]["ca.crt"].as_str().expect("a bundle").to_owned();
    std::fs::write(&path, bundle).expect("a file");
    path
}

/// An API server with one pod `shop/api` and one good token, of an agent of the node `n1`.
pub(crate) async fn cluster(authority: &Authority) -> ApiServer {
    let api = ApiServer::start().await;
    api.put(AUTHENTICATION, published(authority));
    api.put(POD, pod());
    api.put(API_SERVICE, json!({"metadata": {"name": "v1alpha1.nsdebug.dev"}, "spec": {"groupPriorityMinimum": 1000, "versionPriority": 15, "insecureSkipTLSVerify": true}}));
    api.world().tokens.insert(jwt("good"), token("nsdebug-agent", "n1"));
    api
}

/// What is at `path` of a port without TLS.
pub(crate) async fn get_plain(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(get_document(path, "").as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

pub(crate) async fn dial(
    address: SocketAddr,
    client: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = "nsdebug-gateway.nsdebug.svc".try_into().expect("a name");
    TlsConnector::from(client).connect(name, stream).await
}

pub(crate) fn config(flags: &[&str]) -> Config {
    let fixed = [
        "serve",
        "--listen=127.0.0.1:0",
        "--listen-agents=127.0.0.1:0",
        "--listen-health=127.0.0.1:0",
        "--dns-name=localhost",
        "--leave=0",
        "--grace=0",
    ];
    let command = ServeArgs::augment_args(clap::Command::new("serve").args_override_self(true));
    let matches = command.get_matches_from(fixed.iter().chain(flags));
    let args = ServeArgs::from_arg_matches(&matches).expect("arguments");
    Config::try_from(args).expect("a configuration")
}

/// What kube-apiserver publishes of its front proxy.
pub(crate) fn published(authority: &Authority) -> Value {
    json!({
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "requestheader-client-ca-file": authority.pem(),
            "requestheader-allowed-names": format!("[\"{PROXY}\"]"),
            "requestheader-username-headers": "[\"X-Remote-User\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
        },
    })
}

pub(crate) fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "api", "namespace": "shop", "uid": "uid-1"},
        "spec": {"nodeName": "n1", "containers": [{"name": "app"}, {"name": "sidecar"}]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "app", "containerID": "containerd://0123abcd", "state": {"running": {}},
            "image": "", "imageID": "", "ready": true, "restartCount": 0,
        }]},
    })
}

/// A token that says of itself what an agent's has to say, signed with `signature`.
pub(crate) fn jwt(signature: &str) -> String {
    const CLAIMS: &str = "eyJhdWQiOlsibnNkZWJ1Zy1nYXRld2F5Il0sInN1YiI6InN5c3RlbTpzZXJ2\
                          aWNlYWNjb3VudDpuc2RlYnVnOm5zZGVidWctYWdlbnQifQ";
    format!("e30.{CLAIMS}.{signature}")
}

/// What the API server says of a good token.
pub(crate) fn token(account: &str, node: &str) -> Value {
    json!({
        "authenticated": true,
        "audiences": ["nsdebug-gateway"],
        "user": {
            "username": format!("system:serviceaccount:nsdebug:{account}"),
            "extra": {
                "authentication.kubernetes.io/node-name": [node],
                "authentication.kubernetes.io/pod-name": ["agent-x"],
                "authentication.kubernetes.io/pod-uid": ["uid-x"],
            },
        },
    })
}

/// The head of a request for a session, as kube-apiserver sends it for `alice`.
pub(crate) fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: v5.channel.k8s.io\r\nx-remote-user: alice\r\n\
         x-remote-group: dev\r\naudit-id: audit-1\r\n{more}\r\n"
    )
}

/// The same request, to be judged.
pub(crate) fn dry_run(path: &str, more: &str) -> String {
    format!(
        "GET {path}&dryRun=All HTTP/1.1\r\nhost: gateway\r\nx-remote-user: alice\r\n\
         x-remote-group: dev\r\naudit-id: audit-1\r\n{more}\r\n"
    )
}

/// The head of a request for a document.
pub(crate) fn get_document(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{more}\r\n")
}

/// An agent whose sessions say who they are for and echo what they get.
pub(crate) struct TestAgent {
    pub(crate) control: Control,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

impl TestAgent {
    pub(crate) fn start(rig: &Rig, token: &str) -> Self {
        Self::dialling(rig.directory.path(), rig.ca_file(), rig.addresses.agents, token)
    }

    /// One that keeps its token in `directory` and dials `agents`, which `authority` vouches for.
    pub(crate) fn dialling(
        directory: &Path,
        authority: PathBuf,
        agents: SocketAddr,
        token: &str,
    ) -> Self {
        let token_file = directory.join(format!("token-{token}"));
        std::fs::write(&token_file, jwt(token)).expect("a file");
        let (control, shutdown) = shutdown();
        let sixteen = std::num::NonZeroU16::new(16).expect("not zero");
        let agent = Agent {
            runtime: Arc::new(Containerd::new(&directory.join("containerd.sock"))),
            metrics: Metrics::default(),
            shutdown: shutdown.clone(),
            slots: Slots::new(sixteen, sixteen),
        };
        let sessions = axum::Router::new()
            .route(wire::SessionTarget::POD_ROUTE, get(session))
            .route(END_PATH, post(end))
            .layer(Extension(broadcast::Sender::<String>::new(64)));
        let metrics = agent.metrics.clone();
        let serving = Serving { router: router(agent, sessions), metrics, shutdown };
        let gateways = Gateways {
            names: vec![format!("localhost:{}", agents.port())],
            authority,
            token: token_file,
            node: Some("n1".to_owned()),
            connections: 2,
        };
        Self { control, served: tokio::spawn(gateways.serve(serving)) }
    }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Has the sessions end that the gateway means, with its reason as their last word.
async fn end(
    Extension(peer): Extension<Peer>,
    Extension(ends): Extension<broadcast::Sender<String>>,
    headers: HeaderMap,
) {
    let Peer::Gateway { forwarded, .. } = peer else { panic!("not a gateway: {peer}") };
    let why = headers[WHY].to_str().expect("text");
    ends.send(format!("{why}: {forwarded:?}")).expect("a session");
}

/// Refuses the command `no`; else says what it was told and does what the first message asks. The command
/// `deaf` is never told of its end.
async fn session(
    Extension(peer): Extension<Peer>,
    Extension(ends): Extension<broadcast::Sender<String>>,
    RawQuery(query): RawQuery,
    mut request: Request,
) -> Response {
    let query = query.unwrap_or_default();
    if query.contains("command=no") {
        let reason = wire::StatusReason::Conflict;
        return agent::server::Refusal::new(reason, "as the agent says").into_response();
    }
    let Peer::Gateway { forwarded, .. } = peer else { panic!("not a gateway: {peer}") };
    let told = format!("{query} {forwarded:?}");
    if query.contains("dryRun=All") {
        let dry_run = DryRun { notes: vec![told], ..DryRun::new(Entered::Container) };
        return ([(CONTENT_TYPE, "application/json")], dry_run.to_json()).into_response();
    }
    let mut told_to_end = ends.subscribe();
    let is_deaf = query.contains("command=deaf");
    let switched = hyper::upgrade::on(&mut request);
    let answer = create_response(&request.map(drop));
    let mut answer = answer.expect("a websocket is asked for").map(|()| Body::empty());
    let protocol = HeaderValue::from_static("v5.channel.k8s.io");
    answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    tokio::spawn(async move {
        let upgraded = TokioIo::new(switched.await.expect("the gateway takes the answer"));
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        let _ = socket.send(Message::binary(told)).await;
        let _open = ends; // for as long as the session
        loop {
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(message)) = message else { return };
                    if !answered(&mut socket, message).await {
                        return;
                    }
                }
                why = told_to_end.recv(), if !is_deaf => {
                    let _ = socket.send(Message::binary(why.expect("a reason"))).await;
                    return;
                }
            }
        }
    });
    answer
}

/// `pour N` is answered by N messages of 64 KiB, everything else by itself.
async fn answered(socket: &mut Socket, message: Message) -> bool {
    let text = message.into_data();
    match text.strip_prefix(b"pour ") {
        None => socket.send(Message::binary(text)).await.is_ok(),
        Some(count) => {
            let count: u32 = std::str::from_utf8(count).expect("text").parse().expect("a number");
            for number in 0..count {
                let frame = vec![u8::try_from(number % 251).expect("small"); wire::limits::FRAME];
                if socket.send(Message::binary(frame)).await.is_err() {
                    return false;
                }
            }
            true
        }
    }
}
