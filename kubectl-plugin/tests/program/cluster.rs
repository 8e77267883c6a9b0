//! Sessions through an API server: how few questions they take, as whom they are asked, and every way
//! in which they do not begin.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::api::{Answer, ApiServer, refusal};
use crate::scripted::{Left, left, program};

const API: &str = "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec";
const GROUP: &str = "/apis/nsdebug.dev";

fn with_session() -> ApiServer {
    let server = ApiServer::start();
    server.answer(API, Answer::Session(7));
    server
}

fn lines(server: &ApiServer) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.line).collect()
}

fn pods(items: &Value) -> Answer {
    Answer::Json(
        200,
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}),
    )
}

fn pod(name: &str, phase: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"nodeName": "n1", "containers": [{"name": "app"}]},
        "status": {"phase": phase},
    })
}

#[test]
fn a_pod_s_session_is_one_request() {
    let server = with_session();
    let left =
        server.run(&["pod/api", "--profile", "netadmin", "--reason", "a b", "--", "ps", "-ef"]);
    let query = "command=ps&command=-ef&stdout=true&stderr=true&profile=netadmin&reason=a%20b";
    assert_eq!((left.code, String::from_utf8_lossy(&left.stdout).as_ref()), (7, query));
    assert_eq!(left.stderr, "Defaulted container \"app\" out of: app, migrate (init)\n");
    assert_eq!(lines(&server), [format!("GET {API}?{query}")]);
    let headers = &server.asked()[0].headers;
    assert_eq!(headers["authorization"], "Bearer secret");
    let offered = "v5.channel.nsdebug.dev, v5.channel.k8s.io, v4.channel.k8s.io";
    assert_eq!(headers["sec-websocket-protocol"], offered);
}

#[test]
fn quiet_leaves_only_the_tool_s_words() {
    let server = with_session();
    assert_eq!(server.run(&["-q", "api", "--", "ps"]).stderr, "");
    server.answer(API, refusal(403, "Forbidden", "no"));
    server.answer(GROUP, Answer::Json(200, json!({"kind": "APIGroup"})));
    let refused = server.run(&["-q", "api", "--", "ps"]);
    assert_eq!(refused.stderr, "Error from server (Forbidden): no\n");
}

#[test]
fn a_node_s_session_is_asked_for_at_the_node() {
    let server = ApiServer::start();
    server.answer("/apis/nsdebug.dev/v1alpha1/nodes/n1/exec", Answer::Session(0));
    assert_eq!(server.run(&["node/n1", "--", "ps"]).code, 0);
    let left = server.run(&["node/n1", "-c", "app", "--", "ps"]);
    assert_eq!(left.code, 2);
    assert!(left.stderr.contains("--container needs a pod as the target"), "{}", left.stderr);
}

#[test]
fn what_has_pods_is_looked_up_over_the_same_connection() {
    let server = with_session();
    let selector = json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}});
    server.answer("/apis/apps/v1/namespaces/shop/deployments/web", Answer::Json(200, selector));
    let list = pods(&json!([pod("old", "Failed"), pod("api", "Running")]));
    server.answer("/api/v1/namespaces/shop/pods", list);
    let left = server.run(&["deploy/web", "--", "ps"]);
    assert_eq!(left.code, 7);
    assert!(left.stderr.starts_with("using pod/api\nDefaulted container"), "{}", left.stderr);
    let asked = lines(&server);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(asked[1], "GET /api/v1/namespaces/shop/pods?labelSelector=app%3Dweb");
    assert_eq!(server.connections(), 1);
    assert_eq!(server.run(&["-q", "deploy/web", "--", "ps"]).stderr, "");
    // Which pod it is counts most where it refuses.
    server.answer(API, refusal(409, "Conflict", "another session is there"));
    let said = server.run(&["deploy/web", "--", "ps"]).stderr;
    assert_eq!(said, "using pod/api\nError from server (Conflict): another session is there\n");
}

#[test]
fn a_target_without_pods_says_so() {
    let server = ApiServer::start();
    server.answer("/api/v1/namespaces/shop/pods", pods(&json!([])));
    let service = json!({"metadata": {"name": "web"}, "spec": {}});
    server.answer("/api/v1/namespaces/shop/services/web", Answer::Json(200, service));
    let said = |words: &[&str]| {
        let left = server.run(words);
        assert_eq!(left.code, 125);
        left.stderr
    };
    let none = said(&["-l", "app=web", "--", "ps"]);
    assert!(none.contains("no pod belongs to the labels `app=web`"), "{none}");
    let service = said(&["svc/web", "--", "ps"]);
    assert!(
        service.contains("invalid service 'web': Service is defined without a selector"),
        "{service}"
    );
}

#[test]
fn flags_of_kubectl_say_where_and_as_whom() {
    let server = with_session();
    let path = API.replace("/shop/", "/other/");
    server.answer(&path, Answer::Session(0));
    let words = ["-n", "other", "--as", "bob", "--as-group", "dev", "--as-group", "ops"];
    let more = ["--as-uid", "42", "--token", "mine", "api", "--", "ps"];
    assert_eq!(server.run(&[&words[..], &more].concat()).code, 0);
    let asked = server.asked().pop().expect("a request");
    assert!(asked.line.contains("/namespaces/other/"), "{}", asked.line);
    assert_eq!(asked.headers["authorization"], "Bearer mine");
    assert_eq!(asked.headers["impersonate-user"], "bob");
    assert_eq!(asked.headers["impersonate-group"], "ops"); // the last of two, in this map
    assert_eq!(asked.headers["impersonate-uid"], "42");
}

#[test]
fn the_server_alone_is_enough() {
    let server = with_session();
    let mut command = program();
    command.args([
        "--server",
        &format!("http://{}", server.address),
        "-n",
        "shop",
        "api",
        "--",
        "ps",
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(left(command.spawn().expect("the program")).code, 7);
    assert!(!server.asked()[0].headers.contains_key("authorization"));
}

#[test]
fn a_credential_program_is_run_once() {
    let server = with_session();
    let counted = server.directory.path().join("runs");
    let script = format!(
        "#!/bin/sh\necho run >> {}\n\
         echo '{{apiVersion: client.authentication.k8s.io/v1, status: {{token: made}}}}'\n",
        counted.display()
    );
    let program = server.directory.path().join("login");
    fs::write(&program, script).expect("a script");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, permissions).expect("a mode");
    server.write_kubeconfig(
        "exec: {command: ./login, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}",
    );
    let left = server.run(&["api", "--", "ps"]);
    assert_eq!(left.code, 7, "{}", left.stderr);
    assert_eq!(server.asked()[0].headers["authorization"], "Bearer made");
    assert_eq!(fs::read_to_string(counted).expect("it was run"), "run\n");
}

#[test]
fn a_proxy_carries_the_session() {
    let server = with_session();
    let proxy = ApiServer::start(); // it answers CONNECT like any other request: 404
    let text = fs::read_to_string(server.kubeconfig()).expect("a kubeconfig");
    let proxied = format!("proxy-url: 'http://{}', server:", proxy.address);
    fs::write(server.kubeconfig(), text.replace("server:", &proxied)).expect("a kubeconfig");
    let left = server.run(&["api", "--", "ps"]);
    assert_eq!(left.code, 125);
    assert!(left.stderr.starts_with("Unable to connect to the server"), "{}", left.stderr);
    assert_eq!(lines(&proxy), [format!("CONNECT {}", server.address)]);
    assert_eq!(server.connections(), 0);
}

fn refused(answer: Answer) -> Left {
    let server = ApiServer::start();
    server.answer(API, answer);
    server.answer(GROUP, Answer::Json(200, json!({"kind": "APIGroup"})));
    let left = server.run(&["api", "--", "ps"]);
    assert_eq!(server.asked().iter().filter(|asked| asked.line.contains("/exec")).count(), 1);
    left
}

#[test]
fn each_refusal_is_said_as_kubectl_says_it() {
    let cases = [
        (
            refusal(404, "NotFound", "pods \"api\" not found"),
            "Error from server (NotFound): pods \"api\" not found\n",
        ),
        (
            refusal(403, "Forbidden", "User \"alice\" cannot create resource \"pods/exec\""),
            "Error from server (Forbidden): User \"alice\" cannot create resource \"pods/exec\"\nhint: ",
        ),
        (
            refusal(401, "Unauthorized", "Unauthorized"),
            "error: You must be logged in to the server (Unauthorized)\n",
        ),
        (
            refusal(503, "ServiceUnavailable", "no agent of the node n1 is connected"),
            "Error from server (ServiceUnavailable): no agent of the node n1 is connected\n",
        ),
        (
            Answer::Text(503, "service unavailable\n"),
            "error: the gateways of nsdebug are not available: service unavailable\nhint: ",
        ),
        (
            Answer::Text(302, ""),
            "Error from server: 302 Found:\nhint: redirects are not followed\n",
        ),
    ];
    for (answer, said) in cases {
        let left = refused(answer);
        assert_eq!(left.code, 125, "{said}");
        assert!(left.stderr.starts_with(said), "{said}: {}", left.stderr);
    }
}

#[test]
fn a_tool_that_is_missing_keeps_its_exit_code() {
    let status = wire::Status::refusal(404, "NotFound", "no `ps` there").with_exit_code(127);
    let left = refused(Answer::Json(404, serde_json::from_slice(&status.to_json()).expect("JSON")));
    assert_eq!((left.code, left.stderr.as_str()), (127, "error: no `ps` there\n"));
}

#[test]
fn of_a_pod_that_no_node_has_begun_with_the_last_event_is_told_if_its_user_may_know() {
    let conflict = |status: wire::Status| {
        Answer::Json(409, serde_json::from_slice(&status.to_json()).expect("JSON"))
    };
    let event = |reason: &str, second: u8| {
        json!({"reason": reason, "message": "secret \"db\" not found", "involvedObject": {}, "metadata": {},
            "lastTimestamp": format!("2026-01-01T00:00:0{second}Z")})
    };
    let list = json!({"kind": "EventList", "apiVersion": "v1", "metadata": {},
        "items": [event("FailedMount", 2), event("Scheduled", 1)]});
    let without = wire::Status::refusal(409, "Conflict", "pod shop/api has no sandbox");
    let server = ApiServer::start();
    server.answer(API, conflict(without.clone().of_pod_not_begun()));
    let plain = "Error from server (Conflict): pod shop/api has no sandbox";
    let event_said = "; the last event of the pod: FailedMount: secret \"db\" not found";
    for (events, said) in [
        (Answer::Json(200, list.clone()), format!("{plain}{event_said}\n")),
        (refusal(403, "Forbidden", "no"), format!("{plain}\n")),
    ] {
        server.answer("/api/v1/namespaces/shop/events", events);
        let left = server.run(&["api", "--", "ps"]);
        assert_eq!((left.code, left.stderr), (125, said));
    }
    let asked = lines(&server);
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[1].ends_with("name%3Dapi"), "{asked:?}");
    // Any other conflict is no matter of events.
    server.answer(API, conflict(without));
    server.answer("/api/v1/namespaces/shop/events", Answer::Json(200, list));
    assert_eq!(server.run(&["api", "--", "ps"]).stderr, format!("{plain}\n"));
}

#[test]
fn a_cluster_without_nsdebug_is_called_so() {
    for answer in [
        Answer::Text(404, "404 page not found\n"),
        refusal(403, "Forbidden", "pods.nsdebug.dev \"api\" is forbidden"),
    ] {
        let server = ApiServer::start();
        server.answer(API, answer);
        let left = server.run(&["api", "--", "ps"]);
        assert_eq!(left.code, 125);
        assert!(
            left.stderr.starts_with("error: nsdebug is not installed in this cluster"),
            "{}",
            left.stderr
        );
    }
}

#[test]
fn nobody_at_the_address_is_said_as_kubectl_says_it() {
    let server = ApiServer::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let left = server.run(&["--server", &format!("http://{address}"), "api", "--", "ps"]);
    assert_eq!(left.code, 125);
    let said = format!(
        "The connection to the server {address} was refused - did you specify the right host or port?\n"
    );
    assert_eq!(left.stderr, said);
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let server = ApiServer::start();
    let url = format!("http://{address}");
    let run = |flag: &str| server.run(&["--server", &url, flag, "50ms", "api", "--", "ps"]);
    let left = run("--request-timeout");
    assert_eq!(left.code, 125);
    assert!(
        left.stderr.contains("no answer from") && left.stderr.contains("within 0.05 s"),
        "{}",
        left.stderr
    );
    let left = run("--timeout");
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("could not start within 50ms (--timeout)"), "{}", left.stderr);
}

#[test]
fn configurations_that_mean_nothing_say_so() {
    let server = ApiServer::start();
    let said = |words: &[&str]| {
        let left = server.run(&[words, &["api", "--", "ps"]].concat());
        (left.code, left.stderr)
    };
    let (code, text) = said(&["--context", "none"]);
    assert_eq!((code, text.as_str()), (125, "error: context \"none\" does not exist\n"));
    let (code, text) = said(&["--kubeconfig", "none.yaml"]);
    assert!(
        code == 125 && text.contains("cannot read the kubeconfig") && text.contains("none.yaml"),
        "{text}"
    );
    let broken = server.directory.path().join("broken.yaml");
    fs::write(&broken, "clusters: [").expect("a file");
    let broken = broken.display().to_string();
    let (code, text) = said(&["--kubeconfig", &broken]);
    let named = format!("error: cannot read the kubeconfig {broken}: ");
    assert!(code == 125 && text.starts_with(&named), "{text}");
    let (code, text) = said(&["--as-group", "dev"]);
    assert!(code == 2 && text.contains("give --as too"), "{text}");
    let (code, text) = said(&["--agent", "unix:/a", "--context", "it"]);
    assert!(code == 2 && text.contains("--context cannot be used with --agent"), "{text}");
}

/// A server that shows a certificate of its own making, and that certificate.
fn encrypted() -> (ApiServer, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let secret = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .expect("a certificate and its key");
    (ApiServer::start_with(Some(config)), certificate.pem())
}

#[test]
fn a_server_is_believed_by_its_certificate_or_not_at_all() {
    let (server, pem) = encrypted();
    server.answer(API, Answer::Session(7));
    let file = |name: &str, text: &str| {
        let path = server.directory.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (own, other) = (file("own.pem", &pem), file("other.pem", &encrypted().1));
    let url = format!("https://{}", server.address);
    let run = |flags: &[&str]| {
        let left = server.run(&[&["--server", url.as_str()], flags, &["api", "--", "ps"]].concat());
        (left.code, left.stderr)
    };
    assert_eq!(run(&["--certificate-authority", &own]).0, 7);
    assert_eq!(run(&["--insecure-skip-tls-verify"]).0, 7);
    let (code, text) = run(&["--certificate-authority", &other]);
    let said = "Unable to connect to the server: certificate signed by unknown authority\nhint: ";
    assert!(code == 125 && text.starts_with(said), "{text}");
    let (code, text) = run(&["--certificate-authority", &own, "--tls-server-name", "other"]);
    let said = "Unable to connect to the server: its certificate is for another name\nhint: ";
    assert!(code == 125 && text.starts_with(said), "{text}");
}
