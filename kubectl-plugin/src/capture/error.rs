//! What ends a capture before it has begun, or all of it at once.

use std::io;

use super::files::PacketFileError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// tcpdump's own words.
    #[error("tcpdump refuses the capture in {pod}: {words}")]
    Refused { pod: String, words: String },
    #[error("interface `{interface}` cannot be captured everywhere:\n{}", lists.join("\n"))]
    Interface { interface: String, lists: Vec<String> },
    #[error(transparent)]
    File(PacketFileError),
    #[error("cannot open our own stdout")]
    Stdout(#[source] io::Error),
    #[error("cannot start wireshark")]
    Wireshark(#[source] io::Error),
}

impl CaptureError {
    /// Whether the command line is what is wrong.
    pub(crate) fn is_of_usage(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Interface { .. })
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Interface { .. } => Some("-i any, the default, is in every pod"),
            Self::Wireshark(_) => Some("install it, or pipe the packets: -w - | wireshark -k -i -"),
            _ => None,
        }
    }
}
