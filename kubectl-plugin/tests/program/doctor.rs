//! `doctor`, `version` and completion: what a person is told about a cluster before a session.

use serde_json::json;
use wire::Profile;
use wire::host::Reason;
use wire::rights::{ReviewPolicy, ReviewedTarget, Right};

use crate::api::{Answer, ApiServer, refusal};

const API_SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.nsdebug.dev";
const API: &str = "/apis/nsdebug.dev/v1alpha1";
const AGENTS: &str = "/api/v1/namespaces/debugging/pods";
const EXEC: &str = "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec";
const POD: &str = "/api/v1/namespaces/shop/pods/api";

/// A cluster in which everything works.
fn healthy() -> ApiServer {
    let server = ApiServer::start();
    server.answer("/version", Answer::Json(200, json!({"gitVersion": "v1.34.4"})));
    let available = json!([{"type": "Available", "status": "True"}]);
    let service = json!({"spec": {"service": {"namespace": "debugging"}}, "status": {"conditions": available}});
    server.answer(API_SERVICE, Answer::Json(200, service));
    server.answer("/apis/nsdebug.dev", Answer::Json(200, json!({})));
    server.answer(API, Answer::Gateway(env!("CARGO_PKG_VERSION")));
    server.answer(POD, Answer::Json(200, pod(&json!({}))));
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let agents =
        json!({"metadata": {}, "items": [{"metadata": {"name": "agent"}, "status": ready}]});
    server.answer(AGENTS, Answer::Json(200, agents));
    server.answer(EXEC, fit());
    server
}

/// What a gateway says of a session that would work.
fn fit() -> Answer {
    let body = json!({
        "kind": "DryRun", "apiVersion": "nsdebug.dev/v1alpha1",
        "node": "n1", "pod": "shop/api", "entered": "container", "container": "app", "containerId": "0123abcd",
        "profile": "general", "user": {"uid": 0, "gid": 0, "groups": [5, 7]},
        "capabilities": ["NET_RAW", "NET_ADMIN"],
        "namespaces": {"joined": ["net", "pid"], "shared": [], "own": ["ipc"]},
        "write": true, "notes": ["it crashes"],
    });
    Answer::DryRun(200, body)
}

/// A refusal of the gateway's, of a dry run as of a session.
fn refused(code: u16, reason: &str, message: &str) -> Answer {
    let Answer::Json(code, status) = refusal(code, reason, message) else { unreachable!() };
    Answer::DryRun(code, status)
}

fn pod(spec: &serde_json::Value) -> serde_json::Value {
    let mut pod = json!({
        "metadata": {"name": "api"},
        "spec": {"nodeName": "n1", "containers": [{"name": "app"}], "initContainers": [{"name": "migrate"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
        ]},
    });
    for (key, value) in spec.as_object().expect("an object") {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn said(server: &ApiServer, words: &[&str]) -> (i32, String) {
    let left = server.run(words);
    assert_eq!(left.stderr, "");
    (left.code, String::from_utf8(left.stdout).expect("text"))
}

#[test]
fn where_all_is_well_every_line_says_so() {
    let (code, text) = said(&healthy(), &["doctor", "pod/api"]);
    assert_eq!(code, 0, "{text}");
    for line in [
        "ok          API server        127.0.0.1:",
        "ok          user              alice (dev)",
        "ok          APIService        v1alpha1.nsdebug.dev is Available",
        "ok          gateway           answers through the API server, v",
        "ok          right             create pods.nsdebug.dev/exec \"api\" in the namespace \"shop\"",
        "ok          right             create pods/exec \"api\" in the namespace \"shop\"",
        "ok          profile           general",
        "ok          pod               api: Running on the node n1",
        "ok          agent             one is ready on the node n1",
        "ok          session           would be in the container app of pod shop/api on the node n1",
        "ok          session           profile general, as uid 0, gid 0, groups 5, 7",
        "ok          session           capabilities: NET_RAW, NET_ADMIN",
        "ok          session           namespaces: net, pid the target's; ipc of its own",
        "ok          session           /target can be written to",
        "note        session           it crashes",
        "This session would work.",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn each_thing_that_is_missing_is_a_line_and_a_failure() {
    type Break = fn(&ApiServer);
    let cases: [(&str, Break); 9] = [
        (
            "no          APIService        v1alpha1.nsdebug.dev is not Available: MissingEndpoints: none",
            |server| {
                let condition = json!([{"type": "Available", "status": "False", "reason": "MissingEndpoints", "message": "none"}]);
                server.answer(
                    API_SERVICE,
                    Answer::Json(200, json!({"status": {"conditions": condition}})),
                );
            },
        ),
        ("no          APIService        nsdebug is not installed", |server| {
            server.answer(API_SERVICE, refusal(404, "NotFound", "apiservices \"x\" not found"));
        }),
        ("no          gateway           the gateways of nsdebug are not available", |server| {
            server.answer(API, Answer::Text(503, "service unavailable"));
        }),
        ("no          right             cannot create pods.nsdebug.dev/exec \"api\"", |server| {
            server.deny(&["create nsdebug.dev/pods api"]);
        }),
        ("no          right             cannot create pods/exec \"api\"", |server| {
            server.deny(&["create /pods api"]);
        }),
        (
            "no          right             cannot use hosttargets.nsdebug.dev \"n1\" (the container shares the node's network)",
            |server| {
                server.answer(POD, Answer::Json(200, pod(&json!({"hostNetwork": true}))));
                server.deny(&["use nsdebug.dev/hosttargets n1"]);
            },
        ),
        (
            "no          pod               Error from server (NotFound): pods \"api\" not found",
            |server| {
                server.answer(POD, refusal(404, "NotFound", "pods \"api\" not found"));
            },
        ),
        (
            "no          agent             on the node n1: none is (in the namespace \"debugging\")",
            |server| {
                server.answer(AGENTS, Answer::Json(200, json!({"metadata": {}, "items": []})));
            },
        ),
        ("no          profile           general: cannot use", |server| {
            server.deny(&["use nsdebug.dev/profiles general"]);
        }),
    ];
    for (line, break_it) in cases {
        let server = healthy();
        // Of a gateway that is older, only the rest is there to be judged by.
        server.answer(EXEC, refusal(400, "BadRequest", "a session needs a websocket request"));
        break_it(&server);
        let (code, text) = said(&server, &["doctor", "pod/api", "--profile", "general"]);
        assert!(text.contains(line), "{line} in\n{text}");
        assert_eq!(code, 1, "{text}");
    }
}

#[test]
fn what_cannot_be_seen_is_not_guessed_at() {
    let server = healthy();
    let hidden = || refusal(403, "Forbidden", "not yours");
    for path in [API_SERVICE, POD, "/api/v1/namespaces/nsdebug/pods"] {
        server.answer(path, hidden());
    }
    let (code, text) = said(&server, &["doctor", "pod/api"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("This session would work.\n"), "{text}");
    assert!(text.contains("unknown     APIService "), "{text}");
    assert!(
        text.contains("unknown     pod               forbidden: you cannot get the pod api"),
        "{text}"
    );
    assert!(!text.contains("  agent "), "{text}");
    let (code, text) = said(&server, &["doctor"]);
    assert!(code == 0 && text.contains("unknown     agent "), "{text}");
}

#[test]
fn a_session_of_another_profile_could_still_work() {
    let server = healthy();
    server.deny(&["use nsdebug.dev/profiles general"]);
    let (code, text) = said(&server, &["doctor"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("note        profile           general: cannot use"), "{text}");
    assert!(text.ends_with("A session could work.\n"), "{text}");
}

#[test]
fn a_session_s_own_words_are_asked_about_in_plain_http() {
    let server = healthy();
    let words =
        ["pod/api", "-c", "app", "-it", "--run-as", "target", "--write", "--namespaces", "net"];
    let more =
        ["--timeout", "5s", "-q", "--profile", "general", "--reason", "a b", "--", "ps", "-ef"];
    let (code, text) = said(&server, &[&["doctor"], &words[..], &more].concat());
    assert_eq!(code, 0, "{text}");
    let asked = server.asked();
    let asked = asked.iter().find(|asked| asked.line.contains(EXEC)).expect("a dry run");
    let query = "container=app&command=ps&command=-ef&stdin=true&stdout=true&tty=true&write=true\
                 &profile=general&namespaces=net&run-as=target&reason=a%20b&dryRun=All";
    assert_eq!(asked.line, format!("GET {EXEC}?{query}"));
    for field in ["upgrade", "connection", "sec-websocket-key"] {
        assert!(!asked.headers.contains_key(field), "{field}: {:?}", asked.headers);
    }
    // The flags may come first, and where no command is given a shell is meant.
    said(&server, &["-n", "shop", "doctor", "-c", "app", "api"]);
    let asked = server.asked();
    let line = &asked.iter().rfind(|asked| asked.line.contains(EXEC)).expect("another").line;
    assert!(line.contains("?container=app&command=sh&stdin=true"), "{line}");
}

#[test]
fn a_refusal_is_the_session_s_own_whatever_refuses_and_whatever_else_is_well() {
    let host = "process 7 (app) is a host target, and host targets are not allowed here";
    let tool = json!({
        "kind": "Status", "status": "Failure", "reason": "BadRequest", "code": 400,
        "message": "there is no `tcpdmp` in the toolbox",
        "details": {"causes": [{"reason": "ExitCode", "message": "127"}]},
    });
    let unavailable = Answer::Text(503, "service unavailable");
    for (answer, said_so) in [
        (refused(403, "Forbidden", host), format!("Error from server (Forbidden): {host}")),
        (refusal(403, "Forbidden", "no get"), "Error from server (Forbidden): no get".to_owned()),
        (Answer::DryRun(400, tool), "there is no `tcpdmp` in the toolbox".to_owned()),
        (unavailable, "the gateways of nsdebug are not available: service unavailable".to_owned()),
    ] {
        let server = healthy();
        server.answer(EXEC, answer);
        let (code, text) = said(&server, &["doctor", "pod/api", "--", "tcpdmp"]);
        assert_eq!(code, 1, "{text}");
        let end = "This session would not work: see the line marked `no`.";
        assert!(
            text.ends_with(&format!("no          session           {said_so}\n{end}\n")),
            "{text}"
        );
        let session = server.run(&["pod/api", "--", "tcpdmp"]).stderr;
        let session = session.strip_prefix("error: ").unwrap_or(&session);
        assert!(session.starts_with(&said_so), "{session}");
    }
}

#[test]
fn a_session_that_works_needs_nothing_that_was_not_asked_for() {
    let server = healthy();
    server.deny(&["create /pods api"]);
    let (code, text) = said(&server, &["doctor", "pod/api"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("note        right             cannot create pods/exec \"api\""),
        "{text}"
    );
}

#[test]
fn a_gateway_that_knows_no_dry_runs_starts_nothing_and_says_nothing_of_the_session() {
    let older = || refusal(400, "BadRequest", "a session needs a websocket request");
    let agent = || refused(501, "NotImplemented", "the agent on node n1 is too old");
    for (answer, why) in
        [(older(), "too old for dry runs"), (agent(), "the agent on node n1 is too old")]
    {
        let server = healthy();
        server.answer(EXEC, answer);
        let (code, text) = said(&server, &["doctor", "pod/api"]);
        assert_eq!(code, 0, "{text}");
        let line = text.lines().find(|line| line.contains("  session  ")).expect("a line");
        assert!(line.starts_with("unknown ") && line.contains(why), "{text}");
        assert!(text.ends_with("A session could work.\n"), "{text}");
    }
}

#[test]
fn a_profile_that_reaches_the_node_takes_the_right_to_it() {
    let missing = |profile: &str, why: &str| {
        format!(
            "{profile}: cannot use hosttargets.nsdebug.dev \"n1\" (the container is to be entered with the profile {profile}, which {why}"
        )
    };
    let netadmin = missing(
        "netadmin",
        "reaches the node's network; unless the gateway runs with --netadmin-reaches-node-network)",
    );
    let sysadmin = missing("sysadmin", "holds all)");
    let server = healthy();
    server.answer(EXEC, refusal(400, "BadRequest", "a session needs a websocket request"));
    let (code, text) = said(&server, &["doctor", "pod/api", "--profile", "netadmin"]);
    assert!(code == 0 && text.contains("ok          profile           netadmin (the container"));
    server.deny(&["use nsdebug.dev/hosttargets n1"]);
    for (profile, lines) in [
        ("general", [("note", &netadmin), ("note", &sysadmin)]),
        ("netadmin", [("no", &netadmin), ("note", &sysadmin)]),
        ("sysadmin", [("note", &netadmin), ("no", &sysadmin)]),
    ] {
        let (code, text) = said(&server, &["doctor", "pod/api", "--profile", profile]);
        for (verdict, line) in lines {
            let line = format!("{verdict:<10}  profile           {line}\n");
            assert!(text.contains(&line), "{line} in\n{text}");
        }
        assert_eq!(code, i32::from(profile != "general"), "{text}");
    }
    // The right to a node includes what is worth as much.
    let (_, text) = said(&server, &["doctor", "node/n1", "--profile", "netadmin"]);
    assert!(text.contains("ok          profile           netadmin\n"), "{text}");
    // Whose node it would be is not known.
    let (_, text) = said(&server, &["doctor", "--profile", "netadmin"]);
    let line = "ok          profile           netadmin: also needs use hosttargets.nsdebug.dev, for the pod's node";
    assert!(text.contains(line), "{text}");
}

#[test]
fn it_asks_for_the_rights_that_the_gateway_has_reviewed_and_no_others() {
    let policy = ReviewPolicy {
        core_exec: true,
        netadmin_without_host_target: false,
        own_namespace: "debugging".to_owned(),
    };
    let cases = [
        ("pod/api", "shop", ReviewedTarget::Pod { namespace: "shop", name: Some("api") }),
        ("pod/api", "debugging", ReviewedTarget::Pod { namespace: "debugging", name: Some("api") }),
        ("node/n1", "shop", ReviewedTarget::Node { name: "n1" }),
    ];
    for (target, namespace, entered) in cases {
        let server = healthy();
        let path = POD.replace("shop", namespace);
        server.answer(&path, Answer::Json(200, pod(&json!({"hostNetwork": true}))));
        said(&server, &["doctor", target, "-n", namespace]);
        let mut wanted = vec![entered.for_api_server()];
        wanted.extend(Profile::ALL.iter().flat_map(|profile| entered.rights(*profile, &policy)));
        wanted.extend(entered.host_target(Some("n1"), Some(&Reason::Network)));
        let mut wanted: Vec<_> = wanted.iter().map(attributes).collect();
        let asked = server.reviewed().into_iter().map(|asked| asked.to_string());
        let mut asked: Vec<_> = asked.collect();
        for list in [&mut wanted, &mut asked] {
            list.sort_unstable();
            list.dedup();
        }
        assert_eq!(asked, wanted, "{target} in {namespace}");
    }
}

fn attributes(right: &Right) -> String {
    let Right { verb, group, resource, subresource, namespace, name } = right;
    let attributes = json!({
        "verb": verb, "group": group, "resource": resource, "subresource": subresource,
        "namespace": namespace, "name": name,
    });
    attributes.to_string()
}

#[test]
fn a_server_that_is_not_there_is_the_only_line() {
    let server = healthy();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (code, text) = said(&server, &["doctor", "pod/api", "--server", &url]);
    assert_eq!(code, 1);
    assert!(
        text.starts_with("no          API server        The connection to the server"),
        "{text}"
    );
    assert!(!text.contains("gateway"), "{text}");
}

#[test]
fn versions_are_told_and_compared() {
    let server = healthy();
    let version = env!("CARGO_PKG_VERSION");
    let both = format!("Client Version: v{version}\nServer Version: v{version}\n");
    assert_eq!(said(&server, &["version"]), (0, both));
    let client = format!("Client Version: v{version}\n");
    assert_eq!(said(&server, &["version", "--client"]), (0, client.clone()));
    server.answer("/apis/nsdebug.dev", Answer::Json(200, json!({})));
    server.answer(API, Answer::Gateway("9.9.9"));
    let left = server.run(&["version"]);
    assert_eq!(left.code, 0);
    assert!(left.stderr.starts_with("warning: version difference"), "{}", left.stderr);
    let bare = ApiServer::start();
    let left = bare.run(&["version"]);
    assert_eq!((left.code, String::from_utf8_lossy(&left.stdout).as_ref()), (125, client.as_str()));
    assert!(left.stderr.contains("nsdebug is not installed"), "{}", left.stderr);
}

#[test]
fn words_are_completed_as_kubectl_asks() {
    let server = healthy();
    let list = |names: &[&str]| {
        let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
        Answer::Json(200, json!({"metadata": {}, "items": items}))
    };
    server.answer("/api/v1/namespaces/shop/pods", list(&["api", "web-0"]));
    server.answer("/api/v1/namespaces", list(&["shop", "other"]));
    server.answer("/apis/apps/v1/namespaces/shop/deployments", list(&["web"]));
    let completed = |words: &[&str]| said(&server, &[&["__complete"], words].concat()).1;
    assert_eq!(completed(&["w"]), "web-0\n:4\n");
    assert_eq!(completed(&["dep"]), "deploy/\n:6\n");
    assert_eq!(completed(&["deploy/"]), "deploy/web\n:4\n");
    assert_eq!(completed(&["api", "-c", ""]), "app\nmigrate\n:4\n");
    assert_eq!(completed(&["-n", "o"]), "other\n:4\n");
    assert_eq!(completed(&["api", "--profile", "net"]), "netadmin\n:4\n");
    assert_eq!(completed(&["--context", ""]), "it\n:4\n");
    assert_eq!(completed(&["api", "--", "p"]), ":0\n");
    // Nothing that goes wrong is said on a line that a user is writing.
    assert_eq!(completed(&["--server", "http://127.0.0.1:1", "w"]), ":6\n");
}
