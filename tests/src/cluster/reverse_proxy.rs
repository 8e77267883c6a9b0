//! A small reverse proxy in front of the API server that sends `exec` to nsdebug's API, so that clients which know only
//! Kubernetes' own can be tried as they are.
//!
//! It changes the path of a request and nothing behind it: bytes of a session are copied, never read.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::Cluster;
use super::layout::{API_SERVER_ADDRESS, NODE_ADDRESS};
use crate::network;
use crate::socket::client_config;

/// What the head of a request may have.
const MOST_HEAD: usize = 64 << 10;

/// The proxy; it ends, and its connections with it, when this is dropped.
#[derive(Debug)]
#[must_use = "the proxy ends when this is dropped"]
pub struct ReverseProxy {
    kubeconfig: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ReverseProxy {
    /// In front of the API server, for clients that speak plain HTTP to it, as `user`.
    pub fn start(cluster: &Cluster, user: &str) -> Self {
        let files = cluster.files_of(user);
        let config = Arc::new(client_config(&cluster.certificate("ca.pem"), &files));
        let (node, (stop, stopped)) = (cluster.pid(), oneshot::channel());
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            network::join(node);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("an event loop").block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("its number").port()).expect("a listener");
                tokio::select! {
                    () = serve(listener, config) => {}
                    _ = stopped => {}
                }
            });
        });
        let port = told.recv().expect("the proxy listens");
        let kubeconfig = cluster.write_kubeconfig_of_proxy(user, port);
        Self { kubeconfig, stop: Some(stop), thread: Some(thread) }
    }

    /// For `kubectl --kubeconfig`.
    pub fn kubeconfig(&self) -> &str {
        self.kubeconfig.to_str().expect("a plain path")
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // Fails when the thread has ended, which joining it then says.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the proxy panicked");
    }
}

async fn serve(listener: TcpListener, config: Arc<rustls::ClientConfig>) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let connector = TlsConnector::from(Arc::clone(&config));
        // A client that hangs up is no failure of the proxy's.
        tokio::spawn(async move { forward(client, connector).await.ok() });
    }
}

async fn forward(mut client: TcpStream, connector: TlsConnector) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MOST_HEAD {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let server = TcpStream::connect(API_SERVER_ADDRESS).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let name = ServerName::try_from(NODE_ADDRESS).expect("an address");
    let mut server = connector.connect(name, server).await?;
    server.write_all(&rewritten(&head)).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The head of a request as nsdebug's API has it; one request a connection, as only the first is looked at.
fn rewritten(head: &[u8]) -> Vec<u8> {
    const CORE: &[u8] = b" /api/v1/namespaces/";
    const OURS: &[u8] = b" /apis/nsdebug.dev/v1alpha1/namespaces/";
    let line_end = head.windows(2).position(|end| end == b"\r\n").unwrap_or(head.len());
    let (line, rest) = head.split_at(line_end);
    let is_exec = line.windows(5).any(|part| part == b"/exec");
    let begins = line.windows(CORE.len()).position(|part| part == CORE);
    match begins {
        Some(at) if is_exec => {
            let (method, path) = (&line[..at], &line[at + CORE.len()..]);
            [method, OURS, path, rest].concat()
        }
        _ => [line, b"\r\nConnection: close", rest].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    fn text(head: &str) -> String {
        String::from_utf8(rewritten(head.as_bytes())).expect("text")
    }

    #[test]
    fn only_exec_goes_to_another_api() {
        let exec =
            "GET /api/v1/namespaces/shop/pods/api/exec?command=ps HTTP/1.1\r\nHost: h\r\n\r\n";
        let ours = exec.replace("/api/v1", "/apis/nsdebug.dev/v1alpha1");
        assert_eq!(text(exec), ours);
        let get = "GET /api/v1/namespaces/shop/pods/api HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(text(get), get.replace("\r\nHost", "\r\nConnection: close\r\nHost"));
    }
}
