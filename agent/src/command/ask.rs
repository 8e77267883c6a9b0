//! One question to the agent that serves on this node, over its unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use wire::Status;

/// Longer than the agent itself waits for a session to end.
const ANSWER: Duration = Duration::from_secs(20);

/// Bytes of an answer: every session of a full node with the longest of command lines.
const LONGEST: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("cannot start an event loop")]
    Runtime(#[source] io::Error),
    #[error("cannot reach the agent at {}", socket.display())]
    Reach { socket: PathBuf, source: io::Error },
    #[error("no agent answered at {} within {} s", socket.display(), ANSWER.as_secs())]
    NoAnswer { socket: PathBuf },
    #[error("the agent closed the connection")]
    Broken(#[source] hyper::Error),
    #[error("the agent's answer is incomplete, or longer than {LONGEST} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the request cannot be written")]
    Request(#[source] hyper::http::Error),
    /// The agent's own words.
    #[error("{message}")]
    Refused { message: String },
    #[error("the answer `{code}` is not an nsdebug agent's")]
    Foreign { code: StatusCode },
}

/// Asks, and reads the answer.
pub(super) fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<(StatusCode, T), AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AskError::Runtime)?;
    let asking = async {
        let answer = tokio::time::timeout(ANSWER, exchange(socket, method, path)).await;
        answer.map_err(|_| AskError::NoAnswer { socket: socket.to_owned() })?
    };
    let (code, body) = runtime.block_on(asking)?;
    if code.is_success() {
        let answer = serde_json::from_slice(&body).map_err(|_| AskError::Foreign { code })?;
        return Ok((code, answer));
    }
    match serde_json::from_slice::<Status>(&body) {
        Ok(status) => Err(AskError::Refused { message: status.message }),
        Err(_) => Err(AskError::Foreign { code }),
    }
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), AskError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| AskError::Reach { socket: socket.to_owned(), source })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Broken)?;
    tokio::spawn(connection); // ends with the runtime
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "agent")
        .body(Empty::<Bytes>::new())
        .map_err(AskError::Request)?;
    let answer = sender.send_request(request).await.map_err(AskError::Broken)?;
    let code = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    Ok((code, body.map_err(AskError::Body)?.to_bytes()))
}
