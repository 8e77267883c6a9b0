//! Names that arrive as text and cannot be wrong once they are one of these types.

use std::fmt;
use std::str::FromStr;

use crate::shown::shown;

/// A container ID or the beginning of one: what a person copies from `docker ps` or `crictl ps`.
///
/// containerd's own rule for IDs: at most 76 characters, words of ASCII letters and digits joined
/// by single `.`, `_` or `-` (containerd `pkg/identifiers`). A prefix may end in a joint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPrefix(String);

/// A name of one DNS label: a Kubernetes namespace or container, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// A name of DNS labels joined by dots: a Kubernetes pod, at most 253 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

/// Why a text is not the name it was given for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("`{given}` is too short for a container ID: give at least 4 characters")]
    ShortContainer { given: String },
    #[error(
        "`{given}` cannot be a container ID: IDs are at most 76 letters and digits, joined by single `.`, `_` or `-`"
    )]
    Container { given: String },
    #[error("the name is missing")]
    Missing,
    #[error(
        "invalid name `{given}`: use at most {most} lower-case letters, digits{also}, with a letter or digit at both ends"
    )]
    Dns { given: String, most: usize, also: &'static str },
}

impl BadName {
    fn dns(text: &str, most: usize, also: &'static str) -> Self {
        if text.is_empty() { Self::Missing } else { Self::Dns { given: shown(text), most, also } }
    }
}

impl ContainerPrefix {
    const SHORTEST: usize = 4;
    const LONGEST: usize = 76;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerPrefix {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        // `containerd://` is how `pod.status` spells it; nobody further in sees that.
        let id = text.strip_prefix("containerd://").unwrap_or(text);
        let joint = |b: u8| matches!(b, b'.' | b'_' | b'-');
        let bytes = id.as_bytes();
        let spelled = bytes.iter().all(|&b| b.is_ascii_alphanumeric() || joint(b))
            && !bytes.first().is_some_and(|&b| joint(b))
            && !bytes.windows(2).any(|pair| joint(pair[0]) && joint(pair[1]));
        let given = || shown(text);
        if !spelled || id.len() > Self::LONGEST {
            Err(BadName::Container { given: given() })
        } else if id.len() < Self::SHORTEST {
            Err(BadName::ShortContainer { given: given() })
        } else {
            Ok(Self(id.to_owned()))
        }
    }
}

impl Label {
    const LONGEST: usize = 63;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.len() <= Self::LONGEST && is_dns_label(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName::dns(text, Self::LONGEST, " and `-`"))
        }
    }
}

impl ObjectName {
    const LONGEST: usize = 253;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.len() <= Self::LONGEST && text.split('.').all(is_dns_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName::dns(text, Self::LONGEST, ", `-` and `.`"))
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

macro_rules! shows_as_its_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
shows_as_its_text!(ContainerPrefix, Label, ObjectName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_is_what_containerd_allows() {
        for good in ["0123", "web.1_a-b", "containerd://abcdef", &"a".repeat(76), "abc-"] {
            assert!(good.parse::<ContainerPrefix>().is_ok(), "{good}");
        }
        for bad in ["", "abc", "-abc", "a..b4", "a/../b", "ab cd", "é1234", &"a".repeat(77)] {
            assert!(bad.parse::<ContainerPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_scheme_of_pod_status_is_not_part_of_the_id() {
        let id: ContainerPrefix = "containerd://0123456789ab".parse().expect("an ID");
        assert_eq!(id.as_str(), "0123456789ab");
    }

    #[test]
    fn pod_names_may_have_dots_and_labels_may_not() {
        assert!("web-1.example".parse::<ObjectName>().is_ok());
        assert!("web-1.example".parse::<Label>().is_err());
        for bad in ["", "Web", "-web", "web-", "a..b", "we_b", "a/b", &"a".repeat(254)] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_of_a_bad_name_moves_no_terminal() {
        let error = "\u{1b}[2Jabcdef".parse::<ContainerPrefix>().expect_err("an escape sequence");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}
