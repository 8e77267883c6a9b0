//! Whose sessions are counted together, and may be seen and ended by each other.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::holder::{Holder, KeyDigest};

/// One person, or one program, through whichever process, address or gateway. Two are equal by what
/// was proved of them, whatever is shown.
#[derive(Clone, Debug)]
pub struct Caller {
    who: Who,
    shown: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Root,
    Key(KeyDigest),
    User(String),
}

impl Caller {
    #[must_use]
    pub fn root() -> Self {
        Self { who: Who::Root, shown: "root".to_owned() }
    }

    #[must_use]
    pub fn holder(holder: &Holder) -> Self {
        Self { who: Who::Key(holder.key()), shown: holder.to_string() }
    }

    /// A user for whom a gateway vouches.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self { who: Who::User(name.to_owned()), shown: format!("user {}", name.escape_debug()) }
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.who == other.who
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.who.hash(state);
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
