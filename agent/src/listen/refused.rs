//! What a stranger is told who got as far as a connection and not as far as HTTP.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::server::Refusal;
use wire::StatusReason;

/// Bytes of a stranger's question that are thrown away: most are whole.
const QUESTION: usize = 4 << 10;

/// How long a stranger may take to ask; not long, as it holds one of our connections.
const QUESTION_LIMIT: Duration = Duration::from_secs(1);

/// How long a stranger may take to hear the answer and part.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Says 403 without looking at what is asked: the person learns why, and a stranger reaches no parser.
pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, message: &str) {
    // HTTP clients take an answer for broken that comes before their question.
    let _ = tokio::time::timeout(QUESTION_LIMIT, stream.read(&mut [0; QUESTION])).await;
    let body = Refusal::new(StatusReason::Forbidden, message).to_status().to_json();
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let answer = [head.as_bytes(), &body].concat();
    let answered = async {
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    };
    let _ = tokio::time::timeout(ANSWER_LIMIT, answered).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn a_stranger_is_told_why_and_not_before_it_asked() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let refusing = tokio::spawn(refuse(ours, "you are uid 1000"));
        tokio::task::yield_now().await;
        let early = theirs.try_read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(early, Err(io::ErrorKind::WouldBlock));
        theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it listens");
        refusing.await.expect("no panic");
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("uid 1000"), "{answer}");
    }
}
