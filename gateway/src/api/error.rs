//! Refusals: an HTTP code, a Kubernetes reason and a text, as the body every client understands.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use daemon::audit::AuditError;
use wire::{Status, StatusReason, chain};

use crate::access::AccessError;
use crate::agents::AgentError;
use crate::identity::CallerError;
use crate::quotas::Full;
use crate::target::TargetError;
use crate::turns::Busy;

/// Seconds after which to try again what may then work: an API server restarts in about that time.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    reason: StatusReason,
    message: String,
    pod_not_begun: bool,
}

impl Refusal {
    pub(crate) fn new(reason: StatusReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), pod_not_begun: false }
    }

    pub(crate) fn reason(&self) -> StatusReason {
        self.reason
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The answer, after which the connection ends: who asked for another protocol and did not get it
    /// may go on in any (CVE-2018-1002105).
    pub(crate) fn into_response(self) -> Response<Body> {
        let Self { reason, message, pod_not_begun } = self;
        let status = Status::refusal(reason.code(), reason.as_str(), message);
        let status = if pod_not_begun { status.of_pod_not_begun() } else { status };
        let mut response = Response::new(Body::from(status.to_json()));
        *response.status_mut() = code_of(reason);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let StatusReason::TooManyRequests | StatusReason::ServiceUnavailable = reason {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

fn code_of(reason: StatusReason) -> StatusCode {
    // Each is a code of HTTP.
    StatusCode::from_u16(reason.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<CallerError> for Refusal {
    fn from(error: CallerError) -> Self {
        Self::new(StatusReason::Unauthorized, chain(&error))
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let reason = match &error {
            AccessError::Denied { .. } => StatusReason::Forbidden,
            AccessError::Unknown { .. } => StatusReason::ServiceUnavailable,
        };
        Self::new(reason, chain(&error))
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        let reason = match &error {
            TargetError::NoSuchContainer { .. } => StatusReason::NotFound,
            TargetError::Unscheduled | TargetError::Over { .. } => StatusReason::Conflict,
            TargetError::Incomplete | TargetError::Name(_) => StatusReason::InternalError,
        };
        let pod_not_begun = matches!(error, TargetError::Unscheduled);
        Self { pod_not_begun, ..Self::new(reason, chain(&error)) }
    }
}

impl From<Busy> for Refusal {
    fn from(error: Busy) -> Self {
        Self::new(StatusReason::TooManyRequests, chain(&error))
    }
}

impl From<Full> for Refusal {
    fn from(error: Full) -> Self {
        Self::new(StatusReason::TooManyRequests, chain(&error))
    }
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Self {
        let reason = match &error {
            AgentError::Absent { .. } | AgentError::Lost { .. } => StatusReason::ServiceUnavailable,
            AgentError::Silent { .. } => StatusReason::Timeout,
            AgentError::Older { .. } => StatusReason::NotImplemented,
            AgentError::Foreign { .. } => StatusReason::InternalError,
        };
        Self::new(reason, chain(&error))
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        Self::new(StatusReason::ServiceUnavailable, chain(&error))
    }
}
