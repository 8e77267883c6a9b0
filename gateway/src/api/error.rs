//! Refusals: an HTTP code, a Kubernetes reason and a text, as the body every client understands.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use daemon::audit::AuditError;
use wire::Status;
use wire::chain;

use crate::access::AccessError;
use crate::agents::AgentError;
use crate::identity::CallerError;
use crate::quotas::Full;
use crate::target::TargetError;
use crate::turns::Busy;

/// Reasons that `metav1.Status` knows, as far as they are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

/// Seconds after which to try again what may then work: an API server restarts in about that time.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    reason: Reason,
    message: String,
    pod_not_begun: bool,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::Conflict => "Conflict",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }

    /// The one that is nearest to a foreign code.
    pub(crate) fn of(code: StatusCode) -> Self {
        let all = [
            Self::BadRequest,
            Self::Unauthorized,
            Self::Forbidden,
            Self::NotFound,
            Self::MethodNotAllowed,
            Self::Conflict,
            Self::TooManyRequests,
            Self::ServiceUnavailable,
            Self::Timeout,
        ];
        all.into_iter().find(|reason| reason.code() == code).unwrap_or(Self::InternalError)
    }

    pub(crate) fn code(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), pod_not_begun: false }
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The answer, after which the connection ends: who asked for another protocol and did not get it
    /// may go on in any (CVE-2018-1002105).
    pub(crate) fn into_response(self) -> Response<Body> {
        let Self { reason, message, pod_not_begun } = self;
        let code = reason.code();
        let status = Status::refusal(code.as_u16(), reason.as_str(), message);
        let status = if pod_not_begun { status.of_pod_not_begun() } else { status };
        let mut response = Response::new(Body::from(status.to_json()));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Reason::TooManyRequests | Reason::ServiceUnavailable = reason {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl From<CallerError> for Refusal {
    fn from(error: CallerError) -> Self {
        Self::new(Reason::Unauthorized, chain(&error))
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let reason = match &error {
            AccessError::Denied { .. } => Reason::Forbidden,
            AccessError::Unknown { .. } => Reason::ServiceUnavailable,
        };
        Self::new(reason, chain(&error))
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        let reason = match &error {
            TargetError::NoSuchContainer { .. } => Reason::NotFound,
            TargetError::Unscheduled | TargetError::Over { .. } => Reason::Conflict,
            TargetError::Incomplete | TargetError::Name(_) => Reason::InternalError,
        };
        let pod_not_begun = matches!(error, TargetError::Unscheduled);
        Self { pod_not_begun, ..Self::new(reason, chain(&error)) }
    }
}

impl From<Busy> for Refusal {
    fn from(error: Busy) -> Self {
        Self::new(Reason::TooManyRequests, chain(&error))
    }
}

impl From<Full> for Refusal {
    fn from(error: Full) -> Self {
        Self::new(Reason::TooManyRequests, chain(&error))
    }
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Self {
        let reason = match &error {
            AgentError::Absent { .. } | AgentError::Lost { .. } => Reason::ServiceUnavailable,
            AgentError::Silent { .. } => Reason::Timeout,
            AgentError::Foreign { .. } => Reason::InternalError,
        };
        Self::new(reason, chain(&error))
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        Self::new(Reason::ServiceUnavailable, chain(&error))
    }
}
