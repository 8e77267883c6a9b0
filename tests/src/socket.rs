//! A client that is not ours: the websocket and its frames spelled out, so that it may also misbehave.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket, client};

use crate::certificates::CertificateFiles;

/// As for any program of these tests, see `running`: a server that is silent for longer hangs.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection of either kind.
pub struct Stream(Arc<Mutex<Box<dyn ReadWrite>>>);

trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

impl Stream {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(SILENCE)).expect("a limit that is not zero");
        Self::of(stream)
    }

    fn of(stream: impl ReadWrite + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(stream))))
    }

    fn inner(&self) -> MutexGuard<'_, Box<dyn ReadWrite>> {
        self.0.lock().expect("nobody panics in here")
    }
}

/// Speak TLS on `stream` with the server of this name and a certificate of one's own.
pub(crate) fn tls_as(
    stream: TcpStream,
    server: &'static str,
    authority: &Path,
    files: &CertificateFiles,
) -> Stream {
    stream.set_read_timeout(Some(SILENCE)).expect("a limit that is not zero");
    let name = ServerName::try_from(server).expect("a name");
    let config = Arc::new(client_config(authority, files));
    let connection = ClientConnection::new(config, name).expect("a configuration");
    Stream::of(StreamOwned::new(connection, stream))
}

/// Whom a client believes, and what it shows.
pub(crate) fn client_config(authority: &Path, files: &CertificateFiles) -> ClientConfig {
    let pem = |path: &Path| CertificateDer::from_pem_file(path).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(pem(authority)).expect("an authority");
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![pem(&files.certificate)], key)
        .expect("the key belongs to the certificate")
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner().read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner().flush()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Stream")
    }
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub body: String,
}

impl Answer {
    /// Ask for `path`; none when there is no whole answer.
    pub fn to(stream: &mut Stream, method: &str, path: &str) -> Option<Self> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
        // A server that has read enough answers and hangs up before all is said.
        let _ = stream.write_all(head.as_bytes());
        let mut text = Vec::new();
        // A TLS connection may end without a farewell, after all has been read.
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { code, body: body.to_owned() })
    }

    /// The message of the `metav1.Status` that a refusal has to be.
    pub fn message(&self) -> String {
        let status: Value = serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"));
        assert_eq!(status["kind"], "Status", "{self:?}");
        assert_eq!(status["apiVersion"], "v1", "{self:?}");
        assert_eq!(status["status"], "Failure", "{self:?}");
        assert_eq!(status["code"], self.code, "{self:?}");
        status["message"].as_str().expect("a message").to_owned()
    }
}

/// One session, or what is left of it.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<Stream>,
    pub protocol: String,
}

/// What a server said to the end.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Heard {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub status: Option<Value>,
    /// Code and reason; none when the connection just ended.
    pub close: Option<(u16, String)>,
    /// Why the connection ended, where not in order: TLS takes an end without a farewell for a cut.
    pub broken: Option<String>,
}

impl Client {
    /// Ask for a session at `path`, offering `protocols`: the session, or the HTTP refusal.
    pub fn open(stream: Stream, path: &str, protocols: &str) -> Result<Self, Answer> {
        let mut request = format!("ws://agent{path}").into_client_request().expect("a path");
        if !protocols.is_empty() {
            let value = protocols.parse().expect("a header");
            request.headers_mut().insert("sec-websocket-protocol", value);
        }
        let config = WebSocketConfig::default().max_message_size(Some(16 << 20));
        let mut rest = Stream(Arc::clone(&stream.0));
        match client::client_with_config(request, stream, Some(config)) {
            Ok((socket, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol");
                let chosen = chosen.and_then(|value| value.to_str().ok()).unwrap_or_default();
                Ok(Self { protocol: chosen.to_owned(), socket })
            }
            Err(HandshakeError::Failure(Error::Http(response))) => {
                let mut body = response.body().clone().unwrap_or_default();
                // As much of it as came with the head; a proxy may send it apart.
                let length = response.headers().get("content-length");
                let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
                let missing = length.unwrap_or(0usize).saturating_sub(body.len());
                let mut late = vec![0; missing];
                rest.read_exact(&mut late).expect("the whole answer");
                body.append(&mut late);
                let body = String::from_utf8_lossy(&body).into_owned();
                Err(Answer { code: response.status().as_u16(), body })
            }
            Err(error) => panic!("no websocket and no refusal: {error}"),
        }
    }

    /// Send `payload` on `channel`.
    pub fn send(&mut self, channel: u8, payload: &[u8]) {
        self.send_raw(Message::binary([&[channel], payload].concat()));
    }

    /// Send any message; a server that closed the connection does not mind.
    pub fn send_raw(&mut self, message: Message) {
        let _ = self.socket.send(message);
    }

    /// The end of stdin, as v5 says it.
    pub fn close_stdin(&mut self) {
        self.send(255, &[0]);
    }

    /// Listen until `text` came on stdout.
    pub fn wait_for_stdout(&mut self, text: &str) {
        let mut heard = Heard::default();
        while !String::from_utf8_lossy(&heard.stdout).contains(text) {
            assert!(self.hear(&mut heard), "no {text:?} in {heard:?}");
        }
    }

    /// Listen to the end.
    pub fn finish(mut self) -> Heard {
        let mut heard = Heard::default();
        while self.hear(&mut heard) {}
        heard
    }

    fn hear(&mut self, heard: &mut Heard) -> bool {
        match self.socket.read() {
            Ok(Message::Binary(message)) => heard.take(&message),
            Ok(Message::Close(frame)) => {
                heard.close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
            }
            Ok(_) => {}
            Err(error) => {
                if !matches!(error, Error::ConnectionClosed | Error::AlreadyClosed) {
                    heard.broken = Some(error.to_string());
                }
                return false;
            }
        }
        true
    }
}

impl Heard {
    fn take(&mut self, message: &[u8]) {
        assert!(self.status.is_none(), "a message after the status: {message:?}");
        match message.split_first() {
            Some((1, bytes)) => self.stdout.extend_from_slice(bytes),
            Some((2, bytes)) => self.stderr.extend_from_slice(bytes),
            Some((3, json)) => {
                self.status = Some(serde_json::from_slice(json).expect("a status is JSON"));
            }
            // How much of stdin the tool has taken: only where that was agreed on.
            Some((129, _)) => {}
            _ => panic!("a message of no known channel: {message:?}"),
        }
    }

    /// The message of one cause of the status.
    pub fn cause(&self, reason: &str) -> Option<&str> {
        let causes = self.status.as_ref()?["details"]["causes"].as_array()?;
        causes.iter().find(|cause| cause["reason"] == reason)?["message"].as_str()
    }
}
