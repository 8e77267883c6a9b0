//! What can go wrong between us and the API server, in kubectl's words where it has some.

use hyper::StatusCode;
use kube::Error as KubeError;
use rustls::CertificateError;
use std::error::Error;
use std::io;
use std::time::Duration;
use tower::BoxError;
use wire::{Status, StatusKind, TimeSpan};

use super::config::ConfigError;
use super::unusable::Unusable;
use crate::connect::tls;
use crate::connect::upgrade::UpgradeError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    SetUp(#[from] Unusable),
    #[error(
        "The connection to the server {server} was refused - did you specify the right host or port?"
    )]
    Refused { server: String },
    #[error("Unable to connect to the server: {why}")]
    Certificate { why: &'static str, hint: &'static str },
    #[error("Unable to connect to the server: no answer from {server} within {} s", limit.as_secs_f32())]
    Silent { server: String, limit: Duration },
    #[error("Unable to connect to the server")]
    Unreachable(#[source] BoxError),
    #[error("error: You must be logged in to the server ({message})")]
    Unauthorized { message: String, expired: Option<String> },
    /// The tool's own trouble, told by the agent: its exit code comes with it.
    #[error("{}", .0.message)]
    Tool(Box<Status>),
    #[error("Error from server{}: {}", reason(.0), .0.message)]
    Status(Box<Status>),
    /// Of a pod that no node has begun with.
    #[error("Error from server{}: {}; the last event of the pod: {event}", reason(.status), .status.message)]
    NotBegun { status: Box<Status>, event: String },
    #[error("nsdebug is not installed in this cluster: it serves no API group `nsdebug.dev`")]
    NotInstalled,
    #[error("the gateways of nsdebug are not available: {words}")]
    GatewaysDown { words: String },
    #[error("Error from server: {code}: {words}")]
    Foreign { code: StatusCode, words: String },
    #[error("the API server's answer cannot be read")]
    Answer(#[source] BadAnswer),
    #[error("the session could not start within {} (--timeout)", TimeSpan::from(*limit))]
    TimedOut { limit: Duration },
    #[error("{0}")]
    Target(TargetError),
    #[error(transparent)]
    Upgrade(UpgradeError),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadAnswer {
    #[error("the answer is incomplete")]
    Read(#[source] Box<KubeError>),
    #[error("the answer is longer than {most} bytes")]
    TooLong { most: usize },
    #[error("the answer is not of the requested kind")]
    Json(#[from] serde_json::Error),
}

/// Why a target is no pod.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("no pod belongs to {what} in the namespace \"{namespace}\"")]
    NoPods { what: String, namespace: String },
    #[error("no pod of any namespace belongs to {what}")]
    NoPodsAtAll { what: String },
    #[error("invalid service '{name}': Service is defined without a selector")]
    ServiceWithoutSelector { name: String },
    #[error("{what} selects no pods")]
    NoSelector { what: String },
    #[error(
        "{what} has a selector with the operator `{operator}`, which is not supported: name a pod instead"
    )]
    Selector { what: String, operator: String },
    #[error("the kubeconfig's namespace `{given}` is not a valid name: give another with -n")]
    Namespace { given: String },
    #[error("the API server returned an invalid pod name")]
    Name,
}

fn reason(status: &Status) -> String {
    if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) }
}

impl ClusterError {
    /// The exit code that an agent names, or what a wrong command line has.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        const USAGE: u8 = 2;
        match self {
            Self::Tool(status) => status.exit_code().filter(|&code| code != 0),
            Self::Config(ConfigError::Nowhere | ConfigError::GroupWithoutUser) => Some(USAGE),
            _ => None,
        }
    }

    /// kubectl puts no `error:` before these.
    pub(crate) fn is_kubectl_s_own(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Certificate { .. }
                | Self::Silent { .. }
                | Self::Unreachable(_)
                | Self::Unauthorized { .. }
                | Self::Status(_)
                | Self::NotBegun { .. }
                | Self::Foreign { .. }
        )
    }

    pub(crate) fn is_not_found(&self) -> bool {
        match self {
            Self::Foreign { code, .. } => *code == StatusCode::NOT_FOUND,
            Self::Status(status) => status.code == StatusCode::NOT_FOUND.as_u16(),
            _ => false,
        }
    }

    pub(crate) fn is_for_too_many(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == StatusCode::TOO_MANY_REQUESTS.as_u16())
    }

    /// Of a request for the API itself, or for what registers it.
    pub(crate) fn not_installed_if_not_found(self) -> Self {
        if self.is_not_found() { Self::NotInstalled } else { self }
    }

    /// What agent or gateway say that the user can do.
    pub(crate) fn said_hint(&self) -> Option<&str> {
        match self {
            Self::Tool(status) | Self::Status(status) => status.hint(),
            _ => None,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Config(error) => return error.hint(),
            Self::Certificate { hint, .. } => hint,
            Self::Unauthorized { expired: Some(expired), .. } => return Some(expired.clone()),
            error if error.said_hint().is_some() => return error.said_hint().map(str::to_owned),
            Self::Status(status) if status.code == 403 => {
                "`kubectl nsdebug doctor` says which rights are missing"
            }
            Self::NotInstalled => {
                "check that this is the intended cluster (--context); if it is, ask its administrator to install nsdebug"
            }
            Self::GatewaysDown { .. } => "`kubectl nsdebug doctor` says more",
            Self::Foreign { code, .. } if code.is_redirection() => "redirects are not followed",
            Self::Foreign { .. } => "check that this is the address of a Kubernetes API server",
            Self::Upgrade(UpgradeError::NotAWebsocket | UpgradeError::NoProtocol) => {
                "a proxy between this machine and the cluster may block websockets"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// What a refusal's code and body mean. Who answered is seen in the body: nsdebug and Kubernetes
    /// speak in `Status`, what stands before a service that is not there does not.
    pub(super) fn from_answer(code: StatusCode, body: &[u8]) -> Self {
        if let Ok(status) = serde_json::from_slice::<Status>(body)
            && status.status == StatusKind::Failure
            && !status.message.is_empty()
        {
            return Self::from_status(status);
        }
        let text = String::from_utf8_lossy(body);
        let words = text.trim().lines().next().unwrap_or_default();
        let words: String = words.chars().take(LONGEST_WORDS).collect();
        match code {
            StatusCode::UNAUTHORIZED => {
                Self::Unauthorized { message: "Unauthorized".to_owned(), expired: None }
            }
            StatusCode::SERVICE_UNAVAILABLE => Self::GatewaysDown { words },
            code => Self::Foreign { code, words },
        }
    }

    fn from_status(status: Status) -> Self {
        if status.reason == "Unauthorized" || status.code == 401 {
            return Self::Unauthorized { message: status.message, expired: None };
        }
        if status.exit_code().is_some() {
            return Self::Tool(Box::new(status));
        }
        Self::Status(Box::new(status))
    }

    /// What it means that `server` could not be spoken to.
    pub(super) fn from_transport(server: &str, error: KubeError) -> Self {
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(it) = cause {
            if let Some(io) = it.downcast_ref::<io::Error>() {
                if let Some(library) = tls::library_error(io)
                    && let Some(certificate) = about_certificate(library)
                {
                    return certificate;
                }
                if io.kind() == io::ErrorKind::ConnectionRefused {
                    return Self::Refused { server: server.to_owned() };
                }
            }
            cause = it.source();
        }
        Self::Unreachable(match error {
            KubeError::Service(cause) => cause,
            error => Box::new(error),
        })
    }
}

/// Bytes of a foreign error page that are worth a line.
const LONGEST_WORDS: usize = 200;

fn about_certificate(error: &rustls::Error) -> Option<ClusterError> {
    let rustls::Error::InvalidCertificate(error) = error else { return None };
    let (why, hint) = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("its certificate has expired", "check the clock of this machine, and the certificate")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "its certificate is not valid yet",
            "check the clock of this machine, and the certificate",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "its certificate is for another name",
            "if the certificate's name is the one you expect, give that name with --tls-server-name",
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "certificate signed by unknown authority",
            "the CA in the kubeconfig is not this cluster's: correct certificate-authority-data, or give --certificate-authority",
        ),
        _ => return None,
    };
    Some(ClusterError::Certificate { why, hint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::chain;

    fn said(code: u16, body: &str) -> String {
        let code = StatusCode::from_u16(code).expect("a code");
        chain(&ClusterError::from_answer(code, body.as_bytes()))
    }

    #[test]
    fn a_status_is_printed_as_kubectl_prints_it() {
        let status = |reason: &str, message: &str, code: u16| {
            let status = Status::refusal(code, reason, message);
            said(code, std::str::from_utf8(&status.to_json()).expect("text"))
        };
        assert_eq!(
            status("NotFound", "pods \"x\" not found", 404),
            "Error from server (NotFound): pods \"x\" not found"
        );
        assert_eq!(status("", "odd", 500), "Error from server: odd");
        assert_eq!(
            status("Unauthorized", "Unauthorized", 401),
            "error: You must be logged in to the server (Unauthorized)"
        );
    }

    #[test]
    fn a_tool_that_is_not_there_is_the_tool_s_trouble() {
        let status = Status::refusal(404, "NotFound", "no `ps` in the toolbox").with_exit_code(127);
        let error = ClusterError::from_answer(StatusCode::NOT_FOUND, &status.to_json());
        assert_eq!(
            (error.exit_code(), chain(&error).as_str()),
            (Some(127), "no `ps` in the toolbox")
        );
    }

    #[test]
    fn what_stands_before_a_service_that_is_away_is_understood() {
        assert!(said(503, "service unavailable\n").contains("not available: service unavailable"));
        assert_eq!(said(418, "<html>"), "Error from server: 418 I'm a teapot: <html>");
        assert!(said(502, &"x".repeat(1000)).len() < 300);
    }
}
