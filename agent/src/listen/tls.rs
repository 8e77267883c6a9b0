//! The TLS port: nobody gets as far as HTTP without a certificate that our client CA signed.
//!
//! Handshakes run in the connection's own task, so a slow one holds nobody up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};
use wire::limits;

use super::holder::{Holder, NoHolder};
use super::refused::refuse;
use super::{ACCEPT_PAUSE, MOST_CONNECTIONS, Peer, Serving};
use crate::metrics::Turned;

/// From the accepted connection to the end of the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A listening port.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
}

impl TlsListener {
    /// Every handshake takes what `config` is by then.
    pub async fn bind(
        address: SocketAddr,
        config: watch::Receiver<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, config })
    }

    /// Where it listens, the port that was asked for as 0 included.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until sessions must end: while the agent drains, a refusal says more than silence does.
    pub async fn serve(self, serving: Serving) {
        let open = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = serving.shutdown.ended() => return,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address, &open, &serving),
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        open: &Arc<Semaphore>,
        serving: &Serving,
    ) {
        let Ok(permit) = Arc::clone(open).try_acquire_owned() else {
            serving.metrics.turned_away(Turned::Full);
            return;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config.borrow()));
        let serving = serving.clone();
        tokio::spawn(async move {
            match handshake(acceptor, stream).await {
                Ok(stream) => match holder(&stream) {
                    Ok(holder) => {
                        serving.connection(stream, Peer::Certificate { holder, address }).await;
                    }
                    Err(error) => {
                        info!(%address, %error, "peer refused");
                        serving.metrics.turned_away(Turned::Nameless);
                        refuse(stream, &error.to_string()).await;
                    }
                },
                Err(error) => {
                    info!(%address, %error, "handshake failed");
                    serving.metrics.turned_away(Turned::Handshake);
                }
            }
            drop(permit);
        });
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    // Keystrokes must not wait for each other's acknowledgement.
    stream.set_nodelay(true)?;
    let accepted = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await;
    let mut stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.get_mut().1.set_buffer_limit(Some(limits::TLS_BUFFER));
    Ok(stream)
}

/// Whose the verified client certificate is.
fn holder(stream: &TlsStream<TcpStream>) -> Result<Holder, NoHolder> {
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    Holder::of(certificate.ok_or(NoHolder::Unreadable)?)
}
