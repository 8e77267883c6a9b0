//! Discovery is there, whatever else is not: a gap blocks the deletion of every namespace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apiserver::Reviews;
use crate::rig::{Rig, get_document};

const PATHS: [&str; 5] = [
    "/apis",
    "/apis/nsdebug.dev",
    "/apis/nsdebug.dev/v1alpha1",
    "/openapi/v3",
    "/openapi/v3/apis/nsdebug.dev/v1alpha1",
];

#[tokio::test(flavor = "multi_thread")]
async fn without_agents_and_reviews_every_document_is_there() {
    let rig = Rig::start().await;
    rig.api.world().reviews = Reviews::Failing;
    for path in PATHS {
        for more in ["", "x-remote-user: system:kube-aggregator\r\n", "accept: text/html\r\n"] {
            let answer = rig.ask(&get_document(path, more)).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
    }
    let openapi = rig.ask(&get_document(PATHS[4], "")).await;
    // All crates of the workspace have one version.
    let version = concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(openapi.contains(version), "the gateway's version: {openapi}");
    let missing = rig.ask(&get_document("/openapi/v2", "x-remote-user: a\r\n")).await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_without_one_failed_probe() {
    let rig = Arc::new(Rig::start_with(&["--certificate-lifetime=36"]).await);
    let before = rig.metric("certificate_not_after_seconds").await;
    let done = Arc::new(AtomicBool::new(false));
    let probing = tokio::spawn({
        let (rig, done) = (Arc::clone(&rig), Arc::clone(&done));
        async move {
            let mut probes = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = rig.ask(&get_document(PATHS[2], "")).await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                probes += 1;
            }
            probes
        }
    });
    rig.until("a new certificate is shown", async || {
        rig.metric("certificate_not_after_seconds").await > before
    })
    .await;
    done.store(true, Ordering::Relaxed);
    assert!(probing.await.expect("no failed probe") > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_leaves_says_so_and_answers_on() {
    let rig = Rig::start_with(&["--leave=3"]).await;
    let crate::rig::Rig { gateway, addresses, authority, .. } = rig;
    let leaving = tokio::spawn(gateway.stop(std::future::pending()));
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let client = authority.front_proxy();
    crate::rig::dial(addresses.api, client).await.expect("it still answers");
    leaving.await.expect("an orderly end");
    let gone = crate::rig::dial(addresses.api, authority.front_proxy()).await;
    assert!(gone.is_err());
}
