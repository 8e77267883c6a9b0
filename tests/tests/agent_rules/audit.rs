//! Every session and every refusal is written down, once at its start and once at its end.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::{RunSpec, run, until};
use serde_json::{Value, json};

use crate::on_containerd;
use crate::stage::{LIMIT, Serving};

fn lines(log: &Path) -> Vec<Value> {
    let bytes = std::fs::read(log).expect("a log");
    assert!(
        bytes.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()),
        "raw control characters"
    );
    let text = String::from_utf8(bytes).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_session_and_refusal_is_written_down() {
    on_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("webcontainer"));
        let log = containerd.path().join("audit.log");
        let agent =
            Serving::start(containerd, &["--audit-log", log.to_str().expect("a plain path")]);
        let words = ["--reason", "INC-42", "-i", "container/webcontainer", "--", "sh", "-c"];
        let script = "cat >&2; echo \"$0\"; exit 7 # \u{1b}[2J\n\"quoted\"";
        let mut session =
            harness::Running::start(agent.plugin(&words).args([script, "secret\u{7}"]));
        session.write(b"four");
        session.finish().expect_code(7);
        until("the end to be written down", LIMIT, || lines(&log).len() == 2);
        let [start, end] = &lines(&log)[..] else { panic!("two lines") };
        for line in [start, end] {
            assert_eq!(line["container"]["id"], "webcontainer");
            assert_eq!(line["pid"], web.pid());
            assert_eq!((&line["profile"], &line["reason"]), (&json!("general"), &json!("INC-42")));
            assert_eq!((&line["asked_profile"], &line["namespaces"]), (&json!(null), &json!(null)));
            assert_eq!((&line["write"], &line["host_target"]), (&json!(false), &json!(null)));
            assert_eq!(
                (&line["argv"][2], &line["argv"][3]),
                (&json!(script), &json!("secret\u{7}"))
            );
            assert!(line["peer"].as_str().expect("a peer").starts_with("root (process"));
            assert_eq!(line["log"], "audit", "what tells it from an event");
            assert!(line["time"].as_str().expect("a time").ends_with('Z'));
        }
        assert_eq!((&start["event"], &end["event"]), (&json!("start"), &json!("end")));
        assert_eq!(start["session"], end["session"]);
        assert_eq!((&end["outcome"], &end["exit"]), (&json!("Finished"), &json!(7)));
        assert_eq!(end["stdin_bytes"], 4);
        assert_eq!((&end["stdout_bytes"], &end["stderr_bytes"]), (&json!(8), &json!(4)));
        let mode = std::fs::metadata(&log).expect("a log").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        refusals(&agent, &log);
    });
}

/// One line each, with the code that was answered, joined by what the request carried.
fn refusals(agent: &Serving, log: &Path) {
    let cases = [
        ("containers/webcontainer/exec?colour=red", 400, "BadRequest"),
        ("containers/nonesuch/exec?command=ps", 404, "NotFound"),
        ("namespaces/shop/pods/none/exec?command=ps", 404, "NotFound"),
        ("containers/webcontainer/exec?command=ps&profile=sysadmin", 403, "Forbidden"),
        ("containers/webcontainer/exec?command=nonesuch", 400, "BadRequest"),
    ];
    for (request, code, reason) in cases {
        let before = lines(log).len();
        let answer =
            agent.answer(request, "Audit-ID: joined-1\r\nAuthorization: Bearer hidden\r\n");
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
        let lines = lines(log);
        assert_eq!(lines.len(), before + 1, "{request}");
        let line = &lines[before];
        let (event, id) = (&line["event"], &line["claimed_audit_id"]);
        assert_eq!((event, id), (&json!("refused"), &json!("joined-1")));
        assert_eq!((&line["code"], &line["refusal"]), (&json!(code), &json!(reason)), "{line}");
        assert!(!line["message"].as_str().expect("a message").is_empty());
        assert!(!line.to_string().contains("hidden"));
    }
    let answer = agent.answer("containers/webcontainer/exec?command=ps", "Audit-ID: a b\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_session_that_cannot_be_written_down_is_not_given() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = Serving::start(containerd, &["--audit-log", "/dev/full"]);
        let refused =
            run(&mut agent.plugin(&["container/webcontainer", "--", "echo", "x"])).expect_code(125);
        assert!(refused.err().contains("sessions are refused until it is writable"), "{refused}");
        assert_eq!(refused.out(), "");
    });
}

/// One who reads only the log, to which the audit goes where it was given no file.
#[test]
fn the_log_has_each_event_once_and_no_arguments() {
    on_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("webcontainer"));
        let host = containerd.run(&RunSpec::new("hostnet").host_network());
        let agent = Serving::start(containerd, &["--log-format", "json", "--allow-host-targets"]);
        let words = ["--write", "--namespaces", "net,pid", "container/webcontainer", "--"];
        run(agent.plugin(&words).args(["echo", "whispered"])).expect_success();
        let host_words = ["--profile", "baseline", "container/hostnet", "--", "true"];
        run(&mut agent.plugin(&host_words)).expect_success();
        run(&mut agent.plugin(&["container/nonesuch", "--", "true"])).expect_code(125);
        let log = || {
            let text = agent.log();
            let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
            lines.collect::<Vec<Value>>()
        };
        let events = || log().into_iter().filter(|line| line["event"].is_string());
        until("all to be written down", LIMIT, || events().count() == 5);
        let events: Vec<_> = events().collect();
        let kinds: Vec<_> = events.iter().map(|line| line["event"].clone()).collect();
        assert_eq!(kinds, ["start", "end", "start", "end", "refused"]);
        for line in log().iter().filter(|line| !line["event"].is_string()) {
            let line = line.to_string();
            assert!(!line.contains("whispered") && !line.contains("{\\\""), "{line}");
            for event in &events {
                let id = event["session"].as_str().expect("an ID");
                assert!(!line.contains(id), "said by the audit already: {line}");
            }
        }
        for line in &events[..2] {
            assert_eq!((&line["namespaces"], &line["write"]), (&json!("net,pid"), &json!(true)));
            assert_eq!((&line["pid"], &line["host_target"]), (&json!(web.pid()), &json!(null)));
        }
        for line in &events[2..4] {
            assert_eq!(line["pid"], host.pid());
            assert_eq!(
                (&line["profile"], &line["asked_profile"]),
                (&json!("baseline"), &json!("baseline"))
            );
            let why = line["host_target"].as_str().expect("a reason");
            assert!(why.contains("the node's net namespace"), "{why}");
        }
    });
}
