//! An API server that knows what a test tells it, and writes down what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use wire::frame::{self, Channel, FromClient, Protocol};
use wire::{Ending, Exit, Status};

use crate::scripted::{Left, left, program};

/// What one path answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Json(u16, Value),
    Text(u16, &'static str),
    /// Discovery of a gateway of this version.
    Gateway(&'static str),
    /// A session whose tool says its own arguments' query, and ends with this code.
    Session(u8),
    /// A session whose tool says this, and ends with this code.
    Says(&'static [u8], u8),
    /// A session whose tool says what it is told, to the end of that.
    Echoes,
    /// A session whose tool says `begun`, and goes on until the client ends it.
    GoesOn,
    /// The first so many requests are refused, as by an agent that has no room; the next has a session.
    NoRoom(usize),
    /// Each page once, in this order, and the last one for ever.
    Pages(Vec<Value>),
    /// A watch that has these events and ends, and after it watches without any; its path has `?watch` behind it.
    Events(Vec<Value>),
    /// What a gateway answers to a dry run, of this code.
    DryRun(u16, Value),
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
}

#[derive(Default)]
struct World {
    answers: HashMap<String, Answer>,
    asked: Vec<Asked>,
    /// The attributes of every right that was asked for.
    reviewed: Vec<Value>,
    connections: usize,
    /// Sessions that are open now, and the most that were at once.
    open: usize,
    most_open: usize,
    /// Rights that are denied, as `VERB RESOURCE NAME`.
    denied: Vec<String>,
}

impl World {
    fn opened(&mut self) {
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
    }
}

/// A running one, and a kubeconfig for it.
pub(crate) struct ApiServer {
    world: Arc<Mutex<World>>,
    pub(crate) address: SocketAddr,
    pub(crate) directory: TempDir,
}

impl ApiServer {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// With TLS, if there is a configuration for it.
    pub(crate) fn start_with(tls: Option<ServerConfig>) -> Self {
        let world = Arc::<Mutex<World>>::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = Arc::clone(&world);
        std::thread::spawn(move || serve(listener, tls, &serving));
        let directory = tempfile::tempdir().expect("a directory");
        let server = Self { world, address, directory };
        server.write_kubeconfig("token: secret");
        server
    }

    /// A kubeconfig whose user is `user`, in the flow style of YAML.
    pub(crate) fn write_kubeconfig(&self, user: &str) {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: it,\n\
             clusters: [{{name: it, cluster: {{server: 'http://{}'}}}}],\n\
             users: [{{name: it, user: {{{user}}}}}],\n\
             contexts: [{{name: it, context: {{cluster: it, user: it, namespace: shop}}}}]}}",
            self.address
        );
        fs::write(self.kubeconfig(), text).expect("a kubeconfig");
    }

    pub(crate) fn kubeconfig(&self) -> std::path::PathBuf {
        self.directory.path().join("config")
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.world.lock().expect("no panic").answers.insert(path.to_owned(), answer);
    }

    pub(crate) fn deny(&self, rights: &[&str]) {
        self.world.lock().expect("no panic").denied =
            rights.iter().map(|right| (*right).to_owned()).collect();
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.world.lock().expect("no panic").asked.clone()
    }

    /// The attributes of every right that was asked for.
    pub(crate) fn reviewed(&self) -> Vec<Value> {
        self.world.lock().expect("no panic").reviewed.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.world.lock().expect("no panic").connections
    }

    /// The most sessions that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.world.lock().expect("no panic").most_open
    }

    /// The program with this server's kubeconfig.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command.env("KUBECONFIG", self.kubeconfig()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Left {
        left(self.command(words).spawn().expect("the program"))
    }
}

fn serve(listener: std::net::TcpListener, tls: Option<ServerConfig>, world: &Arc<Mutex<World>>) {
    listener.set_nonblocking(true).expect("a non-blocking port");
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a port");
        loop {
            let (tcp, _) = listener.accept().await.expect("a connection");
            let world = Arc::clone(world);
            world.lock().expect("no panic").connections += 1;
            match tls.clone() {
                None => drop(tokio::spawn(speak(tcp, world))),
                Some(tls) => drop(tokio::spawn(async move {
                    // A handshake that fails is what some tests are about.
                    if let Ok(stream) = tls.accept(tcp).await {
                        speak(stream, world).await;
                    }
                })),
            }
        }
    });
}

async fn speak<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    world: Arc<Mutex<World>>,
) {
    let service = service_fn(move |request| {
        let world = Arc::clone(&world);
        async move { Ok::<_, Infallible>(respond(request, world).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Clients leave when they have seen enough.
    let _ = connection.with_upgrades().await;
}

async fn respond(
    mut request: Request<Incoming>,
    world: Arc<Mutex<World>>,
) -> Response<Full<Bytes>> {
    let line = format!("{} {}", request.method(), request.uri());
    let path = request.uri().path().to_owned();
    let headers: HashMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    let upgrade = hyper::upgrade::on(&mut request);
    let method = request.method().clone();
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("text");
    let key = headers.get("sec-websocket-key").cloned();
    let query = line.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
    let answer = choose(&path, &method, &body, Asked { line, headers }, &world);
    let echoes = matches!(answer, Answer::Echoes);
    let (says, code) = match &answer {
        Answer::Session(code) => (query.clone().into_bytes(), Some(*code)),
        Answer::Says(says, code) => (says.to_vec(), Some(*code)),
        Answer::Echoes => (Vec::new(), Some(0)),
        _ => (b"begun\n".to_vec(), None),
    };
    match answer {
        Answer::Json(code, body) => plain(code, "application/json", body.to_string()),
        Answer::Text(code, text) => plain(code, "text/plain", text.to_owned()),
        Answer::Gateway(version) => {
            let mut response = plain(200, "application/json", "{}".to_owned());
            let server = format!("nsdebug-gateway/{version}").parse().expect("a header's value");
            response.headers_mut().insert("server", server);
            response
        }
        Answer::DryRun(code, body) => {
            let mut response = plain(code, "application/json", body.to_string());
            let all = wire::dry_run::ALL.parse().expect("a header's value");
            response.headers_mut().insert(wire::dry_run::DRY_RUN, all);
            response
        }
        Answer::Events(events) => {
            let lines = events.iter().map(|event| format!("{event}\n")).collect::<Vec<_>>();
            plain(200, "application/json", lines.concat())
        }
        Answer::NoRoom(_) | Answer::Pages(_) => unreachable!("it is answered as something else"),
        Answer::Session(_) | Answer::Says(..) | Answer::Echoes | Answer::GoesOn => {
            let key = key.expect("a key");
            tokio::spawn(async move {
                let upgraded = TokioIo::new(upgrade.await.expect("an upgrade"));
                let mut socket =
                    WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
                let says = if echoes { told(&mut socket).await } else { says };
                world.lock().expect("no panic").opened();
                session(socket, &says, code, &world).await;
            });
            switched(&key)
        }
    }
}

fn switched(key: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", derive_accept_key(key.as_bytes()))
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
        .header(wire::header::DEFAULTED_CONTAINER, "app; app, migrate (init)")
        .body(Full::default())
        .expect("an answer")
}

/// The answer to what is asked, which is written down.
fn choose(path: &str, method: &Method, body: &str, asked: Asked, world: &Mutex<World>) -> Answer {
    let mut world = world.lock().expect("no panic");
    let asked_line = asked.line.clone();
    world.asked.push(asked);
    let watch = asked_line.contains("watch=true").then(|| format!("{path}?watch"));
    let path = watch.as_deref().unwrap_or(path);
    let next = match world.answers.get(path).cloned() {
        None if method == Method::POST => return review(body, &mut world),
        None => return Answer::Text(404, "404 page not found\n"),
        Some(Answer::NoRoom(0)) => return Answer::Says(b"after all\n", 0),
        Some(answer) => answer,
    };
    match next {
        Answer::Pages(mut pages) => {
            let page = if pages.len() > 1 { pages.remove(0) } else { pages[0].clone() };
            world.answers.insert(path.to_owned(), Answer::Pages(pages));
            Answer::Json(200, page)
        }
        Answer::Events(events) => {
            world.answers.insert(path.to_owned(), Answer::Events(Vec::new()));
            Answer::Events(events)
        }
        Answer::NoRoom(left) => {
            world.answers.insert(path.to_owned(), Answer::NoRoom(left - 1));
            refusal(429, "TooManyRequests", "alice has 1 sessions here already")
        }
        answer => answer,
    }
}

fn plain(code: u16, kind: &str, body: String) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(code).header("content-type", kind);
    answer.body(body.into()).expect("an answer")
}

/// What a review of one's own access is answered with.
fn review(body: &str, world: &mut World) -> Answer {
    let review: Value = serde_json::from_str(body).expect("JSON");
    let wanted = &review["spec"]["resourceAttributes"];
    let text = |key: &str| wanted[key].as_str().unwrap_or_default();
    let right = format!("{} {}/{} {}", text("verb"), text("group"), text("resource"), text("name"));
    let allowed = !world.denied.contains(&right);
    world.reviewed.extend((!wanted.is_null()).then(|| wanted.clone()));
    Answer::Json(
        201,
        json!({"status": {
            "allowed": allowed,
            "userInfo": {"username": "alice", "groups": ["dev"]},
        }}),
    )
}

/// All of stdin.
async fn told<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Vec<u8> {
    use futures_util::StreamExt;
    let mut all = Vec::new();
    loop {
        let Some(Ok(Message::Binary(message))) = socket.next().await else { continue };
        match FromClient::decode(&message, Protocol::V5).expect("a good message") {
            FromClient::Stdin(bytes) => all.extend_from_slice(bytes),
            FromClient::CloseStdin => return all,
            other => panic!("{other:?}"),
        }
    }
}

async fn session<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    says: &[u8],
    code: Option<u8>,
    world: &Mutex<World>,
) {
    use futures_util::{SinkExt, StreamExt};
    // A client that hears of the end may have asked for the next before this is counted otherwise.
    let close = || world.lock().expect("no panic").open -= 1;
    for piece in says.chunks(wire::limits::FRAME - 1) {
        let output = Message::Binary(frame::encode(Channel::Stdout, piece).into());
        if socket.send(output).await.is_err() {
            // The client has ended it.
            return close();
        }
    }
    let Some(code) = code else {
        while let Some(Ok(_)) = socket.next().await {}
        return close();
    };
    close();
    let ending = Ending {
        exit: Exit::Code(code),
        stdout_bytes: says.len() as u64,
        stderr_bytes: 0,
        reason: None,
    };
    let status = frame::encode(Channel::Status, &ending.to_status().to_json());
    socket.send(Message::Binary(status.into())).await.expect("a status");
    socket.close(None).await.expect("a close");
    while let Some(Ok(_)) = socket.next().await {}
}

/// A refusal in the words of Kubernetes.
pub(crate) fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let status = Status::refusal(code, reason, message);
    Answer::Json(code, serde_json::from_slice(&status.to_json()).expect("JSON"))
}
