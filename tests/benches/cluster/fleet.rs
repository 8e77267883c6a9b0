//! One gateway with five thousand agents, beside one with a single agent.
//!
//! Gateways are processes of their own, as released. Agents are simulated: they come in with a token, answer signs
//! of life, begin sessions without a tool, and replace what is taken. The API server is the tests' stand-in, since
//! tokens of five thousand nodes take five thousand nodes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Certificate, CertificateFiles, Certificates, Running, gateway, memory};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::apiserver::ApiServer;
use crate::authority::Authority;
use crate::footprint::megabytes;
use crate::rig::{self, AUTHENTICATION, EXEC, POD};
use crate::stage::Stage;
use crate::table::{Reach, Row};

const AGENTS: usize = 5_000;
/// As the chart has it.
const CONNECTIONS: usize = 2;
const OPENINGS: usize = 100;
/// Agents on their way in at once: as many as the gateway's reviews.
const DIALLING: usize = 32;
/// Of either side: its connections, and room for everything else.
const DESCRIPTORS: u64 = 12_000;
/// Ten thousand handshakes and reviews.
const CONNECT_LIMIT: Duration = Duration::from_secs(240);

/// The agent's part of a handshake that always has the same key.
const SESSION: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLBMxiTaQ9kYGzzhZRbK+xOo=\r\n\
    sec-websocket-protocol: v5.channel.k8s.io\r\n\r\n";
const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub(crate) fn rows(_: &Stage) -> Vec<Row> {
    let all = getrlimit(Resource::Nofile).maximum;
    assert!(all.is_none_or(|all| all >= DESCRIPTORS), "too few descriptors may be opened");
    setrlimit(Resource::Nofile, Rlimit { current: all, maximum: all }).expect("up to the maximum");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(measured())
}

async fn measured() -> Vec<Row> {
    let (api, authority) = (ApiServer::start().await, Authority::new());
    api.put(AUTHENTICATION, rig::published(&authority));
    api.put(POD, rig::pod());
    for node in 1..=AGENTS {
        let name = format!("n{node}");
        let answer = rig::token("nsdebug-agent", &name);
        api.world().tokens.insert(name, answer);
    }
    let certificates = Certificates::new();
    let files = certificates.issue(Certificate::Server);
    let kubeconfig = certificates.authority().with_file_name("kubeconfig");
    std::fs::write(&kubeconfig, kubeconfig_of(api.address)).expect("a file in an own folder");
    let ours = Served::start(18_440, &files, &kubeconfig).await;
    let alone = Served::start(28_440, &files, &kubeconfig).await;
    let tls = believing(&certificates);
    ours.populate(AGENTS, &tls).await;
    alone.populate(1, &tls).await;
    let mut pairs = Vec::new();
    for _ in 0..OPENINGS {
        pairs.push((ours.open(&authority).await, alone.open(&authority).await));
    }
    let resident = memory(ours.program.pid(), "VmRSS").expect("the gateway runs");
    let measure = format!("gateway, {AGENTS} agents by {CONNECTIONS} connections, resident");
    vec![
        Row::of(&measure, " MB", &[megabytes(resident)], Reach::AtMost(400.0)),
        Row::of_times("opening a session there, against one agent", &pairs, Reach::AtMost(2.0)),
    ]
}

fn kubeconfig_of(api: SocketAddr) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{ name: tests, cluster: {{ server: \"http://{api}\" }} }}]
users: [{{ name: tests, user: {{}} }}]
contexts: [{{ name: tests, context: {{ cluster: tests, user: tests }} }}]
current-context: tests
"
    )
}

fn believing(certificates: &Certificates) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.authority());
    roots.add(authority.expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them");
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A gateway on ports of the cluster's node.
struct Served {
    program: Running,
    api: SocketAddr,
    agents: SocketAddr,
    health: SocketAddr,
}

impl Served {
    async fn start(ports: u16, files: &CertificateFiles, kubeconfig: &Path) -> Self {
        let [api, agents, health] =
            [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], ports + port)));
        let mut command = gateway();
        command.arg("serve").arg("--kubeconfig").arg(kubeconfig);
        command.arg(format!("--listen={api}")).arg(format!("--listen-agents={agents}"));
        command.arg(format!("--listen-health={health}")).arg("--leave=0").arg("--grace=0");
        command.arg("--tls-cert").arg(&files.certificate).arg("--tls-key").arg(&files.key);
        let program = Running::start(&mut command);
        let served = Self { program, api, agents, health };
        served
            .until("to be ready", async || {
                TcpStream::connect(health).await.is_ok()
                    && rig::get_plain(health, "/readyz").await.starts_with("HTTP/1.1 200 ")
            })
            .await;
        served
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waited = async {
            while !is_so().await {
                assert!(!self.program.has_ended(), "the gateway: {}", self.program.stderr());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let in_time = tokio::time::timeout(CONNECT_LIMIT, waited).await.is_ok();
        assert!(in_time, "the gateway has {what}: {}", self.program.stderr());
    }

    /// Let agents come, each on a node of its own.
    async fn populate(&self, agents: usize, tls: &TlsConnector) {
        let dialling = Arc::new(Semaphore::new(DIALLING));
        for agent in 0..agents * CONNECTIONS {
            let token = format!("n{}", agent / CONNECTIONS + 1);
            tokio::spawn(keep(self.agents, tls.clone(), token, Arc::clone(&dialling)));
        }
        let wanted = format!("nsdebug_gateway_agent_connections_idle {}\n", agents * CONNECTIONS);
        self.until("all of its agents", async || {
            rig::get_plain(self.health, "/metrics").await.contains(&wanted)
        })
        .await;
    }

    /// As kube-apiserver does: from the connection to `101`.
    async fn open(&self, authority: &Authority) -> Duration {
        let (client, head) = (authority.front_proxy(), rig::upgrade(EXEC, ""));
        let start = Instant::now();
        let mut stream = rig::dial(self.api, client).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("a request");
        let answer = read_head(&mut stream).await.expect("an answer");
        let opened = start.elapsed();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        opened
    }
}

/// One connection of an agent, and another one whenever a session has taken it. Ends with the gateway.
async fn keep(
    gateway: SocketAddr,
    tls: TlsConnector,
    token: String,
    dialling: Arc<Semaphore>,
) -> std::io::Result<()> {
    loop {
        let permit = dialling.acquire().await.expect("nobody closes it");
        let mut stream = dial(gateway, &tls, &token).await?;
        drop(permit);
        while read_head(&mut stream).await?.starts_with("GET /healthz ") {
            stream.write_all(WELL.as_bytes()).await?;
        }
        stream.write_all(SESSION.as_bytes()).await?;
        tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
    }
}

async fn dial(
    gateway: SocketAddr,
    tls: &TlsConnector,
    token: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = tls.connect(name, stream).await?;
    let head = format!(
        "POST /connect HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         connection: Upgrade\r\nupgrade: nsdebug-agent\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let answer = read_head(&mut stream).await?;
    // A gateway that leaves says 503; one that should not is short of an agent, which is waited for.
    if answer.starts_with("HTTP/1.1 101 ") {
        Ok(stream)
    } else {
        Err(std::io::Error::other(answer))
    }
}

/// Not a byte more than the head: what follows is another protocol.
async fn read_head(stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
