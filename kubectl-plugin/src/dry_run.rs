//! What a server's answer to a dry run comes to, whichever way it was asked.
//!
//! Servers that know dry runs mark their answers. What stands before them does not, and refuses a dry run as
//! it would the session; a server that is too old for them refuses that it is no websocket.

use hyper::{HeaderMap, StatusCode};
use wire::dry_run::{ALL, DRY_RUN};
use wire::{DryRun, Status};

/// See the module.
#[derive(Debug)]
pub(crate) enum Answer {
    Fit(Box<DryRun>),
    /// As the session would be refused; in which words is in the answer.
    Refused,
    /// It cannot be said what would become of a session, and why.
    Unknown(String),
}

pub(crate) fn read(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    let is_marked = headers.get(DRY_RUN).is_some_and(|value| value == ALL);
    let said = || {
        let status = serde_json::from_slice::<Status>(body);
        status.map(|status| status.message).unwrap_or_default()
    };
    match (code, is_marked) {
        (StatusCode::OK, true) => match serde_json::from_slice(body) {
            Ok(dry_run) => Answer::Fit(Box::new(dry_run)),
            Err(error) => Answer::Unknown(format!("the answer cannot be read: {error}")),
        },
        (StatusCode::NOT_IMPLEMENTED, true) => Answer::Unknown(said()),
        (StatusCode::OK | StatusCode::BAD_REQUEST, false) => {
            let said = Some(said()).filter(|said| !said.is_empty());
            let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
            Answer::Unknown(format!(
                "the gateway or the agent is too old for dry runs, so this session cannot be checked{said}"
            ))
        }
        _ => Answer::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use wire::dry_run::Entered;

    fn answer(code: u16, is_marked: bool, body: &[u8]) -> Answer {
        let mut headers = HeaderMap::new();
        if is_marked {
            headers.insert(DRY_RUN, HeaderValue::from_static(ALL));
        }
        read(StatusCode::from_u16(code).expect("a code"), &headers, body)
    }

    fn status(code: u16, message: &str) -> Vec<u8> {
        Status::refusal(code, "Reason", message).to_json()
    }

    #[test]
    fn only_a_marked_answer_says_that_a_session_would_work() {
        let body = DryRun::new(Entered::Node).to_json();
        assert!(matches!(answer(200, true, &body), Answer::Fit(_)));
        assert!(matches!(answer(200, true, b"{}"), Answer::Unknown(_)));
        assert!(matches!(answer(200, false, &body), Answer::Unknown(_)));
    }

    #[test]
    fn what_is_refused_before_or_by_who_knows_dry_runs_is_the_session_s_refusal() {
        for (code, is_marked) in
            [(400, true), (403, true), (403, false), (404, false), (503, false)]
        {
            let answer = answer(code, is_marked, &status(code, "no"));
            assert!(matches!(answer, Answer::Refused), "{code} {is_marked}: {answer:?}");
        }
    }

    #[test]
    fn who_is_too_old_to_know_says_nothing_of_a_session() {
        for (code, is_marked) in [(400, false), (501, true)] {
            let Answer::Unknown(why) = answer(code, is_marked, &status(code, "older")) else {
                panic!("{code}");
            };
            assert!(why.contains("older"), "{why}");
        }
    }
}
