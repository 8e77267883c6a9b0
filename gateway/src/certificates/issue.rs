//! A CA that signs one certificate and is forgotten: there is no CA key to keep, or to steal.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// How far a clock may be behind ours.
pub(super) const BACKDATED: Duration = Duration::hours(2);

/// A certificate, its key, and the CA that signed it; PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) authority: String,
    pub(super) chain: String,
    pub(super) key: String,
}

/// Never the key.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Makes a certificate for a server of all of `names`.
pub(super) fn issue(
    names: &[String],
    now: OffsetDateTime,
    lifetime: Duration,
) -> Result<Pair, rcgen::Error> {
    let issuer = authority(now, lifetime)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named(names.first().map_or("nsdebug-gateway", String::as_str));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (now - BACKDATED, now + lifetime);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { authority: issuer.pem(), chain: certificate.pem(), key: key.serialize_pem() })
}

fn authority(
    now: OffsetDateTime,
    lifetime: Duration,
) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    // Of a name of its own, or the two of a changeover would be taken for each other.
    params.distinguished_name = named(&format!("nsdebug-gateway {}", now.unix_timestamp_nanos()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = (now - BACKDATED, now + lifetime);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn named(name: &str) -> DistinguishedName {
    /// Longer common names are not valid in X.509.
    const LONGEST: usize = 64;
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name.chars().take(LONGEST).collect::<String>());
    names
}
