//! Messages of `v5.channel.k8s.io` and `v4.channel.k8s.io`: a channel byte, then the payload.
//!
//! Both are described by client-go's `remotecommand` package. v5 adds the close channel, without
//! which the end of stdin cannot be told from the end of the session. `v5.channel.nsdebug.dev` is v5 with
//! two channels more. On one a client has its tool signalled. On the other the server says how much of stdin
//! the tool has taken. Of what it has not taken, a client sends [`crate::limits::STDIN_WINDOW`] bytes at most, so that the server
//! can read on, and hears a signal that comes behind stdin that the tool does not read. A client offers this
//! protocol beside the others, and a server that does not know it chooses one of those.

use serde::{Deserialize, Serialize};

use crate::Signal;

/// The subprotocols that are spoken, the preferred one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// [`Self::V5`] with [`Channel::Signal`] and [`Channel::Taken`].
    Nsdebug,
    V5,
    V4,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Nsdebug, Self::V5, Self::V4];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nsdebug => "v5.channel.nsdebug.dev",
            Self::V5 => "v5.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
        }
    }

    /// The one that `name` names, if it is spoken here.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }

    fn channel(self, number: u32) -> Result<Channel, BadFrame> {
        let is_known = |channel: &Channel| {
            self == Self::Nsdebug || !matches!(channel, Channel::Signal | Channel::Taken)
        };
        let channel = Channel::ALL.into_iter().find(|channel| *channel as u32 == number);
        channel.filter(is_known).ok_or(BadFrame::UnknownChannel(number))
    }
}

/// The first byte of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    Status = 3,
    Resize = 4,
    /// The name of a [`Signal`]; only in [`Protocol::Nsdebug`].
    Signal = 128,
    /// Bytes of stdin that the tool has taken since its start, in decimal; only in [`Protocol::Nsdebug`].
    Taken = 129,
    Close = 255,
}

impl Channel {
    const ALL: [Self; 8] = [
        Self::Stdin,
        Self::Stdout,
        Self::Stderr,
        Self::Status,
        Self::Resize,
        Self::Signal,
        Self::Taken,
        Self::Close,
    ];
}

/// Size of a terminal in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    pub width: u16,
    pub height: u16,
}

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromClient<'a> {
    Stdin(&'a [u8]),
    /// The last of the sizes in the message: the others are already history.
    Resize(Size),
    /// To be sent to the tool.
    Signal(Signal),
    /// No more stdin will come (v5 only).
    CloseStdin,
}

/// What a server may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromServer<'a> {
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    /// JSON of a [`crate::Status`].
    Status(&'a [u8]),
    /// So many bytes of stdin have been taken by now. What is over is not taken any more, and counts as taken.
    Taken(u64),
}

/// Why a message is refused. All but an empty message are errors of protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    #[error("a message has no channel byte")]
    Empty,
    #[error("a message for channel {0}, which does not exist")]
    UnknownChannel(u32),
    #[error("a message for channel {0:?}, which this side does not read")]
    WrongWay(Channel),
    #[error("a resize message that is not a width and a height")]
    Resize,
    #[error("a signal message that does not name one of {}", Signal::ALL.map(Signal::name).join(", "))]
    Signal,
    #[error("a message about stdin that does not say how many bytes have been taken")]
    Taken,
    #[error("a close message that does not close stdin")]
    Close,
}

impl<'a> FromClient<'a> {
    /// Reads a binary message of a session in `protocol`.
    pub fn decode(message: &'a [u8], protocol: Protocol) -> Result<Self, BadFrame> {
        let (&byte, payload) = message.split_first().ok_or(BadFrame::Empty)?;
        Self::on(byte.into(), payload, protocol)
    }

    /// Reads a text message, as some clients send their stdin: the code point of its first character is
    /// the channel.
    pub fn decode_text(message: &'a str, protocol: Protocol) -> Result<Self, BadFrame> {
        let mut characters = message.chars();
        let channel = characters.next().ok_or(BadFrame::Empty)?;
        Self::on(channel.into(), characters.as_str().as_bytes(), protocol)
    }

    fn on(number: u32, payload: &'a [u8], protocol: Protocol) -> Result<Self, BadFrame> {
        match protocol.channel(number)? {
            Channel::Signal => Signal::named(payload).map(Self::Signal).ok_or(BadFrame::Signal),
            Channel::Stdin => Ok(Self::Stdin(payload)),
            Channel::Resize => last_size(payload).map(Self::Resize).ok_or(BadFrame::Resize),
            Channel::Close if payload == [Channel::Stdin as u8] => Ok(Self::CloseStdin),
            Channel::Close => Err(BadFrame::Close),
            other => Err(BadFrame::WrongWay(other)),
        }
    }
}

impl<'a> FromServer<'a> {
    /// Reads a binary message of a session in `protocol`.
    pub fn decode(message: &'a [u8], protocol: Protocol) -> Result<Self, BadFrame> {
        let (&byte, payload) = message.split_first().ok_or(BadFrame::Empty)?;
        match protocol.channel(byte.into())? {
            Channel::Stdout => Ok(Self::Stdout(payload)),
            Channel::Stderr => Ok(Self::Stderr(payload)),
            Channel::Status => Ok(Self::Status(payload)),
            Channel::Taken => number(payload).map(Self::Taken).ok_or(BadFrame::Taken),
            other => Err(BadFrame::WrongWay(other)),
        }
    }
}

/// One message of `payload` on `channel`.
#[must_use]
pub fn encode(channel: Channel, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(1 + payload.len());
    message.push(channel as u8);
    message.extend_from_slice(payload);
    message
}

/// What goes before the payload of a server's message: the header of one whole, unmasked, binary
/// websocket frame (RFC 6455, 5.2), and the channel.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; Self::MOST],
    len: u8,
}

impl Head {
    /// Bytes of the longest.
    pub const MOST: usize = 2 + size_of::<u64>() + 1;

    /// For `payload` bytes on `channel`.
    #[must_use]
    pub fn new(channel: Channel, payload: usize) -> Self {
        const FINAL_BINARY: u8 = 0x82;
        let mut head = Self { bytes: [0; Self::MOST], len: 0 };
        head.push(&[FINAL_BINARY]);
        let message = payload as u64 + 1;
        match (u8::try_from(message), u16::try_from(message)) {
            (Ok(short @ ..126), _) => head.push(&[short]),
            (_, Ok(middling)) => {
                head.push(&[126]);
                head.push(&middling.to_be_bytes());
            }
            _ => {
                head.push(&[127]);
                head.push(&message.to_be_bytes());
            }
        }
        head.push(&[channel as u8]);
        head
    }

    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes[usize::from(self.len)] = *byte;
            self.len += 1;
        }
    }
}

impl std::ops::Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The message that says a terminal has a new size.
#[must_use]
pub fn resize(size: Size) -> Vec<u8> {
    let Size { width, height } = size;
    encode(Channel::Resize, format!(r#"{{"Width":{width},"Height":{height}}}"#).as_bytes())
}

/// The message that ends stdin (v5 only).
#[must_use]
pub fn close_stdin() -> Vec<u8> {
    encode(Channel::Close, &[Channel::Stdin as u8])
}

/// The message that says how much of stdin has been taken ([`Protocol::Nsdebug`] only).
#[must_use]
pub fn taken(bytes: u64) -> Vec<u8> {
    encode(Channel::Taken, bytes.to_string().as_bytes())
}

/// The message that has the tool signalled ([`Protocol::Nsdebug`] only).
#[must_use]
pub fn signal(signal: Signal) -> Vec<u8> {
    encode(Channel::Signal, signal.name().as_bytes())
}

fn number(payload: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(payload).ok().filter(|text| !text.starts_with('+'))?;
    digits.parse().ok()
}

/// client-go writes one JSON object a resize and lets a slow reader find several in a row.
fn last_size(payload: &[u8]) -> Option<Size> {
    let sizes = serde_json::Deserializer::from_slice(payload).into_iter::<Size>();
    sizes.collect::<Result<Vec<_>, _>>().ok()?.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_channel_is_refused_with_its_number() {
        assert_eq!(FromClient::decode(&[7, 1], Protocol::V5), Err(BadFrame::UnknownChannel(7)));
        assert_eq!(FromServer::decode(&[254], Protocol::V5), Err(BadFrame::UnknownChannel(254)));
    }

    #[test]
    fn each_side_refuses_what_only_the_other_may_say() {
        assert_eq!(
            FromClient::decode(&[1, 65], Protocol::V5),
            Err(BadFrame::WrongWay(Channel::Stdout))
        );
        assert_eq!(
            FromServer::decode(&[0, 65], Protocol::V5),
            Err(BadFrame::WrongWay(Channel::Stdin))
        );
    }

    #[test]
    fn of_several_sizes_in_one_message_the_last_counts() {
        let message = b"\x04{\"Width\":1,\"Height\":2}\n{\"Width\":80,\"Height\":24}";
        let size = Size { width: 80, height: 24 };
        assert_eq!(FromClient::decode(message, Protocol::V5), Ok(FromClient::Resize(size)));
    }

    #[test]
    fn a_signal_is_one_by_name_and_only_where_that_was_agreed_on() {
        for signal in Signal::ALL {
            let message = frame_of(signal.name());
            let agreed = FromClient::decode(&message, Protocol::Nsdebug);
            assert_eq!(agreed, Ok(FromClient::Signal(signal)));
            for protocol in [Protocol::V5, Protocol::V4] {
                let refused = FromClient::decode(&message, protocol);
                assert_eq!(refused, Err(BadFrame::UnknownChannel(128)));
            }
        }
        for name in ["", "KILL", "STOP", "SIGINT", "int", "INT ", "2"] {
            let message = frame_of(name);
            let refused = FromClient::decode(&message, Protocol::Nsdebug);
            assert_eq!(refused, Err(BadFrame::Signal), "{name}");
        }
    }

    #[test]
    fn what_was_taken_of_stdin_is_a_number_and_only_where_that_was_agreed_on() {
        for bytes in [0, 65_536, u64::MAX] {
            let message = taken(bytes);
            let agreed = FromServer::decode(&message, Protocol::Nsdebug);
            assert_eq!(agreed, Ok(FromServer::Taken(bytes)));
            let refused = FromServer::decode(&message, Protocol::V5);
            assert_eq!(refused, Err(BadFrame::UnknownChannel(129)));
        }
        for payload in ["", "-1", "+1", " 1", "18446744073709551616", "x"] {
            let message = encode(Channel::Taken, payload.as_bytes());
            let refused = FromServer::decode(&message, Protocol::Nsdebug);
            assert_eq!(refused, Err(BadFrame::Taken), "{payload}");
        }
        let message = taken(1);
        let wrong_way = FromClient::decode(&message, Protocol::Nsdebug);
        assert_eq!(wrong_way, Err(BadFrame::WrongWay(Channel::Taken)));
    }

    fn frame_of(signal: &str) -> Vec<u8> {
        encode(Channel::Signal, signal.as_bytes())
    }

    #[test]
    fn the_first_character_of_a_text_message_is_the_channel() {
        let read = |text| FromClient::decode_text(text, Protocol::V5);
        let size = Size { width: 80, height: 24 };
        assert_eq!(read("\0gr\u{fc}n"), Ok(FromClient::Stdin("gr\u{fc}n".as_bytes())));
        let resize = read("\u{4}{\"Width\":80,\"Height\":24}");
        assert_eq!(resize, Ok(FromClient::Resize(size)));
        assert_eq!(read("\u{ff}\0"), Ok(FromClient::CloseStdin));
        assert_eq!(read(""), Err(BadFrame::Empty));
        assert_eq!(read("hello"), Err(BadFrame::UnknownChannel(104)));
        assert_eq!(read("\u{1f408}"), Err(BadFrame::UnknownChannel(0x1_f408)));
        assert_eq!(read("\u{1}x"), Err(BadFrame::WrongWay(Channel::Stdout)));
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for payload in ["", "{}", "{\"Width\":-1,\"Height\":2}", "{\"Width\":70000,\"Height\":2}"] {
            let message = encode(Channel::Resize, payload.as_bytes());
            assert_eq!(
                FromClient::decode(&message, Protocol::V5),
                Err(BadFrame::Resize),
                "{payload}"
            );
        }
    }

    #[test]
    fn the_length_of_a_frame_has_three_forms_and_counts_the_channel() {
        let head = |payload| Head::new(Channel::Stderr, payload).to_vec();
        assert_eq!(head(0), [0x82, 1, 2]);
        assert_eq!(head(124), [0x82, 125, 2]);
        assert_eq!(head(125), [0x82, 126, 0, 126, 2]);
        assert_eq!(head(65_534), [0x82, 126, 0xff, 0xff, 2]);
        assert_eq!(head(65_535), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 2]);
        assert_eq!(head(65_535).len(), Head::MOST);
    }

    #[test]
    fn no_input_makes_the_decoders_panic() {
        for first in 0..=255u8 {
            for rest in [&b""[..], b"\x00", b"{", b"\xff\x00\xff", b"{\"Width\":1"] {
                let message = [&[first], rest].concat();
                let _ = FromClient::decode(&message, Protocol::Nsdebug);
                let _ = FromServer::decode(&message, Protocol::Nsdebug);
            }
        }
        assert_eq!(FromClient::decode(&[], Protocol::V5), Err(BadFrame::Empty));
    }
}
