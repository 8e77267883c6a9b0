//! An agent on a unix socket that says what a test tells it to, and the program that talks to it.

use std::future::Future;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use futures_util::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use wire::frame::{self, Channel, FromClient, Protocol};
use wire::{Ending, Exit, Signal, Status};

/// One end of a session.
pub(crate) struct Session {
    pub(crate) socket: WebSocketStream<UnixStream>,
    /// The first line of the request.
    pub(crate) asked: String,
}

/// An agent that serves one session, on a thread of its own.
pub(crate) struct Agent {
    directory: TempDir,
    thread: JoinHandle<()>,
}

/// What a program left behind.
pub(crate) struct Left {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Agent {
    /// Answers with 101 in `protocol`, then does what `script` does.
    pub(crate) fn speaking<F, S>(protocol: &'static str, script: F) -> Self
    where
        F: FnOnce(Session) -> S + Send + 'static,
        S: Future<Output = ()>,
    {
        Self::start(move |mut stream| async move {
            let head = head(&mut stream).await;
            let key = header(&head, "sec-websocket-key").expect("a key");
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.expect("an answer");
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            let asked = head.lines().next().expect("a request line").to_owned();
            script(Session { socket, asked }).await;
        })
    }

    pub(crate) fn new<F, S>(script: F) -> Self
    where
        F: FnOnce(Session) -> S + Send + 'static,
        S: Future<Output = ()>,
    {
        Self::speaking("v5.channel.k8s.io", script)
    }

    /// Answers the request with `answer` and hangs up.
    pub(crate) fn answering(answer: Vec<u8>) -> Self {
        Self::start(move |mut stream| async move {
            head(&mut stream).await;
            // The client may leave in the middle of it.
            let _ = stream.write_all(&answer).await;
        })
    }

    pub(crate) fn refusing(code: u16, status: &Status) -> Self {
        let body = status.to_json();
        let length = body.len();
        let head = format!("HTTP/1.1 {code} No\r\nContent-Length: {length}\r\n\r\n");
        Self::answering([head.into_bytes(), body].concat())
    }

    fn start<F, S>(serve: F) -> Self
    where
        F: FnOnce(UnixStream) -> S + Send + 'static,
        S: Future<Output = ()>,
    {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = std::os::unix::net::UnixListener::bind(directory.path().join("agent.sock"))
            .expect("a socket");
        listener.set_nonblocking(true).expect("a non-blocking socket");
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().expect("a runtime").block_on(async {
                let listener = UnixListener::from_std(listener).expect("a listener");
                let (stream, _) = listener.accept().await.expect("a connection");
                serve(stream).await;
            });
        });
        Self { directory, thread }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// The program with this agent, and `words` after it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command.arg("--agent").arg(format!("unix:{}", self.socket().display())).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end, and the script to its own.
    pub(crate) fn run(self, words: &[&str]) -> Left {
        let child = self.command(words).spawn().expect("the program");
        self.finish(child)
    }

    pub(crate) fn finish(self, child: Child) -> Left {
        let left = left(child);
        self.thread.join().expect("the script");
        left
    }
}

/// The program without anything that the surroundings of the test would tell it.
#[expect(clippy::disallowed_methods, reason = "the program under test")]
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-nsdebug"));
    command.env_clear();
    command
}

/// Waits for `child`, reading what is left of its output.
pub(crate) fn left(mut child: Child) -> Left {
    let stderr = child.stderr.take();
    let stderr = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.map(|mut stream| stream.read_to_end(&mut text)).transpose().expect("stderr");
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut stdout = Vec::new();
    child.stdout.take().map(|mut s| s.read_to_end(&mut stdout)).transpose().expect("stdout");
    let status = child.wait().expect("an exit status");
    let code = status.code().unwrap_or_else(|| panic!("killed by {:?}", status.signal()));
    Left { code, stdout, stderr: stderr.join().expect("stderr") }
}

async fn head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("a request in ASCII")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// What the client says, without its pings: `None` when it is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Stdin(Vec<u8>),
    Resize(frame::Size),
    Signal(Signal),
    CloseStdin,
    Close(u16),
}

impl Session {
    pub(crate) async fn say(&mut self, channel: Channel, payload: &[u8]) {
        let message = Message::Binary(frame::encode(channel, payload).into());
        self.socket.send(message).await.expect("a listener");
    }

    /// The last word of a tool that ended as `exit` says after so many bytes of output.
    pub(crate) async fn status(&mut self, exit: Exit, stdout_bytes: u64, stderr_bytes: u64) {
        let ending = Ending { exit, stdout_bytes, stderr_bytes, reason: None };
        self.say(Channel::Status, &ending.to_status().to_json()).await;
    }

    /// Closes and waits for the client's answer.
    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) {
        let close = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        self.socket.close(Some(close)).await.expect("a close");
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Says a whole session: the exit code after some output.
    pub(crate) async fn end(&mut self, exit: Exit, stdout: &[u8], stderr: &[u8]) {
        if !stdout.is_empty() {
            self.say(Channel::Stdout, stdout).await;
        }
        if !stderr.is_empty() {
            self.say(Channel::Stderr, stderr).await;
        }
        self.status(exit, stdout.len() as u64, stderr.len() as u64).await;
        self.close(1000, "").await;
    }

    pub(crate) async fn hear(&mut self) -> Option<Said> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Binary(bytes) => {
                    return Some(
                        match FromClient::decode(&bytes, Protocol::Nsdebug).expect("a good message")
                        {
                            FromClient::Stdin(bytes) => Said::Stdin(bytes.to_vec()),
                            FromClient::Resize(size) => Said::Resize(size),
                            FromClient::Signal(signal) => Said::Signal(signal),
                            FromClient::CloseStdin => Said::CloseStdin,
                        },
                    );
                }
                Message::Close(close) => {
                    return Some(Said::Close(close.map_or(1005, |close| close.code.into())));
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Everything that comes on stdin until it ends, or until the client is gone.
    pub(crate) async fn hear_stdin(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(Said::Stdin(bytes)) = self.hear().await {
            all.extend(bytes);
        }
        all
    }
}
