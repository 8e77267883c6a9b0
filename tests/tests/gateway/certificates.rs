//! Certificates that gateways make themselves: one for all replicas, believed by whom it concerns.

use gateway::serve::Gateway;

use crate::rig::{API_SERVICE, CA_MAP, Rig, get_plain};

const SECRET: &str = "api/v1/namespaces/nsdebug/secrets/nsdebug-gateway-tls";

#[tokio::test(flavor = "multi_thread")]
async fn the_ca_is_where_the_api_server_and_agents_look_for_it() {
    let rig = Rig::start().await;
    let world = rig.api.world();
    let service = &world.objects[API_SERVICE]["spec"];
    assert!(service["insecureSkipTLSVerify"].is_null(), "{service}");
    let bundle = world.objects[CA_MAP]["data"]["ca.crt"].as_str().expect("a bundle");
    assert!(bundle.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(service["caBundle"].as_str().is_some_and(|encoded| encoded.len() > bundle.len()));
    let kept: Vec<_> = world.objects[SECRET]["data"].as_object().expect("data").keys().collect();
    assert_eq!(kept, ["ca.crt", "tls.crt", "tls.key"], "and no key of a CA");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_replica_shows_the_same_certificate() {
    let rig = Rig::start().await;
    let first = rig.api.world().objects[SECRET].clone();
    let second = Gateway::start_with(crate::rig::config(&[]), rig.api.client()).await;
    let second = second.expect("a gateway");
    let other = second.addresses().health;
    let ready = async || get_plain(other, "/readyz").await.starts_with("HTTP/1.1 200 ");
    rig.until("the second is ready", ready).await;
    assert_eq!(rig.api.world().objects[SECRET], first);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_start_at_once_agree() {
    let api = crate::apiserver::ApiServer::start().await;
    let starts = (0..4).map(|_| Gateway::start_with(crate::rig::config(&[]), api.client()));
    let mut gateways = Vec::new();
    for start in starts {
        gateways.push(start.await.expect("a gateway"));
    }
    let settled = async {
        let mut before = None;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
            let now = api.world().objects.get(SECRET).cloned();
            if now.is_some() && now == before {
                return;
            }
            before = now;
        }
    };
    tokio::time::timeout(crate::rig::LIMIT, settled).await.expect("they agree");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_is_shown_and_a_bad_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let write = |year: i32| {
        let names = ["nsdebug-gateway.nsdebug.svc".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("a name");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(at("tls.key"), key.serialize_pem()).expect("a file");
        std::fs::write(at("tls.crt"), certificate.pem()).expect("a file");
    };
    write(2100);
    let flags = ["crt", "key"].map(|end| at(&format!("tls.{end}")).display().to_string());
    let flags = [format!("--tls-cert={}", flags[0]), format!("--tls-key={}", flags[1])];
    let rig = Rig::start_with(&[&flags[0], &flags[1]]).await;
    let before = rig.metric("certificate_not_after_seconds").await;
    assert!(!rig.api.world().objects.contains_key(SECRET), "nothing is made");
    std::fs::write(at("tls.crt"), "-----BEGIN").expect("a file");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(rig.metric("certificate_not_after_seconds").await, before);
    write(2101);
    let replaced = async || rig.metric("certificate_not_after_seconds").await > before;
    rig.until("the new one is shown", replaced).await;
}
