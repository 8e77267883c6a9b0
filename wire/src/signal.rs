//! The signals that a client may have its tool sent.

use crate::signal_name;

/// One of them, by its number on Linux. None that a tool cannot handle; and a terminal that has another size
/// says so by its resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Signal {
    Hup = 1,
    Int = 2,
    Quit = 3,
    Usr1 = 10,
    Usr2 = 12,
    Term = 15,
}

impl Signal {
    pub const ALL: [Self; 6] =
        [Self::Hup, Self::Int, Self::Quit, Self::Usr1, Self::Usr2, Self::Term];

    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Without `SIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        signal_name(self.number()).unwrap_or_default()
    }

    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name().as_bytes() == name)
    }
}
