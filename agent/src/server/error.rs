//! Refusals: an HTTP code, a Kubernetes reason and a text, as the body every client understands.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wire::{BadRequest, Status, StatusReason, chain};

use crate::runtime::{LocateError, Unreachable};
use crate::slots::Full;

/// Seconds after which to try again where there is no room: sessions are people's, who take minutes,
/// and their scripts', which take seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: StatusReason,
    message: String,
    hint: Option<String>,
    exit_code: Option<u8>,
    pod_not_begun: bool,
}

impl Refusal {
    #[must_use]
    pub fn new(reason: StatusReason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message, hint: None, exit_code: None, pod_not_begun: false }
    }

    /// The same, with what the user can do.
    #[must_use]
    pub fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// The same, with the exit code that a shell would have used: 126 or 127.
    #[must_use]
    pub fn with_exit_code(self, code: u8) -> Self {
        Self { exit_code: Some(code), ..self }
    }

    #[must_use]
    pub fn reason(&self) -> StatusReason {
        self.reason
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    #[must_use]
    pub fn to_status(&self) -> Status {
        let code = self.reason.code();
        let status = Status::refusal(code, self.reason.as_str(), self.message.clone());
        let status = if self.pod_not_begun { status.of_pod_not_begun() } else { status };
        let status = match &self.hint {
            Some(hint) => status.with_hint(hint),
            None => status,
        };
        match self.exit_code {
            Some(exit_code) => status.with_exit_code(exit_code),
            None => status,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let body = self.to_status().to_json();
        // Each reason has a code of HTTP.
        let code = StatusCode::from_u16(self.reason.code());
        let code = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, [(header::CONTENT_TYPE, json)], body).into_response();
        if self.reason == StatusReason::TooManyRequests {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response.extensions_mut().insert(self.reason); // counted by the router
        response
    }
}

impl From<LocateError> for Refusal {
    fn from(error: LocateError) -> Self {
        let reason = match &error {
            LocateError::NotFound { .. }
            | LocateError::NoSuchPod { .. }
            | LocateError::NoSuchContainerInPod { .. } => StatusReason::NotFound,
            LocateError::Ambiguous { .. }
            | LocateError::NotRunning { .. }
            | LocateError::NoSandbox { .. }
            | LocateError::Restarted { .. } => StatusReason::Conflict,
            LocateError::IsSandbox { .. } | LocateError::BadNamespace { .. } => {
                StatusReason::BadRequest
            }
            LocateError::OtherRuntime { .. } => StatusReason::Forbidden,
            LocateError::Unreachable { source: Unreachable::Silent { .. }, .. } => {
                StatusReason::Timeout
            }
            LocateError::Unreachable { .. } => StatusReason::ServiceUnavailable,
            LocateError::Answer { .. } => StatusReason::InternalError,
        };
        let pod_not_begun = matches!(error, LocateError::NoSandbox { .. });
        Self { pod_not_begun, ..Self::new(reason, chain(&error)) }
    }
}

impl From<BadRequest> for Refusal {
    fn from(error: BadRequest) -> Self {
        Self::new(StatusReason::BadRequest, chain(&error))
    }
}

impl From<Full> for Refusal {
    fn from(error: Full) -> Self {
        Self::new(StatusReason::TooManyRequests, chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_containerd_is_503_with_the_socket_and_what_to_do() {
        let source = Unreachable::Missing;
        let error = LocateError::Unreachable { socket: "/run/c.sock".into(), source };
        let status = Refusal::from(error).to_status();
        assert_eq!((status.code, status.reason.as_str()), (503, "ServiceUnavailable"));
        for word in ["/run/c.sock", "--containerd"] {
            assert!(status.message.contains(word), "{}", status.message);
        }
    }

    #[test]
    fn a_pod_without_a_sandbox_is_told_from_other_conflicts() {
        let none = LocateError::NoSandbox { pod: "shop/api".to_owned() };
        let status = Refusal::from(none).to_status();
        assert_eq!((status.code, status.is_of_pod_not_begun()), (409, true));
        assert!(!Refusal::new(StatusReason::Conflict, "another").to_status().is_of_pod_not_begun());
    }

    #[test]
    fn a_refusal_can_carry_the_exit_code_of_a_shell() {
        let status =
            Refusal::new(StatusReason::NotFound, "no `foo`").with_exit_code(127).to_status();
        assert_eq!((status.code, status.exit_code()), (404, Some(127)));
    }
}
