//! Where callers with certificates connect, and what is shown to them.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::BadConfig;
use crate::listen::CertificateFiles;

#[derive(Clone, Debug)]
pub struct TlsConfig {
    pub addresses: Vec<SocketAddr>,
    pub files: CertificateFiles,
}

impl TlsConfig {
    /// One needs the other.
    pub(super) fn of(
        addresses: Vec<SocketAddr>,
        files: Option<((PathBuf, PathBuf), PathBuf)>,
    ) -> Result<Option<Self>, BadConfig> {
        let files =
            files.map(|((chain, key), client_ca)| CertificateFiles { chain, key, client_ca });
        match (files, addresses.is_empty()) {
            (Some(files), false) => Ok(Some(Self { addresses, files })),
            (None, true) => Ok(None),
            (None, false) => Err(BadConfig::NoCertificate),
            (Some(_), true) => Err(BadConfig::UnusedCertificate),
        }
    }
}
