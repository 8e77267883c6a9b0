//! One command in many pods: which are entered, what they say, and what all of it comes to.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::api::{Answer, ApiServer, refusal};
use crate::scripted::{Left, left};

const PODS: &str = "/api/v1/namespaces/shop/pods";

fn session(server: &ApiServer, namespace: &str, pod: &str, answer: Answer) {
    let path = format!("/apis/nsdebug.dev/v1alpha1/namespaces/{namespace}/pods/{pod}/exec");
    server.answer(&path, answer);
}

fn pod(namespace: &str, name: &str, phase: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": "n1", "containers": [{"name": "app"}]},
        "status": {"phase": phase},
    })
}

fn list(server: &ApiServer, path: &str, items: &[Value]) {
    server.answer(path, Answer::Json(200, json!({"metadata": {}, "items": items})));
}

/// A server with the pods `web-0` … of one Deployment, each with this session.
pub(crate) fn web(answers: &[Answer]) -> ApiServer {
    let server = ApiServer::start();
    let selector = json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}});
    server.answer("/apis/apps/v1/namespaces/shop/deployments/web", Answer::Json(200, selector));
    let mut pods = vec![pod("shop", "done", "Succeeded")];
    for (n, answer) in answers.iter().enumerate() {
        let name = format!("web-{n}");
        session(&server, "shop", &name, answer.clone());
        pods.push(pod("shop", &name, "Running"));
    }
    list(&server, PODS, &pods);
    // Which asks once more whether nsdebug is installed.
    server.answer("/apis/nsdebug.dev", Answer::Json(200, json!({"kind": "APIGroup"})));
    server
}

pub(crate) const ALL: [&str; 5] = ["deploy/web", "--all-pods", "--", "ss", "-s"];

fn lines(left: &Left) -> BTreeSet<String> {
    String::from_utf8_lossy(&left.stdout).lines().map(str::to_owned).collect()
}

fn set<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.into_iter().map(str::to_owned).collect()
}

#[test]
fn all_pods_of_a_workload_say_their_lines_behind_their_names() {
    let server = web(&[Answer::Says(b"one\ntwo\n", 0), Answer::Says(b"three", 0)]);
    let left = server.run(&ALL);
    assert_eq!((left.code, left.stderr.as_str()), (0, ""));
    assert_eq!(lines(&left), set(["web-0: one", "web-0: two", "web-1: three"]));
    let asked: Vec<_> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(asked.len(), 4, "one look-up, one list, and a session each: {asked:?}");
    assert_eq!(asked[1], format!("GET {PODS}?labelSelector=app%3Dweb&limit=500"));
}

#[test]
fn pods_that_are_named_are_not_looked_for() {
    let server = web(&[Answer::Says(b"a\n", 0), Answer::Says(b"b\n", 0)]);
    let left = server.run(&["web-0", "pod/web-1", "web-0", "--", "ps"]);
    assert_eq!((left.code, left.stderr.as_str()), (0, ""));
    assert_eq!(lines(&left), set(["web-0: a", "web-1: b"]));
    assert_eq!(server.asked().len(), 2, "each once");
}

#[test]
fn a_selector_finds_pods_of_one_namespace_or_of_all() {
    let server = web(&[Answer::Says(b"a\n", 0), Answer::Says(b"b\n", 0)]);
    session(&server, "test", "web-0", Answer::Says(b"c\n", 0));
    let everywhere = [pod("shop", "web-0", "Running"), pod("test", "web-0", "Running")];
    list(&server, "/api/v1/pods", &everywhere);
    let left = server.run(&["-l", "app in (web)", "--", "ps"]);
    assert_eq!((left.code, lines(&left)), (0, set(["web-0: a", "web-1: b"])));
    let first = server.asked().swap_remove(0).line;
    assert_eq!(first, format!("GET {PODS}?labelSelector=app%20in%20%28web%29&limit=500"));
    let left = server.run(&["-A", "--field-selector", "spec.nodeName=n1", "--", "ps"]);
    assert_eq!((left.code, lines(&left)), (0, set(["shop/web-0: a", "test/web-0: c"])));
    let left = server.run(&["-A", "-l", "app", "--prefix", "container", "--", "ps"]);
    assert_eq!(lines(&left), set(["shop/web-0/app: a", "test/web-0/app: c"]));
    let left = server.run(&["-A", "-l", "app", "--color", "always", "--", "ps"]);
    assert!(lines(&left).contains("\u{1b}[36mshop/web-0\u{1b}[0m: a"), "{:?}", lines(&left));
}

#[test]
fn pages_are_read_to_the_end_and_too_many_pods_are_not_entered() {
    let server = ApiServer::start();
    let page = json!({"metadata": {"continue": "a/b"}, "items": [pod("shop", "web-0", "Running")]});
    server.answer(PODS, Answer::Pages(vec![
        page.clone(),
        page,
        json!({"metadata": {}, "items": [pod("shop", "web-1", "Running"), pod("shop", "web-2", "Running")]}),
    ]));
    let left = server.run(&["-l", "app=web", "--max-pods", "1", "--", "ps"]);
    assert_eq!(left.code, 2);
    let said = "error: 3 pods are meant, and at most 1 are entered with one command: nothing was done\n\
                hint: --max-pods COUNT allows more\n";
    assert_eq!((left.stderr.as_str(), left.stdout.len()), (said, 0));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].line.ends_with("&limit=500&continue=a%2Fb"), "{}", asked[1].line);
}

#[test]
fn one_pod_of_a_selector_has_a_plain_session() {
    let server = web(&[Answer::Says(b"\0binary", 7)]);
    let left = server.run(&["-l", "app=web", "--", "ps"]);
    assert_eq!((left.code, &left.stdout[..]), (7, &b"\0binary"[..]));
    assert!(left.stderr.starts_with("using pod/web-0\nDefaulted container"), "{}", left.stderr);
}

#[test]
fn the_rest_waits_and_is_told_and_nothing_is_ended_for_it() {
    let server = web(&[const { Answer::Says(b"x\n", 0) }; 5]);
    let left = server.run(&[&["--max-concurrent", "2"], &ALL[..]].concat());
    assert_eq!((left.code, lines(&left).len()), (0, 5));
    assert_eq!(left.stderr, "note: 2 of 5 run; 3 wait (--max-concurrent)\n");
    assert!(server.most_open() <= 2, "{} at once", server.most_open());
    assert_eq!(server.run(&[&["-q", "--max-concurrent", "2"], &ALL[..]].concat()).stderr, "");
}

#[test]
fn a_pod_that_its_agent_has_no_room_for_is_asked_again() {
    let server = web(&[Answer::Says(b"x\n", 0), Answer::NoRoom(1)]);
    let left = server.run(&ALL);
    assert_eq!((left.code, left.stderr.as_str()), (0, ""));
    assert_eq!(lines(&left), set(["web-0: x", "web-1: after all"]));
    let server = web(&[Answer::Says(b"x\n", 0), Answer::NoRoom(100)]);
    let left = server.run(&ALL);
    assert_eq!(left.code, 125, "not for ever: {}", left.stderr);
    assert!(
        left.stderr.contains("web-1: error: Error from server (TooManyRequests)"),
        "{}",
        left.stderr
    );
}

#[test]
fn the_exit_code_is_the_common_one_or_says_that_they_differ() {
    let says = |code| Answer::Says(b"x\n", code);
    assert_eq!(web(&[says(7), says(7)]).run(&ALL).code, 7);
    let left = web(&[says(0), says(0), says(7)]).run(&ALL);
    let said = "note: 3 pods: 2 exited with 0, 1 exited with 7 (web-2)\n";
    assert_eq!((left.code, left.stderr.as_str()), (123, said));
}

#[test]
fn a_pod_that_is_refused_or_gone_says_why_and_the_others_go_on() {
    let server = web(&[
        Answer::Says(b"x\n", 0),
        refusal(403, "Forbidden", "User \"jane\" cannot get\nhint: lies"),
        refusal(404, "NotFound", "pods \"web-2\" not found"),
    ]);
    let left = server.run(&ALL);
    assert_eq!((left.code, lines(&left)), (125, set(["web-0: x"])));
    let said: BTreeSet<_> = left.stderr.lines().map(str::to_owned).collect();
    let expected = set([
        "web-1: error: Error from server (Forbidden): User \"jane\" cannot get hint: lies",
        "web-2: error: Error from server (NotFound): pods \"web-2\" not found",
        "note: 3 pods: 2 failed, 1 exited with 0 (web-0)",
        "hint: `kubectl nsdebug doctor` says which rights are missing",
    ]);
    assert_eq!(said, expected);
}

#[test]
fn fail_fast_ends_the_others_and_begins_no_more() {
    let server = web(&[Answer::GoesOn, Answer::Says(b"x\n", 3), Answer::GoesOn]);
    let words = [&["--fail-fast", "--max-concurrent", "2"], &ALL[..]].concat();
    let left = server.run(&words);
    assert_eq!(left.code, 3, "{}", left.stderr);
    assert!(
        left.stderr.ends_with("note: 3 pods: 2 ended, 1 exited with 3 (web-1)\n"),
        "{}",
        left.stderr
    );
}

#[test]
fn the_first_ctrl_c_ends_all_sessions_and_says_what_they_were() {
    let server = web(&[const { Answer::GoesOn }; 3]);
    let words = [&["--max-concurrent", "2"], &ALL[..]].concat();
    let mut child = server.command(&words).spawn().expect("the program");
    let mut begun = [0; "web-0: begun\n".len() * 2];
    child.stdout.as_mut().expect("stdout").read_exact(&mut begun).expect("two have begun");
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    let left = left(child);
    assert_eq!(left.code, 125, "one never began: {}", left.stderr);
    assert!(
        left.stderr.ends_with("note: 3 pods: 2 exited with 130, 1 not begun (web-2)\n"),
        "{}",
        left.stderr
    );
}

/// Ends `child` by two signals while nobody reads its stdout, and returns its exit code.
fn ended_unread(mut child: std::process::Child) -> Option<i32> {
    let mut first = [0; 4];
    child.stdout.as_mut().expect("stdout").read_exact(&mut first).expect("one has begun");
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("a signal");
    child.wait().expect("an exit status").code()
}

#[test]
fn the_second_signal_ends_the_command_though_nobody_reads_its_output() {
    let much = Answer::Says("0123456\n".repeat(1 << 20).leak().as_bytes(), 0);
    let server = web(&[much.clone(), much]);
    for form in ["text", "json"] {
        let child = server.command(&[&["-o", form], &ALL[..]].concat()).spawn();
        assert_eq!(ended_unread(child.expect("the program")), Some(130), "{form}");
    }
}

/// What is left of the program with `words`, whose stdin is `input`.
fn fed(server: &ApiServer, words: &[&str], input: &[u8]) -> Left {
    let mut command = server.command(words);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("stdin");
    // It may be more than is read.
    let _ = stdin.write_all(input);
    drop(stdin);
    left(child)
}

#[test]
fn stdin_is_copied_to_each_pod_up_to_a_limit() {
    let server = web(&[Answer::Echoes, Answer::Echoes]);
    let words = [&["--stdin-copy", "-o", "fold"], &ALL[..]].concat();
    let left = fed(&server, &words, b"one\ntwo\n");
    let folded = "2 pods, all alike:\n  one\n  two\n";
    assert_eq!((left.code, String::from_utf8_lossy(&left.stdout).as_ref()), (0, folded));
    let words = [&["--stdin-copy", "-o", "json"], &ALL[..]].concat();
    let most = vec![b'\n'; 1 << 20];
    let left = fed(&server, &words, &most);
    let bytes = String::from_utf8(left.stdout).expect("JSON");
    assert_eq!(bytes.matches("\"bytes\":1048576").count(), 2);
    let before = server.asked().len();
    let left = fed(&server, &words, &[&most[..], b"x"].concat());
    assert_eq!((left.code, server.asked().len()), (125, before));
    assert!(left.stderr.contains("stdin has more than 1048576 bytes"), "{}", left.stderr);
}

#[test]
fn pods_that_appear_restart_and_go_are_followed_until_ctrl_c() {
    let server = web(&[Answer::Says(b"x\n", 0), Answer::Says(b"x\n", 0)]);
    let running = |name: &str, restarts: u8| {
        let mut pod = pod("shop", name, "Running");
        pod["metadata"]["uid"] = json!(name);
        pod["status"]["containerStatuses"] =
            json!([{"name": "app", "restartCount": restarts, "state": {"running": {}}}]);
        pod
    };
    let page = |items: Value| json!({"metadata": {"resourceVersion": "7"}, "items": items});
    let one = page(json!([running("web-0", 0)]));
    // One list to choose from, one to follow from, and one after the watch.
    server.answer(PODS, Answer::Pages(vec![one.clone(), one, page(json!([running("web-1", 0)]))]));
    let event = |kind: &str, pod: Value| json!({"type": kind, "object": pod});
    let mut waits = running("web-1", 0);
    waits["status"]["containerStatuses"][0]["state"] = json!({"waiting": {}});
    server.answer(
        &format!("{PODS}?watch"),
        Answer::Events(vec![
            event("ADDED", waits),
            event("MODIFIED", running("web-1", 0)),
            event("MODIFIED", running("web-0", 3)),
        ]),
    );
    let words = ["-l", "app=web", "--follow", "--", "ss"];
    let mut child = server.command(&words).spawn().expect("the program");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr"));
    let mut said = Vec::new();
    while !said.iter().any(|line: &String| line.contains("deleted")) {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "it goes on: {said:?}");
        said.push(line);
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    let left = left(child);
    assert_eq!(lines(&left), set(["web-0: x", "web-0 (restart 3): x", "web-1: x"]));
    assert_eq!(
        said,
        ["web-1: note: the pod is new\n", "web-0 (restart 3): note: the pod is deleted\n"]
    );
    assert_eq!(left.code, 0);
    let watch = server.asked().into_iter().find(|asked| asked.line.contains("watch=true"));
    assert!(watch.expect("a watch").line.contains("&resourceVersion=7"));
}

#[test]
fn pods_that_are_followed_and_wait_are_announced() {
    let server = web(&[Answer::GoesOn, Answer::GoesOn]);
    let running = |name: &str| {
        let mut pod = pod("shop", name, "Running");
        pod["metadata"]["uid"] = json!(name);
        pod["status"]["containerStatuses"] =
            json!([{"name": "app", "restartCount": 0, "state": {"running": {}}}]);
        pod
    };
    let items = json!([running("web-0"), running("web-1"), running("web-2")]);
    let page = json!({"metadata": {"resourceVersion": "7"}, "items": items});
    server.answer(PODS, Answer::Pages(vec![page]));
    server.answer(&format!("{PODS}?watch"), Answer::Events(Vec::new()));
    let words = ["-l", "app=web", "--follow", "--max-concurrent", "1", "--", "ss"];
    let mut child = server.command(&words).spawn().expect("the program");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr"));
    let mut said = String::new();
    stderr.read_line(&mut said).expect("text");
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    assert_eq!(said, "note: 1 of 3 run; 2 wait (--max-concurrent)\n");
    assert_eq!(left(child).code, 125, "two never began");
}

#[test]
fn binary_output_of_several_pods_is_refused() {
    let server = web(&[Answer::Says(b"\x7fELF\0", 0), Answer::GoesOn]);
    let left = server.run(&ALL);
    assert_eq!(left.code, 125, "{}", left.stderr);
    assert!(left.stderr.contains("web-0: error: binary output of several pods"), "{}", left.stderr);
    assert!(
        left.stderr.ends_with("hint: --output-dir DIR writes a file for each pod\n"),
        "{}",
        left.stderr
    );
}

#[test]
fn words_that_do_not_fit_many_pods_are_refused() {
    let server = web(&[Answer::Says(b"", 0), Answer::Says(b"", 0)]);
    for (words, said) in [
        (&["a", "b", "--agent", "unix:/x", "--", "ps"][..], "with --agent one target is entered"),
        (&["-l", "a", "--agent", "unix:/x", "--", "ps"], "--selector cannot be used with --agent"),
        (&["a", "b"], "a shell needs one pod"),
        (&["a", "ps"], "hint: what stands before `--` are targets; the command goes after it"),
        (&["a", "ps", "-ef"], "the command goes after `--`, with its own flags"),
        (&["a", "--time", "5s", "--", "ps"], "'--timeout'"),
        (&["a", "b", "-t", "--", "top"], "--tty needs one pod"),
        (&["a", "b", "-i", "--", "cat"], "--stdin needs one pod"),
        (&["a", "-A", "--", "ps"], "--all-namespaces needs --selector"),
        (&["-l", "a", "-A", "-n", "shop", "--", "ps"], "cannot be given together"),
        (&["a", "--all-pods", "--", "ps"], "without a workload"),
        (&["doctor", "deploy/web", "--all-pods"], "--all-pods has no effect with `doctor`"),
        (&["top", "--", "ps"], "a pod of this name is written `pod/top`"),
        (&["a", "capture", "--", "ps"], "`capture` is a reserved word"),
        (&["a", "doctor"], "a command comes first"),
        (&["a", "-o", "json"], "a shell needs one pod"),
        (
            &["a", "-o", "json", "--agent", "unix:/x", "--", "ps"],
            "--output cannot be used with --agent",
        ),
        (&["-o", "json", "doctor", "a"], "--output has no effect with `doctor`"),
        (&["a", "b", "-o", "json", "--output-dir", "x", "--", "ps"], "cannot be used with"),
        (&["a", "--follow", "--", "ps"], "--follow needs --selector"),
        (&["a", "b", "--ignore", "(", "--", "ps"], "--ignore"),
        (&["a", "node/n1", "-c", "app", "--", "ps"], "--container needs a pod"),
        (&["a", "container/0123abcd", "--", "ps"], "needs --agent"),
    ] {
        let left = server.run(words);
        assert_eq!(left.code, 2, "{words:?}: {}", left.stderr);
        assert!(left.stderr.contains(said), "{words:?}: {}", left.stderr);
    }
    assert_eq!(server.asked().len(), 0);
}
