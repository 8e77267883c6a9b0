//! A gibibyte from the tool to a plugin that drops it, against the same bytes with nothing of ours in between.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use harness::{Agent, Certificate, Certificates, Listener};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::table::{Reach, Row, pairs};

const PAIRS: usize = 20;
/// Bytes of one write on either side.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 16 << 10;
/// Writes a gibibyte of nothing in chunks.
const SOURCE: [&str; 5] = ["dd", "if=/dev/zero", "bs=65536", "count=16384", "status=none"];

pub(crate) fn unix(agent: &Agent) -> Row {
    let pairs = pairs(PAIRS, || session(agent, Listener::Unix), plain_unix);
    let measure = "1 GiB tool to plugin, against a unix socket";
    Row::of_speeds(measure, &pairs, Reach::AtLeast(0.5))
}

pub(crate) fn tls(agent: &Agent) -> Row {
    let certificates = Certificates::new();
    let configs = (server_config(&certificates), client_config(&certificates));
    let plain = || plain_tls(configs.0.clone(), configs.1.clone());
    let pairs = pairs(PAIRS, || session(agent, Listener::Tls), plain);
    let measure = "1 GiB tool to plugin by TLS, against rustls alone";
    Row::of_speeds(measure, &pairs, Reach::AtLeast(0.7))
}

fn session(agent: &Agent, listener: Listener) {
    let mut plugin = agent.exec_over(listener, "web-1", &SOURCE);
    let status = plugin.stdout(Stdio::null()).status().expect("the plugin starts");
    assert!(status.success(), "{status}: {plugin:?}");
}

/// The same program writes, the same file takes it.
fn plain_unix() {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut writer = source(OwnedFd::from(theirs));
    drop_all(ours);
    assert!(writer.wait().expect("an own child can be waited for").success());
}

fn source(to: OwnedFd) -> Child {
    let mut command = Command::new(SOURCE[0]);
    // The command goes with this function, and with it our copy of the descriptor.
    command.args(&SOURCE[1..]).stdout(to).spawn().expect("dd starts")
}

fn drop_all(mut from: impl Read) {
    let mut sink = File::options().write(true).open("/dev/null").expect("/dev/null opens");
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    // A TLS peer that only closes its socket is an error, after all has been read.
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        sink.write_all(&chunk[..read]).expect("/dev/null takes everything");
        total += read;
    }
    assert_eq!(total, CHUNK * CHUNKS, "bytes that arrived");
}

/// From memory, one thread to another: what the library and the kernel take by themselves.
fn plain_tls(server: Arc<ServerConfig>, client: Arc<ClientConfig>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let writer = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("as the agent does");
        let connection = ServerConnection::new(server).expect("a configuration");
        let mut stream = StreamOwned::new(connection, stream);
        let chunk = vec![0; CHUNK];
        for _ in 0..CHUNKS {
            stream.write_all(&chunk).expect("the other side reads");
        }
        stream.conn.send_close_notify();
        stream.flush().expect("the other side reads");
    });
    let stream = TcpStream::connect(address).expect("the other thread listens");
    stream.set_nodelay(true).expect("as the plugin does");
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(client, name).expect("a configuration");
    drop_all(StreamOwned::new(connection, stream));
    writer.join().expect("the writer does not panic");
}

/// The provider and the versions of agent and plugin, hence their cipher suite.
fn server_config(certificates: &Certificates) -> Arc<ServerConfig> {
    let files = certificates.issue(Certificate::Server);
    let chain = vec![CertificateDer::from_pem_file(files.certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(files.key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them");
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    Arc::new(config.expect("the key belongs to the certificate"))
}

fn client_config(certificates: &Certificates) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.authority());
    roots.add(authority.expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}
