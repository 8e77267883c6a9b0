//! Who may speak at all, and in which words: nothing of it may depend on anything further in.

use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::ClientConfig;
use serde_json::json;

use crate::authority::{Authority, PROXY, Validity, nobody};
use crate::rig::{AUTHENTICATION, EXEC, Rig, dry_run, get_document, published, upgrade};

const FORGED: &str = "x-remote-extra-x: y\r\nx-remote-group: system:masters\r\n";

async fn gets_in(rig: &Rig, client: Arc<ClientConfig>) -> bool {
    let answer = rig.say(client, &upgrade(EXEC, FORGED)).await.unwrap_or_default();
    assert!(answer.is_empty() || !answer.contains(" 403 "), "it was considered: {answer}");
    !(answer.is_empty() || answer.starts_with("HTTP/1.1 401 "))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_front_proxy_is_heard() {
    let rig = Rig::start().await;
    let (ours, other) = (&rig.authority, Authority::new());
    let strangers = [
        ("no certificate", nobody()),
        ("another CA", other.client(PROXY, Some(ClientAuth), Validity::Now)),
        ("another name", ours.client("kubernetes-admin", Some(ClientAuth), Validity::Now)),
        ("an expired one", ours.client(PROXY, Some(ClientAuth), Validity::Past)),
        ("one for servers", ours.client(PROXY, Some(ServerAuth), Validity::Now)),
        ("one for nothing", ours.client(PROXY, None, Validity::Now)),
    ];
    for (what, client) in strangers {
        assert!(!gets_in(&rig, client).await, "{what}");
    }
    assert!(rig.api.world().asked.is_empty(), "and nobody was asked about them");
    assert!(gets_in(&rig, ours.front_proxy()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_is_published_nobody_is_heard() {
    let rig = Rig::start().await;
    let mut spoilt = published(&rig.authority);
    spoilt["data"]["requestheader-allowed-names"] = json!("[]");
    for broken in [Some(spoilt), None] {
        match broken {
            Some(object) => rig.api.put(AUTHENTICATION, object),
            None => drop(rig.api.world().objects.remove(AUTHENTICATION)),
        }
        let client = rig.authority.front_proxy();
        rig.until("the gateway is not ready", async || {
            rig.health("/readyz").await.starts_with("HTTP/1.1 503 ")
        })
        .await;
        assert!(!gets_in(&rig, client).await);
        rig.api.put(AUTHENTICATION, published(&rig.authority));
        rig.until("the gateway is ready", async || {
            rig.health("/readyz").await.starts_with("HTTP/1.1 200 ")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_user() {
    let rig = Rig::start().await;
    for (what, more) in [
        ("two users", "X-Remote-User: system:admin\r\n"),
        ("nobody known", "x-remote-group: system:unauthenticated\r\n"),
    ] {
        let answer = rig.ask(&upgrade(EXEC, more)).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{what}: {answer}");
    }
    let nobody =
        upgrade(EXEC, "X_Remote_User: system:admin\r\n").replace("x-remote-user: alice\r\n", "");
    assert!(rig.ask(&nobody).await.starts_with("HTTP/1.1 401 "));
    assert!(rig.api.world().asked.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let rig = Rig::start().await;
    let good = upgrade(EXEC, "");
    let path = |path: &str| upgrade(path, "");
    let long = format!(
        "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/{}/exec?command=ps",
        "a".repeat(300)
    );
    let odd = [
        ("404", path("//apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec?command=ps")),
        ("404", path("/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api%2Fexec?command=ps")),
        (
            "404",
            path("/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/../pods/api/exec?command=ps"),
        ),
        ("404", path("/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec/x?command=ps")),
        ("404", path("/apis/nsdebug.dev/v1alpha1/watch/namespaces/shop/pods/api/exec?command=ps")),
        ("404", path("/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/API/exec?command=ps")),
        ("404", path(&long)),
        (
            "404",
            path("http://other/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec?command=ps"),
        ),
        ("404", path("/apis/nsdebug.dev/v1alpha1")),
        ("404", path("/apis")),
        ("400", get_document(EXEC, "x-remote-user: alice\r\n")),
        ("400", path(&format!("{EXEC}&dryRun=All"))),
        ("400", get_document(&format!("{EXEC}&dryRun=Some"), "x-remote-user: alice\r\n")),
        ("400", dry_run(EXEC, "origin: https://evil.example\r\n")),
        ("405", good.replacen("GET", "POST", 1)),
        ("400", good.replace("upgrade: websocket", "upgrade: spdy/3.1")),
        ("400", good.replace("version: 13", "version: 12")),
        ("400", good.replace("v5.channel", "v1.channel")),
        ("400", good.replace("HTTP/1.1", "HTTP/1.0")),
        ("400", upgrade(EXEC, "origin: https://evil.example\r\n")),
        ("400", upgrade(EXEC, "content-length: 5\r\n")),
        ("400", path(&format!("{EXEC}&colour=red"))),
        ("400", path(&format!("{EXEC}&tty=true&tty=false"))),
        ("400", path(&format!("{EXEC}&containerd-namespace=moby"))),
        ("400", path(&format!("{EXEC}&profile=genral"))),
        ("400", path("/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec")),
    ];
    for (code, head) in odd {
        // What is pipelined behind it must never be looked at.
        let answer = rig.ask(&format!("{head}{head}")).await;
        assert!(answer.contains(&format!(" {code} ")), "{head}: {answer}");

        assert!(answer.contains("\"kind\":\"Status\""), "{head}: {answer}");
        assert_eq!(answer.matches("connection: close").count(), 1, "{head}: {answer}");
    }
    let world = rig.api.world();
    assert!(world.asked.is_empty() && world.pods_read == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_is_heard() {
    let rig = Rig::start_with(&["--allowed-origin=https://console.example"]).await;
    rig.api.world().denied.insert("create nsdebug.dev/pods/exec".to_owned());
    let answer = rig.ask(&upgrade(EXEC, "origin: https://console.example\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_many_groups_is_heard() {
    let rig = Rig::start().await;
    rig.api.world().denied.insert("create nsdebug.dev/pods/exec".to_owned());
    let answer = rig.ask(&upgrade(EXEC, &"x-remote-group: developers\r\n".repeat(500))).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}
