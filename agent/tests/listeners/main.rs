//! The sockets of `serve`, as strangers and friends meet them; no containerd is needed or wanted.

mod flood;

use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::listen::{
    CertificateFiles, Certificates, Serving, TlsListener, UnixListener, strangers,
};
use agent::metrics::Metrics;
use agent::runtime::Containerd;
use agent::server::{Agent, router};
use agent::slots::Slots;
use daemon::shutdown::{Control, shutdown};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(20);

/// An agent whose containerd does not exist, in a directory of its own.
struct World {
    directory: tempfile::TempDir,
    control: Control,
    serving: Serving,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (control, shutdown) = shutdown();
        let agent = Agent {
            runtime: Arc::new(Containerd::new(&directory.path().join("containerd.sock"))),
            metrics: Metrics::default(),
            shutdown: shutdown.clone(),
            slots: Slots::new(NonZeroU16::MIN, NonZeroU16::MIN),
        };
        let metrics = agent.metrics.clone();
        let serving = Serving { router: router(agent, axum::Router::new()), metrics, shutdown };
        Self { directory, control, serving }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A unix listener that serves, and its path.
    fn unix(&self) -> (PathBuf, tokio::task::JoinHandle<()>) {
        let path = self.at("agent.sock");
        let listener = UnixListener::bind(&path).expect("a listener");
        (path, tokio::spawn(listener.serve(self.serving.clone())))
    }

    /// A TLS listener that trusts clients of `authority`, and its address.
    async fn tls(&self, authority: &Authority) -> std::net::SocketAddr {
        let files = CertificateFiles {
            chain: self.at("tls.crt"),
            key: self.at("tls.key"),
            client_ca: self.at("ca.crt"),
        };
        let (chain, key) = authority.issue("127.0.0.1", Validity::Now);
        std::fs::write(&files.chain, chain).expect("a file");
        std::fs::write(&files.key, key).expect("a file");
        std::fs::write(&files.client_ca, &authority.certificate).expect("a file");
        let certificates = Certificates::load(files).expect("certificates");
        let address = "127.0.0.1:0".parse().expect("an address");
        let listener = TlsListener::bind(address, certificates.subscribe(), strangers()).await;
        let listener = listener.expect("a listener");
        let address = listener.address().expect("an address");
        tokio::spawn(listener.serve(self.serving.clone()));
        address
    }
}

/// Who signs certificates.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

#[derive(Clone, Copy)]
enum Validity {
    Now,
    Past,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key for either end of a connection, PEM.
    fn issue(&self, name: &str, validity: Validity) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(params, validity)
    }

    fn sign(&self, mut params: CertificateParams, validity: Validity) -> (String, String) {
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        if let Validity::Past = validity {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// Everything that answers one request, or the failure of the connection.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    head: &str,
) -> std::io::Result<String> {
    let talk = async {
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(LIMIT, talk).await.expect("an answer in time")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n")
}

async fn get_unix(socket: &Path, path: &str) -> String {
    let stream = UnixStream::connect(socket).await.expect("a connection");
    ask(stream, &get(path)).await.expect("an answer")
}

/// `GET /healthz` over TLS with the client certificate that is given, if one is.
async fn get_tls(
    address: std::net::SocketAddr,
    server: &Authority,
    client: Option<(String, String)>,
) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connector = TlsConnector::from(Arc::new(client_config(server, client)));
    ask(connector.connect(name, stream).await?, &get("/healthz")).await
}

/// Whom a client believes, and what it shows: a certificate, any number of times, and its key.
fn client_config(server: &Authority, client: Option<(String, String)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(server.certificate.as_bytes());
    roots.add(authority.expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    match client {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
            let chain = chain.collect::<Result<_, _>>().expect("certificates");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            config.with_client_auth_cert(chain, key).expect("a client certificate")
        }
    }
}

#[tokio::test]
async fn the_unix_socket_is_roots_alone_and_answers() {
    let world = World::new();
    let (socket, _task) = world.unix();
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let answer = get_unix(&socket, "/healthz").await;
    if is_root() {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
    } else {
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The rest is asked over the unix socket, which serves nobody but root.
fn not_root() -> bool {
    if is_root() {
        return false;
    }
    assert!(std::env::var_os("CI").is_none(), "CI must run this test as root");
    true
}

#[tokio::test]
async fn strangers_at_a_loosened_socket_keep_root_out_of_nothing() {
    if not_root() {
        return;
    }
    let world = World::new();
    let (socket, _task) = world.unix();
    for (path, mode) in [(world.directory.path(), 0o755), (&*socket, 0o666)] {
        let loosened = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, loosened).expect("loosened");
    }
    let path = socket.clone();
    let crowd = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65533);
        // Of this thread alone.
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
        let come = |_| std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        (0..100).map(come).collect::<Vec<_>>()
    });
    let crowd = tokio::task::spawn_blocking(|| crowd.join()).await.expect("no panic");
    let crowd = crowd.expect("no panic");
    assert!(get_unix(&socket, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let page = world.serving.metrics.render().expect("a page");
    assert!(page.contains("connections_refused_total{reason=\"Full\"}"), "{page}");
    drop(crowd);
}

#[tokio::test]
async fn what_does_not_exist_is_a_status() {
    if not_root() {
        return;
    }
    let world = World::new();
    let (socket, _task) = world.unix();
    let answer = get_unix(&socket, "/nowhere").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    let status: wire::Status = serde_json::from_str(body).expect("a Status");
    assert_eq!((status.code, status.reason.as_str()), (404, "NotFound"));
    assert!(status.message.contains("/nowhere"), "{}", status.message);

    let stream = UnixStream::connect(&socket).await.expect("a connection");
    let post = get("/healthz").replacen("GET", "POST", 1);
    let answer = ask(stream, &post).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\"MethodNotAllowed\""), "{answer}");
}

#[tokio::test]
async fn without_containerd_it_lives_and_is_not_ready_and_names_the_socket() {
    if not_root() {
        return;
    }
    let world = World::new();
    let (socket, _task) = world.unix();
    let answer = get_unix(&socket, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for word in ["containerd.sock", "no such socket", "--containerd"] {
        assert!(answer.contains(word), "{word} in {answer}");
    }
    assert!(get_unix(&socket, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let metrics = get_unix(&socket, "/metrics").await;
    let refused = "nsdebug_agent_requests_refused_total{reason=\"ServiceUnavailable\"} 1";
    assert!(metrics.contains(refused), "{metrics}");
}

#[tokio::test]
async fn a_long_command_line_passes_and_a_head_that_is_longer_does_not() {
    if not_root() {
        return;
    }
    let world = World::new();
    let (socket, _task) = world.unix();
    let query = "a".repeat(wire::limits::QUERY - 1);
    assert!(get_unix(&socket, &format!("/healthz?{query}")).await.starts_with("HTTP/1.1 200 "));
    let fields = format!("x-long: {}\r\nconnection", "a".repeat(100 << 10));
    let head = get("/healthz").replacen("connection", &fields, 1);
    let stream = UnixStream::connect(&socket).await.expect("a connection");
    let answer = ask(stream, &head).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn the_end_closes_the_door_and_removes_the_socket_and_draining_does_not() {
    let world = World::new();
    let (socket, task) = world.unix();
    let mut kept = UnixStream::connect(&socket).await.expect("a connection");
    let request = get("/healthz").replace("close", "keep-alive");
    kept.write_all(request.as_bytes()).await.expect("a request");
    let first = kept.read(&mut [0; 4096]).await.expect("an answer");
    assert_ne!(first, 0);
    world.control.drain();
    // A client that comes now is told so, and not that no agent is there.
    assert!(get_unix(&socket, "/healthz").await.starts_with("HTTP/1.1 200 "));
    world.control.end();
    tokio::time::timeout(LIMIT, task).await.expect("in time").expect("no panic");
    assert!(!socket.exists());
    let rest = tokio::time::timeout(LIMIT, kept.read(&mut [0; 4096])).await.expect("in time");
    assert_eq!(rest.expect("an orderly end"), 0, "an idle connection is closed");
}

#[tokio::test]
async fn a_client_certificate_of_our_authority_is_what_opens_the_port() {
    let world = World::new();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let address = world.tls(&ours).await;
    let answer = get_tls(address, &ours, Some(ours.issue("alice", Validity::Now))).await;
    let answer = answer.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let refused = |answer: std::io::Result<String>| answer.expect_err("a refusal").to_string();
    let none = refused(get_tls(address, &ours, None).await);
    assert!(none.contains("CertificateRequired"), "{none}");
    let stranger = other.issue("mallory", Validity::Now);
    let wrong = refused(get_tls(address, &ours, Some(stranger)).await);
    assert!(wrong.contains("UnknownCA"), "{wrong}");
    let expired = ours.issue("bob", Validity::Past);
    let late = refused(get_tls(address, &ours, Some(expired)).await);
    assert!(late.contains("CertificateExpired"), "{late}");

    let plain = TcpStream::connect(address).await.expect("a connection");
    let answer = ask(plain, &get("/healthz")).await.unwrap_or_default();
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
    // A refusal is counted once the peer has it.
    let all = "connections_refused_total{reason=\"Handshake\"} 4";
    let counted = async {
        while !world.serving.metrics.render().expect("a page").contains(all) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, counted).await.expect("each refusal is counted");
}

#[tokio::test]
async fn a_certificate_that_names_nobody_is_told_so() {
    let world = World::new();
    let ours = Authority::new("ours");
    let address = world.tls(&ours).await;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let nobody = ours.sign(params, Validity::Now);
    let answer = get_tls(address, &ours, Some(nobody)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("has no name: it needs a common name"), "{answer}");
    let page = world.serving.metrics.render().expect("a page");
    assert!(page.contains("connections_refused_total{reason=\"Nameless\"} 1"), "{page}");
}
