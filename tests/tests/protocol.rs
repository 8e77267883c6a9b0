//! The wire as any client of the Kubernetes exec protocol may use it, and as nobody should.

use harness::{
    Agent, Answer, Certificate, Client, Container, Containerd, Heard, Listener, QuietNode,
    Requirement, RunSpec, Scratch, Serve, Version, run, skip,
};
use tokio_tungstenite::tungstenite::Message;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

/// An agent and the container `web-1`, in which nothing may be left.
fn with_agent(check: impl FnOnce(&Agent, &Container<'_>)) {
    on(Scratch::new, check);
}

/// The same on a node that is compared before and after.
fn on_quiet_node(check: impl FnOnce(&Agent, &Container<'_>)) {
    let node = QuietNode::wait();
    on(|| Scratch::on(&node), check);
    node.assert_untouched();
}

fn on(scratch: impl FnOnce() -> Scratch, check: impl FnOnce(&Agent, &Container<'_>)) {
    if skip([Requirement::containerd(Version::chosen()), Requirement::program("setpriv")]) {
        return;
    }
    let containerd = Containerd::start_in(scratch(), Version::chosen());
    let web = containerd.run(&RunSpec::new("web-1"));
    let agent = Serve::new().with_tls().start(&containerd);
    check(&agent, &web);
    harness::until("no session to be left", std::time::Duration::from_secs(10), || {
        agent.has_no_session() && web.processes().len() == 1
    });
}

fn path(query: &str) -> String {
    format!("/v1/containers/web-1/exec?{query}")
}

fn open(agent: &Agent, query: &str, protocols: &str) -> Client {
    let stream = agent.connect(Listener::Unix);
    Client::open(stream, &path(query), protocols).expect("a session")
}

/// The whole of a session to which nothing is sent.
fn heard(agent: &Agent, query: &str) -> Heard {
    open(agent, query, V5).finish()
}

/// The refusal of a request that could be a session but for its query.
fn refused(agent: &Agent, query: &str) -> Answer {
    agent.refusal(&path(query))
}

#[test]
fn a_status_with_byte_counts_ends_every_session() {
    with_agent(|agent, _| {
        let script = |text: &str| format!("command=sh&command=-c&command={text}");
        let cases = [
            ("printf+abc;printf+de+%3E%262", "Success", None, None),
            ("printf+abc;printf+de+%3E%262;exit+7", "Failure", Some("7"), None),
            ("printf+abc;printf+de+%3E%262;kill+-9+$$", "Failure", Some("137"), Some("9")),
        ];
        for listener in Listener::ALL {
            for (text, status, code, signal) in cases {
                let path = path(&format!("{}&stdout=true&stderr=true", script(text)));
                let client = Client::open(agent.connect(listener), &path, V5).expect("a session");
                let heard = client.finish();
                assert_eq!((&heard.stdout[..], &heard.stderr[..]), (&b"abc"[..], &b"de"[..]));
                let json = heard.status.clone().expect("a status");
                assert_eq!(json["status"], status, "{json}");
                assert_eq!(json["kind"], "Status", "{json}");
                assert_eq!((heard.cause("ExitCode"), heard.cause("Signal")), (code, signal));
                let counts = (heard.cause("StdoutBytes"), heard.cause("StderrBytes"));
                assert_eq!(counts, (Some("3"), Some("2")), "{json}");
                let reason = json["reason"].as_str();
                assert_eq!(reason, code.map(|_| "NonZeroExitCode"), "{json}");
                assert_eq!(heard.close, Some((1000, String::new())));
                assert_eq!(heard.broken, None);
            }
        }
    });
}

#[test]
fn both_protocols_are_spoken_and_the_newer_is_preferred() {
    with_agent(|agent, _| {
        let query = "command=head&command=-c5&stdin=true&stdout=true";
        let offers = [(V5, V5), (V4, V4), ("v5.channel.k8s.io, v4.channel.k8s.io", V5)];
        for (offered, chosen) in offers {
            let mut client = open(agent, query, offered);
            assert_eq!(client.protocol, chosen, "of {offered}");
            client.send(0, b"hello");
            let heard = client.finish();
            assert_eq!(heard.stdout, b"hello");
            assert_eq!(heard.status.expect("a status")["status"], "Success");
        }
        // Only v5 can say that stdin has ended.
        let mut client = open(agent, "command=cat&stdin=true&stdout=true", V5);
        client.send(0, b"to the end");
        client.close_stdin();
        assert_eq!(client.finish().stdout, b"to the end");
    });
}

#[test]
fn a_foreign_client_may_send_what_means_nothing() {
    with_agent(|agent, _| {
        let mut client = open(agent, "command=cat&stdin=true&stdout=true&stderr=true", V5);
        client.send(0, b"");
        client.send_raw(Message::binary(Vec::new()));
        client.send(4, br#"{"Width":80,"Height":24}"#);
        client.send_raw(Message::Ping("anybody?".into()));
        client.send(0, b"still here");
        client.close_stdin();
        client.send(0, b"after the end");
        let heard = client.finish();
        assert_eq!(heard.stdout, b"still here");
        assert_eq!(heard.close, Some((1000, String::new())));
        // Input that was never asked for is dropped.
        let mut client = open(agent, "command=cat&stdout=true", V5);
        client.send(0, b"for nobody");
        assert_eq!(client.finish().stdout, b"");
    });
}

#[test]
fn a_foreign_client_may_send_text_as_kubelet_takes_it() {
    with_agent(|agent, _| {
        for protocol in [V5, V4] {
            let query = "command=head&command=-n2&stdin=true&stdout=true";
            let mut client = open(agent, query, protocol);
            client.send_raw(Message::text("\0gr\u{fc}n\n"));
            client.send_raw(Message::text(""));
            client.send(0, b"\xff and bytes\n");
            assert_eq!(client.finish().stdout, b"gr\xc3\xbcn\n\xff and bytes\n");
        }
        let query =
            "command=sh&command=-c&command=read+line;stty+size&stdin=true&stdout=true&tty=true";
        let mut client = open(agent, query, V5);
        client.send_raw(Message::text("\u{4}{\"Width\": 132, \"Height\": 50}"));
        client.send_raw(Message::text("\0go\r"));
        let shown = String::from_utf8_lossy(&client.finish().stdout).into_owned();
        assert!(shown.contains("50 132\r\n"), "{shown}");
    });
}

#[test]
fn output_that_was_not_asked_for_does_not_come() {
    with_agent(|agent, _| {
        let heard = heard(agent, "command=sh&command=-c&command=echo+a;echo+b+%3E%262&stderr=true");
        assert_eq!((&heard.stdout[..], &heard.stderr[..]), (&b""[..], &b"b\n"[..]));
        assert_eq!(heard.cause("StdoutBytes"), Some("0"));
    });
}

#[test]
fn a_terminal_has_the_size_that_was_sent_last_and_one_output() {
    with_agent(|agent, _| {
        let script = "read+line;stty+size;tty;echo+to+stderr+%3E%262;echo+$TERM";
        let query =
            format!("command=sh&command=-c&command={script}&stdin=true&stdout=true&tty=true");
        let mut client = open(agent, &query, V5);
        let sizes = br#"{"Width":1,"Height":1}{"Width":132,"Height":50}"#;
        client.send(4, sizes);
        client.send(0, b"go\r");
        let heard = client.finish();
        let shown = String::from_utf8_lossy(&heard.stdout).into_owned();
        for text in ["50 132\r\n", "/dev/pts/", "to stderr\r\n", "xterm\r\n"] {
            assert!(shown.contains(text), "no {text:?} in {shown:?}");
        }
        assert_eq!(heard.stderr, b"");
    });
}

#[test]
fn a_message_that_breaks_the_protocol_ends_the_session() {
    on_quiet_node(|agent, web| {
        let cases = [
            (Message::binary(b"\x07hello".to_vec()), 1002, "channel 7, which does not exist"),
            (Message::binary(b"\x01hello".to_vec()), 1002, "Stdout, which this side does not"),
            (Message::binary(b"\x04{}".to_vec()), 1002, "not a width and a height"),
            (Message::binary(b"\xff\x01".to_vec()), 1002, "does not close stdin"),
            (Message::text("hello"), 1002, "channel 104, which does not exist"),
            (Message::text("\u{80}INT"), 1002, "channel 128, which does not exist"),
            (Message::binary(vec![0; (1 << 20) + 1]), 1009, "longer than 1048576 bytes"),
        ];
        for (message, code, words) in cases {
            let mut client = open(agent, "command=cat&stdin=true&stdout=true", V5);
            client.send_raw(message);
            let heard = client.finish();
            let (got, reason) = heard.close.clone().expect("a close");
            assert_eq!(got, code, "{reason}");
            assert!(reason.contains(words), "{reason}");
            assert_eq!(heard.status, None, "an aborted session has no status");
            harness::until("the session to end", std::time::Duration::from_secs(10), || {
                web.processes().len() == 1
            });
        }
        // As large as is allowed.
        let mut client = open(agent, "command=wc&command=-c&stdin=true&stdout=true", V5);
        client.send(0, &vec![b'x'; (1 << 20) - 1]);
        client.close_stdin();
        assert_eq!(client.finish().stdout, b"1048575\n");
    });
}

#[test]
fn what_is_no_session_is_refused_with_a_status() {
    with_agent(|agent, _| {
        let ask = |method: &str, path: &str| {
            Answer::to(&mut agent.connect(Listener::Tls), method, path).expect("an answer")
        };
        let plain = ask("GET", &path("command=ps"));
        assert_eq!(plain.code, 400);
        assert!(plain.message().starts_with("a session needs a websocket request: "), "{plain:?}");
        let post = ask("POST", &path("command=ps"));
        assert_eq!(post.code, 405);
        assert!(post.message().ends_with("does not support POST"), "{post:?}");
        let lost = ask("GET", "/api/v1/pods");
        assert_eq!((lost.code, lost.message().as_str()), (404, "there is nothing at /api/v1/pods"));
        for offered in ["", "v4.base64.channel.k8s.io", "channel.k8s.io"] {
            let stream = agent.connect(Listener::Unix);
            let answer = Client::open(stream, &path("command=ps"), offered).expect_err(offered);
            assert_eq!(answer.code, 400, "{answer:?}");
            assert!(answer.message().contains("no common subprotocol"), "{answer:?}");
            assert!(answer.message().contains(V5), "{answer:?}");
        }
    });
}

#[test]
fn a_bad_query_is_refused_by_name() {
    with_agent(|agent, _| {
        let cases = [
            ("command=ps&colour=red", "unknown parameter `colour` in the query"),
            ("command=ps&tty=maybe", "parameter `tty` is `maybe`: use true or false"),
            ("command=a&command=b%00c", "argument 1 of the command holds a NUL byte"),
            ("stdout=true", "no command is given"),
            ("command=", "no command is given"),
            (
                "command=ps&profile=genral",
                "there is no profile `genral`; profiles are restricted, ",
            ),
            ("command=ps&namespaces=mnt", "mnt"),
            ("command=ps&namespaces=colour", "colour"),
            ("command=ps&containerd-namespace=a/b", "invalid --containerd-namespace: "),
        ];
        for (query, words) in cases {
            let answer = refused(agent, query);
            assert_eq!(answer.code, 400, "{query}: {answer:?}");
            assert!(answer.message().contains(words), "{query}: {answer:?}");
        }
        let long = refused(agent, &format!("command={}", "x".repeat(61 << 10)));
        assert_eq!(long.code, 400, "{long:?}");
        assert!(long.message().contains("at most 61440 fit a request"), "{long:?}");
        let path = path(&format!("command={}", "x".repeat(1 << 20)));
        let head = Answer::to(&mut agent.connect(Listener::Unix), "GET", &path);
        let code = head.as_ref().map(|answer| answer.code);
        assert!([Some(414), Some(431)].contains(&code), "{head:?}");
    });
}

#[test]
fn a_tool_that_cannot_run_is_refused_before_the_upgrade() {
    with_agent(|agent, _| {
        for (command, code, words) in [
            ("no-such-tool", "127", "there is no `no-such-tool` on this node; looked in /usr"),
            ("/no/such/tool", "127", "there is no file `/no/such/tool`"),
            ("/usr", "126", "`/usr` is a directory"),
            ("/etc/hostname", "126", "cannot execute `/etc/hostname`"),
        ] {
            let answer = refused(agent, &format!("command={command}"));
            assert!(answer.message().contains(words), "{answer:?}");
            let cause = format!(r#"{{"reason":"ExitCode","message":"{code}"}}"#);
            assert!(answer.body.contains(&cause), "{answer:?}");
        }
    });
}

#[test]
fn only_a_good_client_certificate_is_let_in() {
    with_agent(|agent, _| {
        let enter = |plugin: &mut std::process::Command| {
            plugin.arg("--certificate-authority").arg(agent.certificates().authority());
            run(plugin.args(["container/web-1", "--", "true"]))
        };
        let plugin = || {
            let mut plugin = harness::plugin();
            plugin.arg("--agent").arg(agent.url());
            plugin
        };
        let done = enter(&mut plugin()).expect_code(125);
        assert!(done.err().contains("requires a client certificate"), "{done}");
        assert!(done.err().contains("hint: give --client-certificate"), "{done}");
        for (kind, words) in [
            (Certificate::ExpiredClient, "it has expired or is not valid yet"),
            (Certificate::ForeignClient, "is not signed by an authority that the agent trusts"),
            (Certificate::ServerAsClient, "is not valid for this use"),
        ] {
            let files = agent.certificates().issue(kind);
            let mut plugin = plugin();
            plugin.arg("--client-certificate").arg(files.certificate);
            plugin.arg("--client-key").arg(files.key);
            let done = enter(&mut plugin).expect_code(125);
            assert!(done.err().contains(words), "{kind:?}: {done}");
        }
        run(&mut agent.exec_over(Listener::Tls, "web-1", &["true"])).expect_success();
    });
}

#[test]
fn only_root_is_let_in_by_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    with_agent(|agent, _| {
        let folder = agent.socket().parent().expect("a socket is in a folder");
        let scratch = folder.parent().expect("the folder is below the scratch folder");
        let mode = |path: &std::path::Path, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).expect("the file is ours");
        };
        let socket = std::fs::metadata(agent.socket()).expect("a socket").permissions();
        assert_eq!(socket.mode() & 0o777, 0o600);
        for open in [scratch, folder] {
            mode(open, 0o711);
        }
        let program = folder.join("plugin");
        std::fs::copy(harness::plugin().get_program(), &program).expect("a copy");
        mode(&program, 0o755);
        let as_nobody = || {
            let mut setpriv = std::process::Command::new("setpriv");
            setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
            setpriv.arg("--agent").arg(format!("unix:{}", agent.socket().display()));
            run(setpriv.args(["container/web-1", "--", "true"])).expect_code(125)
        };
        let refused = as_nobody();
        assert!(refused.err().contains("for root: try sudo"), "{refused}");
        mode(agent.socket(), 0o666);
        let refused = as_nobody();
        assert!(refused.err().contains("only root may use this socket"), "{refused}");
        assert!(refused.err().contains("uid 65534"), "{refused}");
    });
}
