//! Whether our own credentials have expired: the API server only says that it does not know us.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kube::config::AuthInfo;
use secrecy::ExposeSecret;
use serde_json::Value;
use x509_parser::pem::Pem;

/// What has expired, for the person; None where nothing is known to have.
pub(super) fn of(user: &AuthInfo) -> Option<String> {
    let certificate = certificate_end(user).filter(|end| *end < SystemTime::now());
    let token = token_end(user).filter(|end| *end < SystemTime::now());
    let (what, end) = match (token, certificate) {
        (Some(end), _) => ("token", end),
        (None, Some(end)) => ("client certificate", end),
        (None, None) => return None,
    };
    let ago = SystemTime::now().duration_since(end).unwrap_or_default();
    Some(format!("the {what} expired {} ago: log in again", rough(ago)))
}

fn certificate_end(user: &AuthInfo) -> Option<SystemTime> {
    let pem = match &user.client_certificate_data {
        Some(data) => STANDARD.decode(data.trim()).ok()?,
        None => std::fs::read(user.client_certificate.as_ref()?).ok()?,
    };
    let first = Pem::iter_from_buffer(&pem).next()?.ok()?;
    let end = first.parse_x509().ok()?.validity().not_after.timestamp();
    seconds(u64::try_from(end).ok()?)
}

/// Of a token that is a JWT; any other is only known to who made it.
fn token_end(user: &AuthInfo) -> Option<SystemTime> {
    let token = match (&user.token, &user.token_file) {
        (Some(token), _) => token.expose_secret().to_owned(),
        (None, Some(file)) => std::fs::read_to_string(file).ok()?,
        (None, None) => return None,
    };
    let claims = token.trim().split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    seconds(claims["exp"].as_u64()?)
}

fn seconds(since_epoch: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(since_epoch))
}

/// In the largest unit that fits.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        86_400.. => (seconds / 86_400, "day"),
        3_600.. => (seconds / 3_600, "hour"),
        60.. => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn token(claims: &str) -> AuthInfo {
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        AuthInfo { token: Some(SecretString::from(token)), ..AuthInfo::default() }
    }

    #[test]
    fn an_expired_token_is_named() {
        let said = of(&token("{\"exp\": 1000}")).expect("it has expired");
        assert!(said.starts_with("the token expired ") && said.contains("days ago"), "{said}");
        for fresh in ["{\"exp\": 99999999999}", "{}", "no JSON"] {
            assert_eq!(of(&token(fresh)), None, "{fresh}");
        }
        let opaque = Some(SecretString::from("opaque".to_owned()));
        assert_eq!(of(&AuthInfo { token: opaque, ..AuthInfo::default() }), None);
    }

    #[test]
    fn an_expired_certificate_is_named() {
        let user = |until: i32| {
            let mut params = rcgen::CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            let pem = params.self_signed(&key).expect("a certificate").pem();
            let client_certificate_data = Some(STANDARD.encode(pem));
            AuthInfo { client_certificate_data, ..AuthInfo::default() }
        };
        let said = of(&user(2021)).expect("it has expired");
        assert!(said.starts_with("the client certificate expired "), "{said}");
        assert_eq!(of(&user(4000)), None);
    }

    #[test]
    fn a_time_is_said_in_its_largest_unit() {
        let said = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!(
            [said(1), said(59), said(60), said(7300), said(90_000)],
            ["1 second", "59 seconds", "1 minute", "2 hours", "1 day"]
        );
    }
}
