//! What joins the records of all programs that a request passes, as a client or kube-apiserver chose it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// An ID that is short and can forge no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid Audit-ID: use 1 to {} letters, digits, dots, dashes and underscores",
    AuditId::LONGEST
)]
pub struct BadAuditId;

impl AuditId {
    /// As Kubernetes cuts its own.
    const LONGEST: usize = 64;

    /// What a gateway calls a request that has none, by a number that it has drawn.
    #[must_use]
    pub fn of_gateway(number: u128) -> Self {
        Self(format!("gateway-{number:032x}"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AuditId {
    type Err = BadAuditId;

    fn from_str(text: &str) -> Result<Self, BadAuditId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let fits = (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(BadAuditId) }
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_id_is_short_and_plain() {
        assert!("5f6e-4.a_b".parse::<AuditId>().is_ok());
        let own = AuditId::of_gateway(u128::MAX);
        assert_eq!(own.as_str().parse(), Ok(own));
        for bad in ["", "a b", "a\u{1b}", "a\"b", "a/b", &"a".repeat(65)] {
            assert_eq!(bad.parse::<AuditId>(), Err(BadAuditId), "{bad:?}");
        }
    }
}
