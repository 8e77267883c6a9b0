//! The profiles: what a session may hold, by name. The one list of these names, from the least to the most.

use std::fmt;
use std::str::FromStr;

use crate::shown::shown;

/// A named set of privileges. Each can be granted by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    Restricted,
    Baseline,
    /// What a session has that does not say.
    #[default]
    General,
    Netadmin,
    Sysadmin,
}

/// The name is not one of a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile `{given}`; profiles are {}", Profile::names())]
pub struct NoSuchProfile {
    given: String,
}

impl Profile {
    pub const ALL: [Self; 5] =
        [Self::Restricted, Self::Baseline, Self::General, Self::Netadmin, Self::Sysadmin];

    /// The name, as in `kubectl debug --profile`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
            Self::General => "general",
            Self::Netadmin => "netadmin",
            Self::Sysadmin => "sysadmin",
        }
    }

    /// All of them in a sentence: `restricted, baseline, …`.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = NoSuchProfile;

    fn from_str(name: &str) -> Result<Self, NoSuchProfile> {
        let known = Self::ALL.into_iter().find(|profile| profile.as_str() == name);
        known.ok_or_else(|| NoSuchProfile { given: shown(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_by_its_name_and_stands_above_the_one_before() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse(), Ok(profile));
        }
        assert!(Profile::ALL.is_sorted() && Profile::default() == Profile::General);
    }

    #[test]
    fn a_name_that_there_is_not_is_answered_with_those_there_are() {
        for name in ["genral", "General", "", "a\u{1b}[2J"] {
            let said = name.parse::<Profile>().expect_err(name).to_string();
            let given = name.escape_debug();
            let all = "restricted, baseline, general, netadmin, sysadmin";
            assert_eq!(said, format!("there is no profile `{given}`; profiles are {all}"));
        }
    }
}
