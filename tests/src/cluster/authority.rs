//! The certificates of a cluster: one authority for its members and users, and another one for the aggregation
//! layer, so that no member can pass for the API server's proxy.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::layout::{API_SERVICE_ADDRESS, NODE_ADDRESS, NODE_NAME};

/// Longer than anybody leaves a cluster of this kind alone.
const LIFETIME: Duration = Duration::days(365);
/// Names of the API server within the cluster.
const API_NAMES: [&str; 8] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    API_SERVICE_ADDRESS,
    NODE_ADDRESS,
];
/// The client certificates: file, user, group.
pub(super) const MEMBERS: [(&str, &str, &str); 5] = [
    ("admin", "admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kubelet", "system:node:n1", "system:nodes"),
    ("proxy", "system:kube-proxy", ""),
];

/// An authority whose certificate and key are `NAME.pem` and `NAME.key` of a folder, as is what it issues.
struct Authority<'f> {
    folder: &'f Path,
    issuer: Issuer<'static, KeyPair>,
}

impl<'f> Authority<'f> {
    fn new(folder: &'f Path, name: &str) -> Self {
        let (params, key) = (authority_params(name), new_key());
        let certificate = params.self_signed(&key).expect("an authority signs itself");
        write(folder, name, &certificate.pem(), &key);
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// One that exists.
    fn open(folder: &'f Path, name: &str) -> Self {
        let pem = std::fs::read_to_string(folder.join(format!("{name}.key")));
        let key = KeyPair::from_pem(&pem.expect("the cluster has this authority"));
        Self { folder, issuer: Issuer::new(authority_params(name), key.expect("it is a key")) }
    }

    fn server(&self, file: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).expect("names and addresses");
        self.issue(file, params, file, ExtendedKeyUsagePurpose::ServerAuth);
    }

    fn client(&self, file: &str, user: &str, group: &str) {
        let mut params = CertificateParams::default();
        if !group.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        self.issue(file, params, user, ExtendedKeyUsagePurpose::ClientAuth);
    }

    fn issue(
        &self,
        file: &str,
        mut params: CertificateParams,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
    ) {
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        limit(&mut params);
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        write(self.folder, file, &certificate.pem(), &key);
    }
}

/// Make every certificate that a cluster starts with.
pub(super) fn make(folder: &Path) {
    let members = Authority::new(folder, "ca");
    members.server("apiserver", &API_NAMES);
    members.client("apiserver-kubelet-client", "kube-apiserver", "system:masters");
    members.server("kubelet-server", &[NODE_NAME, NODE_ADDRESS]);
    for (file, user, group) in MEMBERS {
        members.client(file, user, group);
    }
    Authority::new(folder, "front-proxy-ca").client("front-proxy-client", "front-proxy-client", "");
    let tokens = new_key();
    // A program that checks a token takes the public half only.
    write(folder, "service-accounts", &tokens.public_key_pem(), &tokens);
}

/// What the certificate and key of a user are called.
pub(super) fn files(user: &str) -> (String, String) {
    (format!("{user}.pem"), format!("{user}.key"))
}

/// Make `FILE.pem` and `FILE.key` for another user.
pub(super) fn make_user(folder: &Path, file: &str, user: &str, group: &str) {
    Authority::open(folder, "ca").client(file, user, group);
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("nsdebug tests {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params);
    params
}

fn limit(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(1), now + LIFETIME);
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn write(folder: &Path, name: &str, public: &str, key: &KeyPair) {
    let file = |ending: &str, pem: &str| {
        std::fs::write(folder.join(format!("{name}.{ending}")), pem)
            .expect("a file in an own folder");
    };
    file("pem", public);
    file("key", &key.serialize_pem());
}
