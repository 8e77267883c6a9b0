//! Who is at the other end of a connection, as a listener proved it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use wire::Forwarded;

use crate::listen::{Caller, Holder};

/// Who is at the other end, as the listener proved it. In the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// root on this node, through the unix socket.
    Root {
        pid: Option<i32>,
    },
    Certificate {
        holder: Holder,
        address: SocketAddr,
    },
    /// A user of the cluster, for whom a gateway that this agent dialled has vouched.
    Gateway {
        address: SocketAddr,
        forwarded: Arc<Forwarded>,
    },
}

impl Peer {
    /// Whose sessions are counted together, whichever process or address they come from.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self {
            Self::Root { .. } => Caller::root(),
            Self::Certificate { holder, .. } => Caller::holder(holder),
            // Through whichever gateway: it is one person.
            Self::Gateway { forwarded, .. } => Caller::user(&forwarded.user),
        }
    }

    /// Whether this one may look at, and end, the sessions of `other`: root of the node could do so
    /// in any case.
    #[must_use]
    pub fn oversees(&self, other: &Self) -> bool {
        matches!(self, Self::Root { .. }) || self.caller() == other.caller()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root { pid: Some(pid) } => write!(f, "root (process {pid})"),
            Self::Root { pid: None } => f.write_str("root"),
            Self::Certificate { holder, address } => write!(f, "{holder} from {address}"),
            Self::Gateway { address, forwarded } => {
                let user = forwarded.user.escape_debug();
                write!(f, "{user} through the gateway at {address}")
            }
        }
    }
}
