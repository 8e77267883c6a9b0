//! The user behind a request, as kube-apiserver authenticated them.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::front_proxy::Verified;

const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// A user. Can be read from a connection of the front proxy, and made in no other way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    name: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallerError {
    #[error("the request has no user")]
    Nobody,
    #[error("the request names more than one user")]
    Several,
    #[error("the request names more than one uid")]
    SeveralUids,
    #[error("the field `{field}` is not UTF-8")]
    NotText { field: String },
    #[error("anonymous users cannot open sessions")]
    Anonymous,
}

impl Caller {
    pub(crate) fn read(proxy: &Verified, headers: &HeaderMap) -> Result<Self, CallerError> {
        let proxy = &proxy.front_proxy;
        let mut names = values(headers, &proxy.usernames)?;
        let name = names.pop().ok_or(CallerError::Nobody)?;
        if !names.is_empty() {
            return Err(CallerError::Several);
        }
        let groups = values(headers, &proxy.groups)?;
        if name.trim().is_empty() {
            return Err(CallerError::Nobody);
        }
        if name == ANONYMOUS || groups.iter().any(|group| group == UNAUTHENTICATED) {
            return Err(CallerError::Anonymous);
        }
        let mut uids = values(headers, &proxy.uids)?;
        let uid = uids.pop().filter(|uid| !uid.is_empty());
        if !uids.is_empty() {
            return Err(CallerError::SeveralUids);
        }
        Ok(Self { name, uid, groups, extra: extra(headers, &proxy.extra_prefixes)? })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    pub(crate) fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.extra
    }
}

/// Every value of every one of `names`, in order.
fn values(headers: &HeaderMap, names: &[HeaderName]) -> Result<Vec<String>, CallerError> {
    let all = names.iter().flat_map(|name| {
        headers.get_all(name).iter().map(move |value| text(name, value.as_bytes()))
    });
    all.collect()
}

/// The fields whose names begin with a prefix; the rest of the name is the key, percent-encoded.
fn extra(
    headers: &HeaderMap,
    prefixes: &[String],
) -> Result<BTreeMap<String, Vec<String>>, CallerError> {
    let mut extra = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        let Some(key) = prefixes.iter().find_map(|prefix| name.as_str().strip_prefix(prefix))
        else {
            continue;
        };
        let key = percent_decode_str(key).decode_utf8();
        let key = key.map_err(|_| CallerError::NotText { field: name.to_string() })?;
        extra.entry(key.into_owned()).or_default().push(text(name, value.as_bytes())?);
    }
    Ok(extra)
}

fn text(name: &HeaderName, value: &[u8]) -> Result<String, CallerError> {
    let text = std::str::from_utf8(value);
    text.map(str::to_owned).map_err(|_| CallerError::NotText { field: name.to_string() })
}

#[cfg(test)]
mod tests {
    use super::super::front_proxy::tests::Authority;
    use super::*;
    use axum::http::HeaderValue;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(name.parse::<HeaderName>().expect("a name"), value);
        }
        headers
    }

    fn read(fields: &[(&str, &str)]) -> Result<Caller, CallerError> {
        let authority = Authority::new();
        Caller::read(&authority.verified(&authority.published()), &headers(fields))
    }

    #[test]
    fn everything_that_was_authenticated_is_read() {
        let caller = read(&[
            ("X-Remote-User", "jürgen"),
            ("x-remote-group", "dev"),
            ("X-Remote-Group", "system:authenticated"),
            ("X-Remote-Uid", "42"),
            ("X-Remote-Extra-Example.com%2fscopes", "read"),
            ("X-Remote-Extra-Example.com%2fscopes", "write"),
        ])
        .expect("a caller");
        assert_eq!((caller.name(), caller.uid()), ("jürgen", Some("42")));
        assert_eq!(caller.groups(), ["dev", "system:authenticated"]);
        assert_eq!(caller.extra()["example.com/scopes"], ["read", "write"]);
    }

    #[test]
    fn one_user_is_named_or_nobody() {
        assert_eq!(read(&[]), Err(CallerError::Nobody));
        assert_eq!(read(&[("x-remote-user", " ")]), Err(CallerError::Nobody));
        assert_eq!(read(&[("x_remote_user", "admin")]), Err(CallerError::Nobody));
        let two = [("x-remote-user", "alice"), ("x-remote-user", "admin")];
        assert_eq!(read(&two), Err(CallerError::Several));
        assert_eq!(read(&[("x-remote-user", "system:anonymous")]), Err(CallerError::Anonymous));
        let stranger = [("x-remote-user", "x"), ("x-remote-group", "system:unauthenticated")];
        assert_eq!(read(&stranger), Err(CallerError::Anonymous));
        let uids = [("x-remote-user", "x"), ("x-remote-uid", "1"), ("x-remote-uid", "2")];
        assert_eq!(read(&uids), Err(CallerError::SeveralUids));
    }

    #[test]
    fn only_published_names_count() {
        let authority = Authority::new();
        let mut published = authority.published();
        published.remove("requestheader-uid-headers");
        published.insert("requestheader-username-headers".into(), r#"["X-Who"]"#.into());
        let proxy = authority.verified(&published);
        let fields = [("x-remote-user", "admin"), ("x-remote-uid", "0"), ("x-who", "bob")];
        let caller = Caller::read(&proxy, &headers(&fields)).expect("a caller");
        assert_eq!((caller.name(), caller.uid()), ("bob", None));
        let forged = headers(&[("x-remote-user", "admin")]);
        assert_eq!(Caller::read(&proxy, &forged), Err(CallerError::Nobody));
    }
}
