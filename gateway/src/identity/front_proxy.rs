//! What kube-apiserver publishes of its front proxy, and whether a certificate is that proxy's.
//!
//! Read from the ConfigMap `kube-system/extension-apiserver-authentication`. What is missing or empty
//! there is an error: with an empty list of names every holder of any certificate would be the proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderName;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use x509_parser::prelude::{FromDer, X509Certificate};

const CLIENT_CA: &str = "requestheader-client-ca-file";
const ALLOWED_NAMES: &str = "requestheader-allowed-names";
const USERNAME_HEADERS: &str = "requestheader-username-headers";
const GROUP_HEADERS: &str = "requestheader-group-headers";
const EXTRA_PREFIXES: &str = "requestheader-extra-headers-prefix";
/// Published since Kubernetes 1.32. Older API servers let a client's own field through.
const UID_HEADERS: &str = "requestheader-uid-headers";

/// Whom to believe, and in which fields.
#[derive(Debug)]
pub(crate) struct FrontProxy {
    verifier: Arc<dyn ClientCertVerifier>,
    allowed_names: Vec<String>,
    pub(super) usernames: Vec<HeaderName>,
    pub(super) groups: Vec<HeaderName>,
    /// In lower case, as header names are compared.
    pub(super) extra_prefixes: Vec<String>,
    pub(super) uids: Vec<HeaderName>,
}

/// Proof that the other end of a connection is the front proxy. Made by [`FrontProxy::verify`] only.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(super) front_proxy: Arc<FrontProxy>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontProxyError {
    #[error("`{key}` is missing or empty")]
    Empty { key: &'static str },
    #[error("`{key}` is not a list of texts")]
    List {
        key: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{key}` names something that cannot be a header field")]
    Header { key: &'static str },
    #[error("`{CLIENT_CA}` is not PEM")]
    Pem(#[source] pem::Error),
    #[error("a certificate in `{CLIENT_CA}` cannot be a CA")]
    Authority(#[source] rustls::Error),
    #[error("`{CLIENT_CA}` cannot verify any certificate")]
    Verifier(#[source] VerifierBuilderError),
}

/// Why a certificate that the CA signed is still not the front proxy's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTheProxy {
    #[error("no client certificate")]
    None,
    #[error("the client certificate cannot be read")]
    Unreadable,
    #[error("the client certificate is not marked for client authentication")]
    Purpose,
    #[error("the client certificate is not of an allowed name")]
    Name,
}

impl FrontProxy {
    pub(crate) fn read(data: &BTreeMap<String, String>) -> Result<Self, FrontProxyError> {
        let text = |key: &'static str| data.get(key).map_or("", |text| text.trim());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text(CLIENT_CA).as_bytes()) {
            let certificate = certificate.map_err(FrontProxyError::Pem)?;
            roots.add(certificate).map_err(FrontProxyError::Authority)?;
        }
        if roots.is_empty() {
            return Err(FrontProxyError::Empty { key: CLIENT_CA });
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(FrontProxyError::Verifier)?;
        let prefixes = required(data, EXTRA_PREFIXES)?;
        Ok(Self {
            verifier,
            allowed_names: required(data, ALLOWED_NAMES)?,
            usernames: headers(USERNAME_HEADERS, required(data, USERNAME_HEADERS)?)?,
            groups: headers(GROUP_HEADERS, required(data, GROUP_HEADERS)?)?,
            extra_prefixes: prefixes.into_iter().map(|p| p.to_ascii_lowercase()).collect(),
            uids: headers(UID_HEADERS, list(data, UID_HEADERS)?)?,
        })
    }

    /// What TLS has to demand: a chain to the CA, within its time.
    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    /// What TLS does not look at: what the certificate is for, and whose it is.
    pub(crate) fn verify(
        self: &Arc<Self>,
        chain: &[CertificateDer<'_>],
    ) -> Result<Verified, NotTheProxy> {
        let certificate = chain.first().ok_or(NotTheProxy::None)?;
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| NotTheProxy::Unreadable)?;
        // rustls takes a certificate without any purpose for one of every purpose.
        match certificate.extended_key_usage() {
            Ok(Some(purposes)) if purposes.value.client_auth => {}
            _ => return Err(NotTheProxy::Purpose),
        }
        let names: Vec<_> = certificate.subject().iter_common_name().collect();
        let [name] = names[..] else { return Err(NotTheProxy::Name) };
        let name = name.as_str().map_err(|_| NotTheProxy::Unreadable)?;
        if self.allowed_names.iter().any(|allowed| allowed == name) {
            Ok(Verified { front_proxy: Arc::clone(self) })
        } else {
            Err(NotTheProxy::Name)
        }
    }
}

/// The elements of a list; of what is absent, none.
fn list(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Vec<String>, FrontProxyError> {
    let Some(text) = data.get(key) else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|source| FrontProxyError::List { key, source })
}

/// The elements of a list that has some, none of them empty.
fn required(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Vec<String>, FrontProxyError> {
    let list = list(data, key)?;
    if list.is_empty() || list.iter().any(|element| element.trim().is_empty()) {
        return Err(FrontProxyError::Empty { key });
    }
    Ok(list)
}

fn headers(key: &'static str, names: Vec<String>) -> Result<Vec<HeaderName>, FrontProxyError> {
    let name = |name: String| name.parse().map_err(|_| FrontProxyError::Header { key });
    names.into_iter().map(name).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rcgen::{
        CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };

    pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        pub(crate) fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = KeyPair::generate().expect("a key");
            Self(CertifiedIssuer::self_signed(params, key).expect("a CA"))
        }

        fn issue(
            &self,
            names: &[&str],
            purposes: &[ExtendedKeyUsagePurpose],
        ) -> CertificateDer<'static> {
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            for name in names {
                params.distinguished_name.push(DnType::CommonName, *name);
            }
            params.extended_key_usages = purposes.to_vec();
            let key = KeyPair::generate().expect("a key");
            params.signed_by(&key, &self.0).expect("a certificate").der().clone()
        }

        pub(crate) fn published(&self) -> BTreeMap<String, String> {
            [
                (CLIENT_CA, self.0.pem()),
                (ALLOWED_NAMES, r#"["front-proxy-client"]"#.to_owned()),
                (USERNAME_HEADERS, r#"["X-Remote-User"]"#.to_owned()),
                (GROUP_HEADERS, r#"["X-Remote-Group"]"#.to_owned()),
                (EXTRA_PREFIXES, r#"["X-Remote-Extra-"]"#.to_owned()),
                (UID_HEADERS, r#"["X-Remote-Uid"]"#.to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
        }

        pub(crate) fn verified(&self, published: &BTreeMap<String, String>) -> Verified {
            let proxy = Arc::new(FrontProxy::read(published).expect("a front proxy"));
            let certificate =
                self.issue(&["front-proxy-client"], &[ExtendedKeyUsagePurpose::ClientAuth]);
            proxy.verify(&[certificate]).expect("the proxy")
        }
    }

    #[test]
    fn what_is_missing_or_empty_is_never_read_as_everybody() {
        let published = Authority::new().published();
        for key in published.keys().filter(|key| *key != UID_HEADERS) {
            let mut without = published.clone();
            without.remove(key);
            assert!(FrontProxy::read(&without).is_err(), "without {key}");
            for empty in ["", "[]", r#"[""]"#, r#"[" "]"#, "{}", "null"] {
                let mut spoilt = published.clone();
                spoilt.insert(key.clone(), empty.to_owned());
                assert!(FrontProxy::read(&spoilt).is_err(), "{key} as {empty}");
            }
        }
    }

    #[test]
    fn only_the_name_and_the_purpose_that_are_allowed_are_the_proxy() {
        let authority = Authority::new();
        let proxy = Arc::new(FrontProxy::read(&authority.published()).expect("a proxy"));
        let client = [ExtendedKeyUsagePurpose::ClientAuth];
        let server = [ExtendedKeyUsagePurpose::ServerAuth];
        let judged = |names: &[&str], purposes: &[ExtendedKeyUsagePurpose]| {
            proxy.verify(&[authority.issue(names, purposes)]).map(drop)
        };
        assert_eq!(judged(&["front-proxy-client"], &client), Ok(()));
        assert_eq!(judged(&["front-proxy-client"], &[]), Err(NotTheProxy::Purpose));
        assert_eq!(judged(&["front-proxy-client"], &server), Err(NotTheProxy::Purpose));
        for names in [&["Front-Proxy-Client"][..], &["kubernetes"], &[""], &[]] {
            assert_eq!(judged(names, &client), Err(NotTheProxy::Name), "{names:?}");
        }
        assert_eq!(proxy.verify(&[]).map(drop), Err(NotTheProxy::None));
        let junk = CertificateDer::from(vec![1, 2, 3]);
        assert_eq!(proxy.verify(&[junk]).map(drop), Err(NotTheProxy::Unreadable));
    }
}
