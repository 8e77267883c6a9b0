//! The bytes on the wire, written down: a change here breaks every client that is out there.

use wire::dry_run::{Entered, Namespaces, User};
use wire::frame::{self, Channel, FromClient, FromServer, Protocol, Size};
use wire::{
    ApiTarget, DryRun, Ending, ExecRequest, Exit, Forwarded, Profile, SessionTarget, Signal,
    Status, dry_run, forward,
};

#[test]
fn frames() {
    assert_eq!(frame::encode(Channel::Stdout, b"hi"), b"\x01hi");
    assert_eq!(frame::encode(Channel::Stderr, b""), b"\x02");
    assert_eq!(frame::close_stdin(), b"\xff\x00");
    let size = Size { width: 80, height: 24 };
    assert_eq!(frame::resize(size), b"\x04{\"Width\":80,\"Height\":24}");
    assert_eq!(FromClient::decode(b"\x00ls\n", Protocol::V5), Ok(FromClient::Stdin(b"ls\n")));
    assert_eq!(FromClient::decode(b"\xff\x00", Protocol::V5), Ok(FromClient::CloseStdin));
    assert_eq!(FromServer::decode(b"\x03{}", Protocol::V5), Ok(FromServer::Status(b"{}")));
    assert_eq!(frame::taken(262_144), b"\x81262144");
    assert_eq!((wire::limits::STDIN_WINDOW, wire::limits::STDIN_TOLD), (1_048_576, 262_144));
    let protocols = ["v5.channel.nsdebug.dev", "v5.channel.k8s.io", "v4.channel.k8s.io"];
    assert_eq!(Protocol::ALL.map(Protocol::as_str), protocols);
    let signals = [
        (Signal::Hup, 1, &b"\x80HUP"[..]),
        (Signal::Int, 2, b"\x80INT"),
        (Signal::Quit, 3, b"\x80QUIT"),
        (Signal::Usr1, 10, b"\x80USR1"),
        (Signal::Usr2, 12, b"\x80USR2"),
        (Signal::Term, 15, b"\x80TERM"),
    ];
    for (signal, number, message) in signals {
        assert_eq!((signal.number(), &frame::signal(signal)[..]), (number, message));
    }
}

#[test]
fn paths() {
    let container = SessionTarget::Container("0123abcd".parse().expect("an ID"));
    assert_eq!(container.path(), "/v1/containers/0123abcd/exec");
    let pod = SessionTarget::Pod {
        namespace: "shop".parse().expect("a label"),
        name: "api-0".parse().expect("a name"),
    };
    assert_eq!(pod.path(), "/v1/namespaces/shop/pods/api-0/exec");
    assert_eq!(SessionTarget::Node.path(), "/v1/node/exec");
}

#[test]
fn paths_of_the_api() {
    let pod = ApiTarget::Pod {
        namespace: "shop".parse().expect("a label"),
        name: "api-0".parse().expect("a name"),
    };
    assert_eq!(pod.path(), "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api-0/exec");
    let node = ApiTarget::Node { name: "n1".parse().expect("a name") };
    assert_eq!(node.path(), "/apis/nsdebug.dev/v1alpha1/nodes/n1/exec");
}

#[test]
fn what_a_gateway_vouches_for() {
    assert_eq!(forward::CONNECT_PATH, "/connect");
    assert_eq!(forward::CONNECT_PROTOCOL, "nsdebug-agent");
    assert_eq!(forward::AUDIENCE, "nsdebug-gateway");
    let forwarded = Forwarded {
        user: "jos\u{e9} 1%".to_owned(),
        session_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        audit_id: "a-1".parse().expect("an ID"),
        pod_uid: Some("u-1".to_owned()),
        container_id: Some("0123abcd".parse().expect("an ID")),
        waiting: Some("app waits: ErrImagePull".to_owned()),
        host_target: true,
        max_profile: Profile::General,
    };
    let fields = [
        ("nsdebug-user", "jos%C3%A9%201%25"),
        ("nsdebug-session-id", "0123456789abcdef0123456789abcdef"),
        ("audit-id", "a-1"),
        ("nsdebug-max-profile", "general"),
        ("nsdebug-pod-uid", "u-1"),
        ("nsdebug-container-id", "0123abcd"),
        ("nsdebug-waiting", "app%20waits:%20ErrImagePull"),
        ("nsdebug-host-target", "allowed"),
    ];
    assert_eq!(forwarded.fields(), fields.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn queries() {
    let request = ExecRequest {
        container: Some("app".parse().expect("a label")),
        command: vec![b"cat".to_vec(), b"/etc/a b".to_vec(), b"\xff".to_vec()],
        stdin: true,
        stdout: true,
        ..ExecRequest::default()
    };
    assert_eq!(
        request.to_query().expect("a query"),
        "container=app&command=cat&command=/etc/a%20b&command=%FF&stdin=true&stdout=true"
    );
    let command = vec![b"ps".to_vec()];
    let judged = ExecRequest { command, dry_run: true, ..ExecRequest::default() };
    assert_eq!(judged.to_query().expect("a query"), "command=ps&dryRun=All");
}

#[test]
fn what_an_agent_says_that_it_knows() {
    assert_eq!((forward::KNOWS, forward::KNOWS_DRY_RUNS), ("nsdebug-knows", "dry-run"));
}

#[test]
fn a_dry_run() {
    assert_eq!(dry_run::DRY_RUN, "nsdebug-dry-run");
    let dry_run = DryRun {
        node: Some("n1".to_owned()),
        pod: Some("shop/api".to_owned()),
        container: Some("app".to_owned()),
        container_id: Some("0123abcd".to_owned()),
        profile: Some("general".to_owned()),
        user: Some(User { uid: 0, gid: 0, groups: vec![5] }),
        capabilities: vec!["NET_RAW".to_owned()],
        namespaces: Namespaces { joined: vec!["net".to_owned()], ..Namespaces::default() },
        notes: vec!["a note".to_owned()],
        ..DryRun::new(Entered::Container)
    };
    assert_eq!(
        String::from_utf8(dry_run.to_json()).expect("text"),
        r#"{"kind":"DryRun","apiVersion":"nsdebug.dev/v1alpha1","node":"n1","pod":"shop/api","entered":"container","container":"app","containerId":"0123abcd","profile":"general","user":{"uid":0,"gid":0,"groups":[5]},"capabilities":["NET_RAW"],"namespaces":{"joined":["net"],"shared":[],"own":[]},"write":false,"notes":["a note"]}"#
    );
}

#[test]
fn a_success() {
    let ending = Ending { exit: Exit::Code(0), stdout_bytes: 5, stderr_bytes: 0, reason: None };
    assert_json(
        &ending.to_status(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"causes":[{"reason":"StdoutBytes","message":"5"},{"reason":"StderrBytes","message":"0"}]}}"#,
    );
}

#[test]
fn an_exit_code() {
    let ending = Ending { exit: Exit::Code(7), stdout_bytes: 0, stderr_bytes: 9, reason: None };
    assert_json(
        &ending.to_status(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"command terminated with exit code 7","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"},{"reason":"StdoutBytes","message":"0"},{"reason":"StderrBytes","message":"9"}]}}"#,
    );
}

#[test]
fn a_hint_is_a_cause_and_the_message_stays_the_kubelet_s() {
    let ending = Ending { exit: Exit::Code(1), stdout_bytes: 0, stderr_bytes: 0, reason: None };
    let status = ending.to_status().with_hint("--write makes it writable");
    assert_eq!(status.hint(), Some("--write makes it writable"));
    assert_eq!(ending.to_status().hint(), None);
    assert_json(
        &status,
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"command terminated with exit code 1","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"1"},{"reason":"StdoutBytes","message":"0"},{"reason":"StderrBytes","message":"0"},{"reason":"Hint","message":"--write makes it writable"}]}}"#,
    );
}

#[test]
fn a_signal_is_128_more_and_said_by_number() {
    let reason = Some("the target exited".to_owned());
    let ending = Ending { exit: Exit::Signal(9), stdout_bytes: 0, stderr_bytes: 0, reason };
    let status = ending.to_status();
    assert_eq!((status.exit_code(), status.signal()), (Some(137), Some(9)));
    assert_eq!(status.message, "command was killed by SIGKILL: the target exited");
}

#[test]
fn a_refusal_with_the_exit_code_of_a_shell() {
    let status = Status::refusal(422, "Invalid", "no such tool").with_exit_code(127);
    assert_json(
        &status,
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no such tool","reason":"Invalid","details":{"causes":[{"reason":"ExitCode","message":"127"}]},"code":422}"#,
    );
}

#[test]
fn a_status_of_the_kubelet_is_understood() {
    let theirs = br#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 42","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}}"#;
    let status: Status = serde_json::from_slice(theirs).expect("a Status");
    assert_eq!((status.exit_code(), status.stdout_bytes()), (Some(42), None));
}

fn assert_json(status: &Status, golden: &str) {
    assert_eq!(String::from_utf8(status.to_json()).expect("text"), golden);
    let back: Status = serde_json::from_str(golden).expect("a Status");
    assert_eq!(&back, status);
}
