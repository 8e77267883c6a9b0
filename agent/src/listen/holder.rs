//! Whose a client certificate is: its key's holder. The name in it is for people to read.
//!
//! Many authorities sign what name they are asked to, so that two people may have the same one; nobody
//! has another's key. A certificate that is renewed for the same key stays the same holder's.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Bytes of a key's digest that tell two holders of one name apart for a reader.
const BRIEF: usize = 6;

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    name: Arc<str>,
    key: KeyDigest,
}

/// SHA-256 of a public key as certificates have it (`SubjectPublicKeyInfo`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHolder {
    #[error("the client certificate cannot be read")]
    Unreadable,
    #[error(
        "the client certificate has no name: it needs a common name or a subject alternative name"
    )]
    Nameless,
}

impl Holder {
    /// Of a certificate that has been verified.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, NoHolder> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| NoHolder::Unreadable)?;
        let name = common_name(&certificate).or_else(|| alternative_name(&certificate));
        let name = name.ok_or(NoHolder::Nameless)?;
        let name = wire::shown(&name);
        let key = KeyDigest(Sha256::digest(certificate.public_key().raw).into());
        Ok(Self { name: name.into(), key })
    }

    #[must_use]
    pub fn key(&self) -> KeyDigest {
        self.key
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, key: KeyDigest(digest) } = self;
        write!(f, "certificate {name} (key ")?;
        digest[..BRIEF].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject().iter_common_name();
    let mut texts = names.filter_map(|name| name.as_str().ok()).map(str::trim);
    texts.find(|text| !text.is_empty()).map(str::to_owned)
}

fn alternative_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let texts = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).trim().to_owned())
        }
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let mut texts = texts.filter(|text| !text.is_empty());
    texts.next()
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
    let sixteen = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).to_string());
    four.or_else(|_| sixteen()).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn holder(key: &KeyPair, common: &[&str], alternative: &[&str]) -> Result<Holder, NoHolder> {
        let alternative: Vec<_> = alternative.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(alternative).expect("names");
        params.distinguished_name = DistinguishedName::new();
        for name in common {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        Holder::of(params.self_signed(key).expect("a certificate").der())
    }

    fn key() -> KeyPair {
        KeyPair::generate().expect("a key")
    }

    /// A holder of that name, with a key that no other has.
    pub(crate) fn holder_named(name: &str) -> Holder {
        holder(&key(), &[name], &[]).expect("a holder")
    }

    #[test]
    fn one_key_is_one_holder_and_one_name_is_not() {
        let mine = key();
        let (first, renewed) = (holder(&mine, &["alice"], &[]), holder(&mine, &["alice"], &["a"]));
        assert_eq!(first.expect("a holder"), renewed.expect("a holder"));
        let (one, other) = (holder_named("alice"), holder_named("alice"));
        assert_ne!(one, other);
        assert_ne!(one.to_string(), other.to_string());
        assert!(one.to_string().starts_with("certificate alice (key "), "{one}");
        assert_eq!(one.key().to_string().len(), "sha256:".len() + 64);
    }

    #[test]
    fn a_name_is_found_wherever_it_is_and_what_has_none_is_nobodys() {
        let shown = |common: &[&str], alternative: &[&str]| {
            holder(&key(), common, alternative).map(|holder| holder.name.to_string())
        };
        assert_eq!(shown(&["alice"], &["b.example"]).as_deref(), Ok("alice"));
        assert_eq!(shown(&[], &["b.example"]).as_deref(), Ok("b.example"));
        assert_eq!(shown(&[" "], &["192.0.2.1"]).as_deref(), Ok("192.0.2.1"));
        assert_eq!(shown(&[], &["2001:db8::1"]).as_deref(), Ok("2001:db8::1"));
        assert_eq!(shown(&["a\nb\u{202e}"], &[]).as_deref(), Ok("a\\nb\\u{202e}"));
        assert!(shown(&[&"a".repeat(1000)], &[]).is_ok_and(|name| name.ends_with("a…")));
        for nobody in [&[][..], &[""], &["  "]] {
            assert_eq!(shown(nobody, &[]), Err(NoHolder::Nameless));
        }
    }
}
