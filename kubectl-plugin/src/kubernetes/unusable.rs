//! What the library says of a kubeconfig and its files, in words of ours: what, which file, and each cause once.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use kube::Error as KubeError;
use kube::config::{KubeconfigError, LoadDataError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("cannot read the {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the {what} in the kubeconfig cannot be used")]
    Data { what: &'static str, source: Box<dyn Error + Send + Sync> },
    #[error("the configuration of the cluster cannot be used")]
    Other { source: Box<dyn Error + Send + Sync> },
}

impl Unusable {
    pub(super) fn new(error: KubeError) -> Self {
        let error = match error {
            KubeError::InferKubeconfig(error) => error,
            error => return Self::Other { source: Box::new(error) },
        };
        let (what, error) = match error {
            KubeconfigError::LoadCertificateAuthority(error) => ("certificate authority", error),
            KubeconfigError::LoadClientCertificate(error) => ("client certificate", error),
            KubeconfigError::LoadClientKey(error) => ("client key", error),
            error => return Self::Other { source: Box::new(error) },
        };
        match error {
            LoadDataError::ReadFile(source, path) => Self::File { what, path, source },
            LoadDataError::DecodeBase64(source) => Self::Data { what, source: Box::new(source) },
            error @ LoadDataError::NoBase64DataOrFile => {
                Self::Data { what, source: Box::new(error) }
            }
        }
    }
}

/// The cause of `error`, which is about a kubeconfig that the error round it names.
pub(super) fn cause(error: KubeconfigError) -> Box<dyn Error + Send + Sync> {
    match error {
        KubeconfigError::ReadConfig(source, _) => Box::new(source),
        error => Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named_once_with_the_cause_once() {
        let missing = || io::Error::from_raw_os_error(2);
        let path = || PathBuf::from("/no");
        let certificate =
            KubeconfigError::LoadClientCertificate(LoadDataError::ReadFile(missing(), path()));
        let error = Unusable::new(KubeError::InferKubeconfig(certificate));
        let expected =
            "cannot read the client certificate /no: No such file or directory (os error 2)";
        assert_eq!(wire::chain(&error), expected);
        let cause = cause(KubeconfigError::ReadConfig(missing(), path()));
        assert_eq!(cause.to_string(), "No such file or directory (os error 2)");
    }
}
