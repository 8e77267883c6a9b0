//! Everything that can end the program other than the tool's own end, with its exit code.

use crate::capture::CaptureError;
use crate::cli::UsageError;
use crate::connect::ConnectError;
use crate::kubernetes::error::ClusterError;
use crate::many::copy::CopyError;
use crate::many::files::FileError;
use crate::session::SessionError;

/// What a shell reports of a wrong command line.
const USAGE: u8 = 2;
/// nsdebug itself failed: a code that shells and tools do not use.
const OURS: u8 = 125;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("cannot start the event loop")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Connect(Box<ConnectError>),
    #[error(transparent)]
    Cluster(Box<ClusterError>),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        // The largest of them by far; the others should not be moved about in its size.
        Self::Connect(Box::new(error))
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

impl Failure {
    /// Its text has its own beginning, which is kubectl's.
    pub(crate) fn is_kubectl_s_own(&self) -> bool {
        matches!(self, Self::Cluster(error) if error.is_kubectl_s_own())
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Connect(error) => error.exit_code().unwrap_or(OURS),
            Self::Cluster(error) => error.exit_code().unwrap_or(OURS),
            Self::Capture(error) if error.is_of_usage() => USAGE,
            Self::Runtime(_)
            | Self::File(_)
            | Self::Copy(_)
            | Self::Session(_)
            | Self::Capture(_) => OURS,
        }
    }

    /// The exit code that an agent names for a tool that did not start.
    pub(crate) fn tool_s_exit_code(&self) -> Option<u8> {
        match self {
            Self::Cluster(error) => error.exit_code(),
            _ => None,
        }
    }

    /// Refused because its caller has too many sessions, some of which may be of the same command.
    pub(crate) fn is_for_too_many(&self) -> bool {
        matches!(self, Self::Cluster(error) if error.is_for_too_many())
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage(error) => error.hint().map(str::to_owned),
            Self::Connect(error) => error.hint(),
            Self::Cluster(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Capture(error) => error.hint().map(str::to_owned),
            Self::Runtime(_) | Self::File(_) | Self::Copy(_) => None,
        }
    }
}
