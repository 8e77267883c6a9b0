//! TLS with the agent: our authority, our certificate, and what went wrong in words.
//!
//! Only the given authorities are trusted, never the system's, and nothing turns the check off.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ahead::Ahead;
use super::low_water::LowWater;
use super::transport::Transport;

/// Whom to trust behind https, and as whom to come.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) authority: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    pub(crate) server_name: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read the {what} in {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("{} holds no {what} in PEM form", path.display())]
    Empty { what: &'static str, path: PathBuf },
    #[error("no certificate authority is given")]
    NoAuthority,
    #[error("the certificate authority in {} cannot be used", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("the client certificate in {} and the key in {} cannot be used", certificate.display(), key.display())]
    Client {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("`{name}` is no name that a certificate could hold")]
    ServerName {
        name: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("the TLS library cannot be set up")]
    SetUp(#[source] rustls::Error),
    #[error("the agent's certificate has expired")]
    Expired,
    #[error("the agent's certificate is not valid yet")]
    NotYetValid,
    #[error(
        "the agent's certificate is not signed by an authority in the --certificate-authority file"
    )]
    Untrusted,
    #[error("the agent's certificate is for another name")]
    WrongName(#[source] rustls::Error),
    #[error("the agent requires a client certificate")]
    ClientCertificateWanted,
    #[error("the agent refused the client certificate: it {why}")]
    ClientCertificateRefused { why: &'static str },
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    #[error("the connection was refused")]
    Refused(#[source] rustls::Error),
}

impl TlsError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::ClientCertificateWanted => Some("give --client-certificate and --client-key"),
            Self::WrongName(_) => Some(
                "if the certificate's name is the one you expect, give that name with --tls-server-name",
            ),
            _ => None,
        }
    }

    /// What `error` means where it is about certificates; any other error is given back.
    pub(super) fn from_library(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Self::Expired,
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => Self::NotYetValid,
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => Self::Untrusted,
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::WrongName(error),
            rustls::Error::AlertReceived(alert) => Self::from_alert(alert),
            error => Self::Refused(error),
        }
    }

    fn from_alert(alert: AlertDescription) -> Self {
        let why = match alert {
            AlertDescription::CertificateRequired => return Self::ClientCertificateWanted,
            AlertDescription::CertificateExpired => "has expired or is not valid yet",
            AlertDescription::CertificateRevoked => "is revoked",
            AlertDescription::UnknownCA => "is not signed by an authority that the agent trusts",
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown => "is not valid for this use",
            alert => return Self::Refused(rustls::Error::AlertReceived(alert)),
        };
        Self::ClientCertificateRefused { why }
    }
}

/// The TLS library's error inside an IO error, or inside one that is inside it.
pub(crate) fn library_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| library_error(inner.downcast_ref()?))
}

/// Everything that can be wrong before the network is touched, done.
pub(super) struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Client {
    pub(super) fn prepare(host: &str, credentials: &Credentials) -> Result<Self, TlsError> {
        let Credentials { authority, client, server_name } = credentials;
        let name = server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|source| TlsError::ServerName { name: name.to_owned(), source })?;
        let authority = authority.as_deref().ok_or(TlsError::NoAuthority)?;
        let client =
            client.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let config = config(authority, client)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name: server_name })
    }

    pub(super) async fn connect(self, tcp: TcpStream) -> Result<Transport, TlsError> {
        // A key press must not wait for the acknowledgement of the one before.
        tcp.set_nodelay(true).map_err(TlsError::Handshake)?;
        let stream = self.connector.connect(self.name, Ahead::of(LowWater::of(tcp)));
        let stream = stream.await.map_err(|error| match library_error(&error) {
            Some(library) => TlsError::from_library(library.clone()),
            None => TlsError::Handshake(error),
        })?;
        Ok(Box::new(stream))
    }
}

fn config(authority: &Path, client: Option<(&Path, &Path)>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::SetUp)?
        .with_root_certificates(roots(authority)?);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("client certificate", certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| file_error("private key", key, error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|source| TlsError::Client {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                source,
            })?
        }
    };
    // Upgrades exist in HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("certificate authority", path)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file_error(what, path, error))?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { what, path: path.to_owned() });
    }
    Ok(certificates)
}

fn file_error(what: &'static str, path: &Path, source: pem::Error) -> TlsError {
    match source {
        pem::Error::NoItemsFound => TlsError::Empty { what, path: path.to_owned() },
        source => TlsError::File { what, path: path.to_owned(), source },
    }
}
