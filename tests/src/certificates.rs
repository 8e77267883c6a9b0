//! A certificate authority made for one test, and certificates of every kind a client may come with.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// What a certificate is for, and whether it is any good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// For `localhost` and the loopback addresses.
    Server,
    Client,
    /// Ended yesterday.
    ExpiredClient,
    /// Signed by an authority that nobody was told of.
    ForeignClient,
    /// Good, and not meant for clients.
    ServerAsClient,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The authority; its files go when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
    stranger: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (authority, stranger) = (authority("nsdebug tests"), authority("a stranger"));
        write(&folder.path().join("ca.pem"), &authority.pem());
        Self { folder, authority, stranger }
    }

    /// The certificate of the authority itself.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Make a certificate and its key.
    pub fn issue(&self, kind: Certificate) -> CertificateFiles {
        let name = format!("{kind:?}");
        self.issue_to(kind, &name, &name.to_lowercase())
    }

    /// A client's certificate that says that it is `name`'s: always the same one.
    pub fn client(&self, name: &str) -> CertificateFiles {
        let files = self.files(name);
        if files.key.exists() { files } else { self.issue_to(Certificate::Client, name, name) }
    }

    /// Another holder's certificate that says the same.
    pub fn namesake(&self, name: &str) -> CertificateFiles {
        self.issue_to(Certificate::Client, name, &format!("other-{name}"))
    }

    fn files(&self, file: &str) -> CertificateFiles {
        CertificateFiles {
            certificate: self.folder.path().join(format!("{file}.pem")),
            key: self.folder.path().join(format!("{file}.key")),
        }
    }

    fn issue_to(&self, kind: Certificate, subject: &str, file: &str) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let issuer = match kind {
            Certificate::ForeignClient => &self.stranger,
            _ => &self.authority,
        };
        let certificate =
            params(kind, subject).signed_by(&key, issuer).expect("the authority signs");
        let files = self.files(file);
        write(&files.certificate, &certificate.pem());
        write(&files.key, &key.serialize_pem());
        files
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn write(path: &Path, pem: &str) {
    std::fs::write(path, pem).expect("a file in an own folder");
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority signs itself")
}

fn params(kind: Certificate, subject: &str) -> CertificateParams {
    let (names, purpose): (&[&str], _) = match kind {
        Certificate::Server => {
            (&["localhost", "127.0.0.1", "::1"], ExtendedKeyUsagePurpose::ServerAuth)
        }
        Certificate::ServerAsClient => (&[], ExtendedKeyUsagePurpose::ServerAuth),
        _ => (&[], ExtendedKeyUsagePurpose::ClientAuth),
    };
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names and addresses");
    params.distinguished_name.push(DnType::CommonName, subject);
    params.extended_key_usages = vec![purpose];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(2);
    params.not_after = match kind {
        Certificate::ExpiredClient => now - Duration::days(1),
        _ => now + Duration::days(1),
    };
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_a_pair_of_pem_files() {
        let certificates = Certificates::new();
        let kinds = [Certificate::Server, Certificate::Client, Certificate::ExpiredClient];
        for kind in kinds.into_iter().chain([Certificate::ForeignClient]) {
            let files = certificates.issue(kind);
            let read = |path| std::fs::read_to_string(path).expect("it was written");
            assert!(read(files.certificate).contains("BEGIN CERTIFICATE"));
            assert!(read(files.key).contains("BEGIN PRIVATE KEY"));
        }
    }
}
