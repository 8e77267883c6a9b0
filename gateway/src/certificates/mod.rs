//! What the gateway shows to prove that it is itself: made and renewed here, or read from files.
//!
//! Whatever is new is shown from the next handshake on; what is bad changes nothing but the log.

mod files;
mod issue;
mod keeper;
mod rotation;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::ring::sign;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use tracing::warn;
use x509_parser::prelude::{FromDer, X509Certificate};

pub(crate) use files::Files;
pub(crate) use keeper::{Keeper, Names};

/// The certificate of the next handshake; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<ArcSwapOption<Loaded>>);

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    /// Seconds since 1970.
    begins: i64,
    ends: i64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("the certificate is not PEM")]
    Certificate(#[source] pem::Error),
    #[error("there is no certificate")]
    None,
    #[error("the private key is not PEM")]
    Key(#[source] pem::Error),
    #[error("the private key is of a kind that cannot be used")]
    Kind(#[source] rustls::Error),
    #[error("certificate and key are not a pair")]
    Mismatch(#[source] rustls::Error),
    #[error("the certificate cannot be read")]
    Unreadable,
}

impl Shown {
    /// Shows this from now on, if it makes sense.
    pub(crate) fn show(&self, chain: &[u8], key: &[u8]) -> Result<(), PairError> {
        self.0.store(Some(Arc::new(Loaded::read(chain, key)?)));
        if let Err(why) = self.usable() {
            warn!("certificate cannot be used: {why}");
        }
        Ok(())
    }

    /// Whether a client of today would accept it, or why not.
    pub(crate) fn usable(&self) -> Result<(), &'static str> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        match self.0.load().as_ref() {
            None => Err("there is no certificate yet"),
            Some(loaded) if now < loaded.begins => Err(
                "it is not valid yet: the clock of this node, or of the gateway that created it, is wrong",
            ),
            Some(loaded) if now >= loaded.ends => Err("it has expired"),
            Some(_) => Ok(()),
        }
    }

    /// When it ends, in seconds since 1970.
    pub(crate) fn ends(&self) -> Option<i64> {
        self.0.load().as_ref().map(|loaded| loaded.ends)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|loaded| Arc::clone(&loaded.key))
    }
}

impl Loaded {
    fn read(chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(PairError::Certificate)?;
        let (begins, ends) = validity(chain.first().ok_or(PairError::None)?)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(PairError::Key)?;
        let key = sign::any_supported_type(&key).map_err(PairError::Kind)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(PairError::Mismatch)?;
        Ok(Self { key: Arc::new(key), begins, ends })
    }
}

fn validity(certificate: &CertificateDer<'_>) -> Result<(i64, i64), PairError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| PairError::Unreadable)?;
    let validity = certificate.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pair_is_not_shown() {
        let names = vec!["a.svc".to_owned()];
        let now = OffsetDateTime::now_utc();
        let issue = || issue::issue(&names, now, time::Duration::days(1)).expect("a pair");
        let (one, two) = (issue(), issue());
        let shown = Shown::default();
        assert!(shown.usable().is_err());
        shown.show(one.chain.as_bytes(), one.key.as_bytes()).expect("a pair");
        assert_eq!(shown.usable(), Ok(()));
        let ends = shown.ends();
        assert!(shown.show(one.chain.as_bytes(), two.key.as_bytes()).is_err());
        assert!(shown.show(b"", two.key.as_bytes()).is_err());
        assert!(shown.show(one.chain.as_bytes(), b"").is_err());
        assert_eq!(shown.ends(), ends);
    }

    #[test]
    fn what_is_of_no_use_today_says_why() {
        let names = vec!["a.svc".to_owned()];
        let made = |days| {
            let at = OffsetDateTime::now_utc() + time::Duration::days(days);
            let pair = issue::issue(&names, at, time::Duration::days(1)).expect("a pair");
            let shown = Shown::default();
            shown.show(pair.chain.as_bytes(), pair.key.as_bytes()).expect("a pair");
            shown.usable()
        };
        assert!(made(1).is_err_and(|why| why.contains("not valid yet")));
        assert_eq!(made(0), Ok(()));
        assert!(made(-2).is_err_and(|why| why.contains("expired")));
    }
}
