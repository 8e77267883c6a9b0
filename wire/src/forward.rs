//! Between a gateway and an agent: how the agent comes in, and what the gateway vouches for.
//!
//! The agent dials and asks for [`CONNECT_PATH`] with its token; after `101` the roles turn, and the
//! gateway asks over that connection. The fields of [`Forwarded`] mean something there and nowhere
//! else: on any other connection they are a stranger's words.

use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::audit_id::AuditId;
use crate::header::AUDIT_ID;
use crate::name::ContainerPrefix;
use crate::profile::Profile;

/// Where an agent offers its connection, by `POST`.
pub const CONNECT_PATH: &str = "/connect";

/// The protocol in `Upgrade:` of that request and of its answer.
pub const CONNECT_PROTOCOL: &str = "nsdebug-agent";

/// Where a gateway says, by `POST`, that it ends the sessions it has vouched for with this [`Forwarded`]. The
/// code is 200 where there are such, else 404.
pub const END_PATH: &str = "/v1/forwarded/end";

/// On that request: a [`Withdrawal`].
pub const WHY: &str = "nsdebug-why";

/// On that request, in words: which right, or which limit. Percent-encoded; a gateway that is older says none.
pub const CAUSE: &str = "nsdebug-cause";

/// Whom the token of an agent is meant for; a token for the API server opens nothing here.
pub const AUDIENCE: &str = "nsdebug-gateway";

/// On `POST /connect`: which node the agent believes to be on. Only compared with its token.
pub const NODE: &str = "nsdebug-node";

/// On `POST /connect`: what the agent knows beside what all agents know, one word each with a comma between.
pub const KNOWS: &str = "nsdebug-knows";

/// Among those words: requests that are only judged. Who does not say it is not asked for one.
pub const KNOWS_DRY_RUNS: &str = "dry-run";

/// Who asks, percent-encoded.
pub const USER: &str = "nsdebug-user";

/// On a request of a gateway: the ID that it gave to this session.
const SESSION_ID: &str = "nsdebug-session-id";
const POD_UID: &str = "nsdebug-pod-uid";
const CONTAINER_ID: &str = "nsdebug-container-id";
const WAITING: &str = "nsdebug-waiting";
const HOST_TARGET: &str = "nsdebug-host-target";
const MAX_PROFILE: &str = "nsdebug-max-profile";

/// Digits of a session's ID: 128 random bits.
pub const SESSION_DIGITS: usize = 32;

/// The only value of [`HOST_TARGET`].
const ALLOWED: &str = "allowed";

/// What a header field cannot carry; `%` so that decoding is exact.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// What the gateway found out and the agent relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub user: String,
    /// The gateway's own name of this one session, which no client chooses: [`SESSION_DIGITS`] of lower
    /// case hexadecimal. A gateway that is older than its agents gives none.
    pub session_id: Option<String>,
    /// What the client, or kube-apiserver for it, calls the request: their word.
    pub audit_id: AuditId,
    /// The pod that was meant, where it is one: another of the same name may have taken its place.
    pub pod_uid: Option<String>,
    /// Where the container ran when the API server was asked.
    pub container_id: Option<ContainerPrefix>,
    /// Why the container did not run then, in words: `app waits: ImagePullBackOff`.
    pub waiting: Option<String>,
    /// The user may enter what is worth as much as the node.
    pub host_target: bool,
    /// The profile that was reviewed; the session gets no more.
    pub max_profile: Profile,
}

/// Why a gateway ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// A right that it needs is gone, or nobody could say for a while whether it is still there.
    Revoked,
    /// It went on for as long as sessions may.
    Expired,
    /// The gateway is being stopped.
    Stopped,
}

impl Withdrawal {
    const ALL: [Self; 3] = [Self::Revoked, Self::Expired, Self::Stopped];

    /// The value of [`WHY`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Stopped => "stopped",
        }
    }

    /// For people, behind "ended by the gateway: ", where the gateway gave no [`CAUSE`].
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Revoked => "a right that the session needs was revoked, or cannot be confirmed",
            Self::Expired => "longest duration reached",
            Self::Stopped => "it is shutting down",
        }
    }
}

impl FromStr for Withdrawal {
    type Err = BadForward;

    fn from_str(text: &str) -> Result<Self, BadForward> {
        let known = Self::ALL.into_iter().find(|why| why.as_str() == text);
        known.ok_or(BadForward::Unreadable { field: WHY })
    }
}

/// As the value of [`CAUSE`].
#[must_use]
pub fn cause(words: &str) -> String {
    utf8_percent_encode(words, ENCODED).to_string()
}

/// The words of a [`CAUSE`], or nothing where it cannot be read.
#[must_use]
pub fn read_cause(value: &[u8]) -> Option<String> {
    let text = percent_decode_str(std::str::from_utf8(value).ok()?).decode_utf8().ok()?;
    let quoted = |c: char| matches!(c, '"' | '\'');
    let plain = |c: char| if quoted(c) { c.to_string() } else { c.escape_debug().to_string() };
    let shown: String = text.chars().map(plain).collect();
    Some(shown).filter(|text| !text.is_empty())
}

/// Why a request over a gateway's connection is not one of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForward {
    #[error("the gateway sent no `{field}`")]
    Missing { field: &'static str },
    #[error("the gateway's `{field}` cannot be read")]
    Unreadable { field: &'static str },
}

impl Forwarded {
    /// The header fields, whose values are ASCII without controls.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { user, session_id, audit_id, pod_uid, container_id, waiting, .. } = self;
        let Self { host_target, max_profile, .. } = self;
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let mut fields = vec![(USER, encoded(user))];
        fields.extend(session_id.as_ref().map(|id| (SESSION_ID, encoded(id))));
        fields.extend([(AUDIT_ID, audit_id.to_string()), (MAX_PROFILE, max_profile.to_string())]);
        fields.extend(pod_uid.as_ref().map(|uid| (POD_UID, encoded(uid))));
        fields.extend(container_id.as_ref().map(|id| (CONTAINER_ID, id.to_string())));
        fields.extend(waiting.as_ref().map(|words| (WAITING, encoded(words))));
        if *host_target {
            fields.push((HOST_TARGET, ALLOWED.to_owned()));
        }
        fields
    }

    /// Reads the fields; `field` gives the only value of a name.
    pub fn read<'a>(field: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self, BadForward> {
        let optional = |name: &'static str| {
            let unreadable = BadForward::Unreadable { field: name };
            let Some(value) = field(name) else { return Ok(None) };
            let text = std::str::from_utf8(value).map_err(|_| unreadable.clone())?;
            let text = percent_decode_str(text).decode_utf8().map_err(|_| unreadable.clone())?;
            if text.is_empty() { Err(unreadable) } else { Ok(Some(text.into_owned())) }
        };
        let required = |name| optional(name)?.ok_or(BadForward::Missing { field: name });
        let unreadable = |field| BadForward::Unreadable { field };
        let container_id = optional(CONTAINER_ID)?
            .map(|id| id.parse().map_err(|_| unreadable(CONTAINER_ID)))
            .transpose()?;
        let host_target = match optional(HOST_TARGET)?.as_deref() {
            None => false,
            Some(ALLOWED) => true,
            Some(_) => return Err(unreadable(HOST_TARGET)),
        };
        let session_id = optional(SESSION_ID)?;
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let is_id = |id: &String| id.len() == SESSION_DIGITS && id.bytes().all(is_digit);
        if !session_id.as_ref().is_none_or(is_id) {
            return Err(unreadable(SESSION_ID));
        }
        Ok(Self {
            user: required(USER)?,
            session_id,
            audit_id: required(AUDIT_ID)?.parse().map_err(|_| unreadable(AUDIT_ID))?,
            pod_uid: optional(POD_UID)?,
            container_id,
            waiting: optional(WAITING)?,
            host_target,
            max_profile: required(MAX_PROFILE)?.parse().map_err(|_| unreadable(MAX_PROFILE))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded() -> Forwarded {
        Forwarded {
            user: "jürgen\n100% @example".to_owned(),
            session_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            audit_id: "a-1".parse().expect("an ID"),
            pod_uid: Some("uid-1".to_owned()),
            container_id: Some("0123abcd".parse().expect("an ID")),
            waiting: Some("app waits: CrashLoopBackOff".to_owned()),
            host_target: true,
            max_profile: Profile::General,
        }
    }

    /// What cannot be left out, and the ID.
    fn said() -> Forwarded {
        let (pod_uid, container_id, waiting) = (None, None, None);
        Forwarded { pod_uid, container_id, waiting, host_target: false, ..forwarded() }
    }

    fn read(fields: &[(&'static str, String)]) -> Result<Forwarded, BadForward> {
        Forwarded::read(|name| {
            fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes())
        })
    }

    #[test]
    fn what_is_forwarded_survives_the_way() {
        let bare = Forwarded { session_id: None, ..said() };
        for forwarded in [forwarded(), bare] {
            let fields = forwarded.fields();
            let plain = |(_, value): &(_, String)| value.bytes().all(|b| b.is_ascii_graphic());
            assert!(fields.iter().all(plain), "{fields:?}");
            assert_eq!(read(&fields), Ok(forwarded));
        }
    }

    #[test]
    fn why_a_session_is_ended_survives_the_way() {
        for why in Withdrawal::ALL {
            assert_eq!(why.as_str().parse(), Ok(why));
        }
        assert_eq!("".parse::<Withdrawal>(), Err(BadForward::Unreadable { field: WHY }));
    }

    #[test]
    fn the_cause_of_an_end_survives_the_way_and_moves_no_terminal() {
        for words in ["right revoked: use profiles in jürgen's 100%", "it is shutting down"] {
            let value = cause(words);
            assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{value}");
            assert_eq!(read_cause(value.as_bytes()).as_deref(), Some(words));
        }
        assert_eq!(read_cause(b"a%1b[2J").as_deref(), Some("a\\u{1b}[2J"));
        assert_eq!((read_cause(b""), read_cause(b"\xff")), (None, None));
    }

    #[test]
    fn nothing_is_assumed_of_what_is_not_said() {
        let all = Forwarded { session_id: None, ..said() }.fields();
        for left_out in 0..all.len() {
            let mut fields = all.clone();
            let (field, _) = fields.remove(left_out);
            assert_eq!(read(&fields), Err(BadForward::Missing { field }));
        }
        let mut fields = all;
        fields.push((HOST_TARGET, "yes".to_owned()));
        assert_eq!(read(&fields), Err(BadForward::Unreadable { field: HOST_TARGET }));
    }

    #[test]
    fn a_gateway_from_before_there_were_ids_is_understood() {
        let mut fields = said().fields();
        fields.retain(|(field, _)| *field != SESSION_ID);
        assert_eq!(read(&fields), Ok(Forwarded { session_id: None, ..said() }));
    }

    #[test]
    fn an_id_that_could_be_free_words_is_none() {
        for bad in
            ["", "0123", "0123456789ABCDEF0123456789abcdef", "0123456789abcdef0123456789abcdeg"]
        {
            let named = Forwarded { session_id: Some(bad.to_owned()), ..forwarded() };
            let error = BadForward::Unreadable { field: SESSION_ID };
            assert_eq!(read(&named.fields()), Err(error), "{bad}");
        }
    }
}
