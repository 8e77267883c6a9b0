//! Agents behind https: who is trusted, as whom we come, and what is said where that fails.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use wire::Status;

use crate::scripted::{Left, left, program};

type Authority = CertifiedIssuer<'static, KeyPair>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Validity {
    Now,
    Past,
}

/// Certificates of an agent and of a client, in files.
struct Files {
    directory: TempDir,
    authority: Authority,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().expect("a directory"),
            authority: authority("ours"),
        };
        fs::write(files.path("ca.pem"), files.authority.pem()).expect("a file");
        fs::write(files.path("other-ca.pem"), authority("other").pem()).expect("a file");
        files.issue("client", "client", Validity::Now);
        files.issue("old-client", "client", Validity::Past);
        files
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Writes `file.pem` and `file.key`.
    fn issue(&self, file: &str, name: &str, validity: Validity) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        if validity == Validity::Past {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.authority).expect("a certificate");
        fs::write(self.path(&format!("{file}.pem")), certificate.pem()).expect("a file");
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("a file");
    }

    /// An agent that knows clients of our authority, and refuses the session of all that come.
    fn serve(&self, name: &str, validity: Validity) -> u16 {
        self.issue("agent", name, validity);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("an authority");
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let chain =
            vec![CertificateDer::from_pem_file(self.path("agent.pem")).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(self.path("agent.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_client_cert_verifier(clients.build().expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || refuse_one(listener, config));
        port
    }

    fn run(&self, port: u16, flags: &[(&str, &str)]) -> Left {
        let mut command = program();
        command.arg("--agent").arg(format!("https://127.0.0.1:{port}"));
        for (flag, value) in flags {
            let is_file = Path::new(value).extension().is_some();
            command.arg(flag).arg(if is_file { self.path(value) } else { (*value).to_owned() });
        }
        command.args(["web", "--", "ps"]).stdin(Stdio::null());
        left(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program"))
    }
}

fn refuse_one(listener: std::net::TcpListener, config: ServerConfig) {
    listener.set_nonblocking(true).expect("a non-blocking port");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a port");
        let (tcp, _) = listener.accept().await.expect("a connection");
        // A handshake that fails is what most tests here are about.
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        let body = Status::refusal(404, "NotFound", "heard you").to_json();
        let head = format!("HTTP/1.1 404 No\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("an answer");
        stream.shutdown().await.expect("an end");
    });
}

const CLIENT: [(&str, &str); 2] =
    [("--client-certificate", "client.pem"), ("--client-key", "client.key")];
const CA: (&str, &str) = ("--certificate-authority", "ca.pem");

fn assert_says(left: &Left, text: &str) {
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains(text), "{text}: {}", left.stderr);
}

#[test]
fn an_agent_and_a_client_that_know_each_other_talk() {
    let files = Files::new();
    let port = files.serve("127.0.0.1", Validity::Now);
    assert_says(&files.run(port, &[CA, CLIENT[0], CLIENT[1]]), "error: heard you");
}

#[test]
fn an_expired_agent_is_called_so() {
    let files = Files::new();
    let port = files.serve("127.0.0.1", Validity::Past);
    assert_says(&files.run(port, &[CA]), "the agent's certificate has expired");
}

#[test]
fn an_agent_of_another_authority_is_not_trusted() {
    let files = Files::new();
    let port = files.serve("127.0.0.1", Validity::Now);
    let left = files.run(port, &[("--certificate-authority", "other-ca.pem")]);
    assert_says(&left, "is not signed by an authority");
}

#[test]
fn an_agent_of_another_name_is_refused_unless_the_name_is_expected() {
    let files = Files::new();
    let port = files.serve("node-1", Validity::Now);
    assert_says(&files.run(port, &[CA]), "the agent's certificate is for another name: ");
    let port = files.serve("node-1", Validity::Now);
    let name = ("--tls-server-name", "node-1");
    assert_says(&files.run(port, &[CA, CLIENT[0], CLIENT[1], name]), "error: heard you");
}

#[test]
fn a_client_certificate_that_is_missing_or_expired_is_named() {
    let files = Files::new();
    let port = files.serve("127.0.0.1", Validity::Now);
    let left = files.run(port, &[CA]);
    assert_says(&left, "the agent requires a client certificate");
    assert_says(&left, "hint: give --client-certificate and --client-key");
    let port = files.serve("127.0.0.1", Validity::Now);
    let old = [CA, ("--client-certificate", "old-client.pem"), ("--client-key", "old-client.key")];
    assert_says(&files.run(port, &old), "it has expired or is not valid yet");
}

#[test]
fn a_file_that_is_wrong_is_named_with_what_is_wrong() {
    let files = Files::new();
    fs::write(files.path("empty.pem"), "nothing\n").expect("a file");
    let run = |flags: &[(&str, &str)]| files.run(1, flags);
    assert_says(&run(&[("--certificate-authority", "none.pem")]), "none.pem: ");
    assert_says(&run(&[("--certificate-authority", "none.pem")]), "No such file");
    assert_says(
        &run(&[("--certificate-authority", "empty.pem")]),
        "empty.pem holds no certificate authority in PEM form",
    );
    let other_key = [CA, CLIENT[0], ("--client-key", "old-client.key")];
    assert_says(&run(&other_key), "old-client.key cannot be used: ");
    assert_says(
        &run(&[CA, CLIENT[0], ("--client-key", "client.pem")]),
        "client.pem holds no private key",
    );
}
