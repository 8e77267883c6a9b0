//! The gateways' certificate is renewed, taken away, or was made by a clock that is wrong, while nsdebug is used:
//! nobody lends a hand, and who has to believe the new one does.

use std::time::Duration;

use harness::{Cluster, RELEASE, until};
use rcgen::{CertificateParams, KeyPair};
use time::OffsetDateTime;

use crate::stage::{GATEWAYS, GRACE, Lasting, SOON, installed, pods, serves, session};

const SECRET: [&str; 3] = ["-n", RELEASE, "secret/nsdebug-gateway-tls"];
const AGENTS_CA: [&str; 3] = ["-n", RELEASE, "configmap/nsdebug-gateway-ca"];
const API_SERVICE: [&str; 1] = ["apiservice/v1alpha1.nsdebug.dev"];
/// Ten minutes. Agents are told of a successor for a twelfth of it before it is shown.
const SHORT: &str = "certificate.lifetimeSeconds=600";
/// That twelfth, and as long as it may take until everybody has looked again.
const RENEWED: Duration = Duration::from_secs(50 + 60);
/// More sessions than agents keep idle connections: some need one that was dialled meanwhile.
const MANY: usize = 12;

/// A field of an object, as a Go template finds it.
fn field(cluster: &Cluster, object: &[&str], template: &str) -> String {
    let template = format!("go-template={template}");
    let get = [&["get"], object, &["--ignore-not-found", "-o", &template]].concat();
    cluster.kubectl(&get).expect_success().out()
}

/// What is stored: a certificate, and who signed it.
fn stored(cluster: &Cluster) -> [String; 2] {
    ["tls.crt", "ca.crt"].map(|key| {
        field(
            cluster,
            &SECRET,
            &format!("{{{{with .data}}}}{{{{index . \"{key}\" | base64decode}}}}{{{{end}}}}"),
        )
    })
}

/// Fails unless the API server and agents are told to trust the CA that signed what is stored.
fn assert_published(cluster: &Cluster) {
    let [_, authority] = stored(cluster);
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"), "{authority}");
    let bundles = [
        field(cluster, &API_SERVICE, "{{.spec.caBundle | base64decode}}"),
        field(cluster, &AGENTS_CA, "{{index .data \"ca.crt\"}}"),
    ];
    for bundle in bundles {
        assert!(bundle.contains(authority.trim_end()), "{bundle}");
    }
}

/// Whether all gateways show a certificate that ends as `wanted`, in seconds since 1970.
fn all_show(cluster: &Cluster, wanted: impl Fn(i64) -> bool) -> bool {
    let pods = pods(cluster, "gateway");
    let ends = pods.iter().filter_map(|pod| {
        let pod = pod.trim_start_matches("pod/");
        let path = format!("/api/v1/namespaces/{RELEASE}/pods/{pod}:8080/proxy/metrics");
        // One that is being replaced does not answer.
        let page = cluster.kubectl(&["get", "--raw", &path]).out();
        let mut values = page.lines().filter(|line| !line.starts_with('#'));
        let line = values.find(|line| line.contains("_certificate_not_after_seconds "));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
    });
    let ends: Vec<i64> = ends.collect();
    ends.len() == pods.len() && ends.into_iter().all(wanted)
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Store a certificate that is valid in an hour, for all names that a gateway wants it to be for.
fn store_one_of_a_clock_ahead(cluster: &Cluster) {
    let names = ["nsdebug-gateway", "nsdebug-gateway-agents"].into_iter().flat_map(|service| {
        ["", ".svc", ".svc.cluster.local"].map(|end| format!("{service}.{RELEASE}{end}"))
    });
    let mut params = CertificateParams::new(names.collect::<Vec<_>>()).expect("names");
    params.not_before = OffsetDateTime::now_utc() + time::Duration::hours(1);
    params.not_after = params.not_before + time::Duration::days(90);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let data =
        [("tls.crt", &certificate), ("ca.crt", &certificate), ("tls.key", &key.serialize_pem())];
    let data: serde_json::Map<_, _> =
        data.into_iter().map(|(name, text)| (name.to_owned(), text.clone().into())).collect();
    let patch = serde_json::json!({ "stringData": data }).to_string();
    cluster
        .kubectl(&[&["patch"], &SECRET[..], &["--type=merge", "--patch", &patch]].concat())
        .expect_success();
    assert_eq!(stored(cluster)[0], certificate);
}

#[test]
fn a_certificate_is_renewed_under_sessions_and_none_is_refused() {
    let Some(cluster) = installed() else { return };
    let before = stored(&cluster);
    // What is stored outlasts this by far.
    cluster.install(&[&GRACE[..], &[SHORT]].concat());
    let session_before = Lasting::start(&cluster);
    assert_eq!(stored(&cluster), before, "a successor is announced first");
    until("a successor", RENEWED, || {
        session(&cluster).expect_success();
        all_show(&cluster, |ends| ends <= now() + 600)
    });
    for _ in 0..MANY {
        session(&cluster).expect_success();
    }
    assert_published(&cluster);
    session_before.assert_goes_on();
}

#[test]
fn a_secret_that_is_emptied_is_filled_again_and_believed() {
    let Some(cluster) = installed() else { return };
    let session_before = Lasting::start(&cluster);
    let (before, emptied) = (stored(&cluster), now());
    // As the chart's README says.
    let empty = ["--type=merge", "--patch={\"data\":null}"];
    cluster.kubectl(&[&["patch"], &SECRET[..], &empty].concat()).expect_success();
    let lifetime = 90 * 24 * 3600;
    until("another certificate", SOON, || all_show(&cluster, |ends| ends >= emptied + lifetime));
    assert_ne!(stored(&cluster), before);
    until("agents that believe it", SOON, || (0..MANY).all(|_| session(&cluster).status.success()));
    assert_published(&cluster);
    session_before.assert_goes_on();
}

#[test]
fn a_certificate_of_a_clock_that_is_ahead_is_replaced() {
    let Some(cluster) = installed() else { return };
    store_one_of_a_clock_ahead(&cluster);
    let planted = stored(&cluster);
    cluster.kubectl(&[&["rollout", "restart"], &GATEWAYS[..]].concat()).expect_success();
    let status = ["rollout", "status", "--timeout=120s"];
    cluster.kubectl(&[&status[..], &GATEWAYS].concat()).expect_success();
    assert_ne!(stored(&cluster), planted);
    until("agents that believe it", SOON, || (0..MANY).all(|_| session(&cluster).status.success()));
    assert_published(&cluster);
    serves(&cluster);
}
