//! The bounds both sides keep, each with its unit and its reason.

use std::time::Duration;

/// Bytes of one message of input: what a pipe holds by default, so that most of what is piped in at
/// once is one message.
pub const FRAME: usize = 64 << 10;

/// Bytes of a tool's output that are one message and passed on at once, where as much waits: each time
/// a program is woken for it costs more than copying as little as a [`FRAME`].
pub const BURST: usize = 4 * FRAME;

/// Bytes that TLS takes from us at once: a whole burst with its head, whose end would else be a record
/// and a system call of its own.
pub const TLS_BUFFER: usize = 2 * BURST;

/// Bytes that are read ahead of TLS, and of a websocket: almost four records. No whole number of pages:
/// the kernel lays a stream out in pages, and where a buffer begins up to 31 bytes behind a page's
/// beginning AMD's Zen 3 and 4 copy to it (`rep movsb`) four times as slowly or worse. So each read
/// begins elsewhere.
pub const AHEAD: usize = (64 << 10) - 1088;

/// Bytes of one message that we accept. Foreign clients send a whole `write` as one message.
pub const INBOUND_MESSAGE: usize = 1 << 20;

/// Bytes of an encoded query. Request targets past 65,534 bytes cannot be represented by the HTTP
/// libraries on either side, and what is left pays for the path.
pub const QUERY: usize = 60 << 10;

/// Bytes of a refusal's body that a client reads; the rest is a foreign error page.
pub const REFUSAL: usize = 64 << 10;

/// Bytes of stdin that a client of [`crate::frame::Protocol::Nsdebug`] may have sent and its tool not taken. The agent
/// keeps them, so that it can read what the client says besides: this is what a tool that does not read costs, and,
/// once in a round trip, the most that stdin can carry (10 MB/s where that takes 0.1 s).
pub const STDIN_WINDOW: usize = 1 << 20;

/// Bytes of stdin after which the agent says at the latest that they have been taken. A message of stdin has to fit what
/// is left of the window meanwhile.
pub const STDIN_TOLD: usize = STDIN_WINDOW / 4;

/// How often the server asks an idle peer for a sign of life. Load balancers cut from 20 s on.
pub const PING_EVERY: Duration = Duration::from_secs(15);

/// Silence after which the peer is dead, while our own writes are not blocked.
pub const PEER_SILENCE: Duration = Duration::from_mins(1);

/// How long the side that closed first waits for the other's close.
pub const CLOSE_WAIT: Duration = Duration::from_secs(5);
