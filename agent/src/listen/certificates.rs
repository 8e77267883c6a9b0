//! The agent's certificate and the CA of its clients: read, checked against each other, read again
//! when the files change.
//!
//! Polled, not watched: projected volumes swap a symlink, which file events report in many ways. A
//! bad new file changes nothing but the log.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tracing::{error, info};

/// How soon a renewed certificate is noticed; Kubernetes itself takes up to a minute to project it.
pub const RELOAD_EVERY: Duration = Duration::from_secs(30);

/// The three PEM files of a TLS listener.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    pub chain: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a PEM file with {wanted}", path.display())]
    Pem {
        path: PathBuf,
        wanted: &'static str,
        #[source]
        source: pem::Error,
    },
    #[error("{} holds no certificate", path.display())]
    Empty { path: PathBuf },
    #[error("a certificate in {} cannot be a CA", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("{} cannot verify any client certificate", path.display())]
    Verifier {
        path: PathBuf,
        #[source]
        source: VerifierBuilderError,
    },
    #[error("{} and {} are not a certificate and its key", chain.display(), key.display())]
    Pair {
        chain: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
}

/// The configuration of TLS as the files were when they last made sense.
#[derive(Debug)]
pub struct Certificates {
    files: CertificateFiles,
    seen: Stamp,
    current: watch::Sender<Arc<ServerConfig>>,
}

/// What changes when a file does: device, inode, size, and time in seconds and nanoseconds.
type Stamp = [Option<(u64, u64, u64, i64, i64)>; 3];

impl Certificates {
    pub fn load(files: CertificateFiles) -> Result<Self, CertificateError> {
        let seen = files.stamp(); // before reading: a change in between is seen by the next poll
        let current = watch::Sender::new(Arc::new(files.server_config()?));
        Ok(Self { files, seen, current })
    }

    /// What the next handshake is to use.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// Looks at the files again and again until the agent drains.
    pub async fn keep_fresh(mut self, every: Duration, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => self.refresh(),
                () = shutdown.draining() => return,
            }
        }
    }

    fn refresh(&mut self) {
        let now = self.files.stamp();
        if now == self.seen {
            return;
        }
        self.seen = now; // also when it fails: once a change in the log is enough
        match self.files.server_config() {
            Ok(config) => {
                self.current.send_replace(Arc::new(config));
                info!(chain = %self.files.chain.display(), "certificates reloaded");
            }
            Err(problem) => {
                error!(error = %wire::chain(&problem), "new certificates ignored, the old ones stay");
            }
        }
    }
}

impl CertificateFiles {
    fn server_config(&self) -> Result<ServerConfig, CertificateError> {
        let Self { chain, key, client_ca } = self;
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(authorities(client_ca)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|source| CertificateError::Verifier { path: client_ca.clone(), source })?;
        let pair =
            |source| CertificateError::Pair { chain: chain.clone(), key: key.clone(), source };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions() // 1.2 and 1.3
            .map_err(pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(chain)?, private_key(key)?)
            .map_err(pair)?;
        // A resumed session would skip the client's certificate, which may be expired by then.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn stamp(&self) -> Stamp {
        let Self { chain, key, client_ca } = self;
        [chain, key, client_ca].map(|path| {
            let file = fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let wanted = "certificates";
    let pem = |source| CertificateError::Pem { path: path.to_owned(), wanted, source };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().map_err(pem)?;
    if found.is_empty() {
        return Err(CertificateError::Empty { path: path.to_owned() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let wanted = "a private key";
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|source| CertificateError::Pem {
        path: path.to_owned(),
        wanted,
        source,
    })
}

pub(super) fn authorities(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|source| CertificateError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    /// A directory with a certificate, its key, and itself as the CA of clients.
    fn files() -> (tempfile::TempDir, CertificateFiles) {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let files =
            CertificateFiles { chain: at("tls.crt"), key: at("tls.key"), client_ca: at("ca.crt") };
        let CertifiedKey { cert, signing_key } = generate("one");
        fs::write(&files.chain, cert.pem()).expect("a file");
        fs::write(&files.client_ca, cert.pem()).expect("a file");
        fs::write(&files.key, signing_key.serialize_pem()).expect("a file");
        (directory, files)
    }

    fn generate(name: &str) -> CertifiedKey<rcgen::KeyPair> {
        generate_simple_self_signed([name.to_owned()]).expect("a certificate")
    }

    #[test]
    fn what_is_wrong_with_a_file_names_the_file() {
        let refusal = |spoil: fn(&CertificateFiles)| {
            let (_directory, files) = files();
            spoil(&files);
            wire::chain(&Certificates::load(files).expect_err("a spoilt file"))
        };
        let missing = refusal(|f| fs::remove_file(&f.key).expect("a removal"));
        assert!(missing.starts_with("cannot read ") && missing.contains("tls.key"), "{missing}");
        let empty = refusal(|f| fs::write(&f.client_ca, "").expect("a file"));
        assert!(empty.contains("ca.crt holds no certificate"), "{empty}");
        let no_key = refusal(|f| fs::write(&f.key, "x").expect("a file"));
        assert!(no_key.contains("tls.key is not a PEM file with a private key"), "{no_key}");
        let other = refusal(|f| {
            fs::write(&f.key, generate("two").signing_key.serialize_pem()).expect("a file");
        });
        assert!(other.contains("are not a certificate and its key"), "{other}");
    }

    #[test]
    fn a_bad_new_file_keeps_the_old_certificate_until_a_good_one_comes() {
        let (_directory, files) = files();
        let mut certificates = Certificates::load(files.clone()).expect("certificates");
        let mut changes = certificates.subscribe();
        certificates.refresh();
        assert!(!changes.has_changed().expect("a sender"), "nothing changed");
        fs::write(&files.chain, "-----BEGIN CERT").expect("a file");
        certificates.refresh();
        assert!(!changes.has_changed().expect("a sender"), "the old one stays");
        let CertifiedKey { cert, signing_key } = generate("two");
        fs::write(&files.chain, cert.pem()).expect("a file");
        fs::write(&files.key, signing_key.serialize_pem()).expect("a file");
        certificates.refresh();
        assert!(changes.has_changed().expect("a sender"));
        changes.mark_unchanged();
    }
}
