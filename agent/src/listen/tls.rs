//! The TLS port: nobody gets as far as HTTP without a certificate that our client CA signed.
//!
//! Handshakes run in the connection's own task, so a slow one holds nobody up. Who is in the middle of one is
//! a stranger, of whom there are few at a time, and fewer of one network: a flood displaces itself.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use daemon::admission::{Admission, StrangerLimits, StrangerPlace};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};
use wire::limits;

use super::holder::{Holder, NoHolder};
use super::refused::refuse;
use super::{ACCEPT_PAUSE, MOST_CONNECTIONS, Serving};
use crate::metrics::ConnectionRefusal;
use crate::peer::Peer;
use crate::slots::Slots;

/// From the accepted connection to the end of the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Open connections of one caller that are not sessions yet: one is enough for a caller that asks for one after another.
const MOST_OF_ONE_CALLER: NonZeroU16 = NonZeroU16::new(64).expect("it is not 0");

/// Strangers at once, at all ports together: 10 MiB, as one that shows the longest chain holds 80 KiB.
const STRANGERS: usize = 120;

/// Strangers of one network: a handshake takes milliseconds, and this many at once are a crowd.
const STRANGERS_OF_ONE_NETWORK: usize = 30;

/// Places for those who have not shown whom they are, for every port of one agent.
#[must_use]
pub fn strangers() -> Admission {
    Admission::new(StrangerLimits { all: STRANGERS, per_network: STRANGERS_OF_ONE_NETWORK })
}

/// A listening port.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    strangers: Admission,
    config: watch::Receiver<Arc<ServerConfig>>,
}

impl TlsListener {
    /// Every handshake takes what `config` is by then.
    pub async fn bind(
        address: SocketAddr,
        config: watch::Receiver<Arc<ServerConfig>>,
        strangers: Admission,
    ) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, strangers, config })
    }

    /// Where it listens, the port that was asked for as 0 included.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until sessions must end: while the agent drains, a refusal says more than silence does.
    pub async fn serve(self, serving: Serving) {
        let known = Slots::new(MOST_CONNECTIONS, MOST_OF_ONE_CALLER);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&serving) => accepted,
                () = serving.shutdown.ended() => return,
            };
            match accepted {
                Ok(Some((place, stream, address))) => {
                    let acceptor = TlsAcceptor::from(Arc::clone(&self.config.borrow()));
                    let (known, serving) = (known.clone(), serving.clone());
                    tokio::spawn(meet(acceptor, stream, address, place, known, serving));
                }
                Ok(None) => {}
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The next connection, where there is a place for it. Who comes after it waits in the kernel.
    async fn accept(
        &self,
        serving: &Serving,
    ) -> io::Result<Option<(StrangerPlace, TcpStream, SocketAddr)>> {
        let (stream, address) = self.listener.accept().await?;
        let place = self.strangers.admit(address.ip()).await;
        if place.is_none() {
            serving.metrics.turned_away(ConnectionRefusal::Full);
        }
        Ok(place.map(|place| (place, stream, address)))
    }
}

/// Finds out who has connected, and serves them.
async fn meet(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    place: StrangerPlace,
    known: Slots,
    serving: Serving,
) {
    let shaken = tokio::select! {
        shaken = handshake(acceptor, stream, &place) => shaken,
        () = place.withdrawn() => {
            serving.metrics.turned_away(ConnectionRefusal::Full);
            return;
        }
    };
    let stream = match shaken {
        Ok(stream) => stream,
        Err(error) => {
            info!(%address, %error, "handshake failed");
            serving.metrics.turned_away(ConnectionRefusal::Handshake);
            return;
        }
    };
    let holder = match holder(&stream) {
        Ok(holder) => holder,
        Err(error) => {
            info!(%address, %error, "peer refused");
            serving.metrics.turned_away(ConnectionRefusal::Nameless);
            return refuse(stream, &error.to_string()).await;
        }
    };
    drop(place);
    let peer = Peer::Certificate { holder, address };
    match known.take(peer.caller()) {
        Ok(slot) => {
            serving.connection(stream, peer).await;
            drop(slot);
        }
        Err(_) => serving.metrics.turned_away(ConnectionRefusal::Full),
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    place: &StrangerPlace,
) -> io::Result<TlsStream<TcpStream>> {
    // Keystrokes must not wait for each other's acknowledgement.
    stream.set_nodelay(true)?;
    let accepted =
        tokio::time::timeout(HANDSHAKE_LIMIT, place.compute(acceptor.accept(stream))).await;
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
