//! How the answers of many pods are shown: folded, as a table, as JSON, in files.

use serde_json::{Value, json};

use crate::api::{Answer, refusal};
use crate::many::{ALL, web};

#[test]
fn equal_answers_are_folded_and_the_others_differ_from_them() {
    let same = Answer::Says(b"Total: 212\nTCP: 41\n", 0);
    let answers = [
        same.clone(),
        Answer::Says(b"Total: 212\nTCP: 4127\n", 0),
        same,
        refusal(404, "NotFound", "gone"),
    ];
    let server = web(&answers);
    let words = [&["-o", "fold"], &ALL[..]].concat();
    let left = server.run(&words);
    let folded = "3 of 4 pods answered, 2 alike:\n  Total: 212\n  TCP: 41\nweb-1 differs:\n- TCP: 41\n+ TCP: 4127\n";
    assert_eq!((left.code, String::from_utf8_lossy(&left.stdout).as_ref()), (125, folded));
    assert!(
        left.stderr.starts_with("web-3: error: Error from server (NotFound): gone\n"),
        "{}",
        left.stderr
    );
    let words = [&["-o", "fold", "--ignore", "TCP: [0-9]+"], &ALL[..]].concat();
    let left = server.run(&words);
    let folded = "3 of 4 pods answered, all alike:\n  Total: 212\n  TCP: 41\n";
    assert_eq!(String::from_utf8_lossy(&left.stdout), folded);
}

#[test]
fn answers_that_are_longer_than_what_is_kept_are_compared_whole() {
    let long = |last: &str| {
        Answer::Says((("x".repeat(63) + "\n").repeat(8192) + last).leak().as_bytes(), 0)
    };
    let server = web(&[long("1\n"), long("1\n"), long("2\n")]);
    let left = server.run(&[&["-o", "fold"], &ALL[..]].concat());
    let text = String::from_utf8_lossy(&left.stdout);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[1].trim().len()), ("3 pods, 2 alike:", 63));
    let rest = "  … 393218 bytes more, which are not shown";
    assert_eq!(lines[lines.len() - 3..], [rest, "web-2 differs:", "  … in what is not shown"]);
}

#[test]
fn a_table_has_a_row_with_the_last_line_or_the_reason_of_each_pod() {
    let server = web(&[
        Answer::Says(b"Name Value\nListenDrops 812\n", 0),
        refusal(404, "NotFound", "pods \"web-1\" not found"),
    ]);
    let left = server.run(&[&["-o", "table"], &ALL[..]].concat());
    assert_eq!((left.code, left.stderr.as_str()), (125, ""));
    let table = String::from_utf8_lossy(&left.stdout).into_owned();
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["POD", "NODE", "EXIT", "TIME", "OUTPUT"]);
    assert_eq!(
        (&rows[1][..3], &rows[1][4..]),
        (&["web-0", "n1", "0"][..], &["ListenDrops", "812"][..])
    );
    assert_eq!(&rows[2][..3], ["web-1", "n1", "-"]);
    assert!(table.ends_with("Error from server (NotFound): pods \"web-1\" not found\n"), "{table}");
}

#[test]
fn json_has_each_line_and_a_last_one_of_each_pod() {
    let server = web(&[Answer::Says(b"one\n\xfftwo", 7), refusal(404, "NotFound", "gone")]);
    let left = server.run(&[&["-o", "json"], &ALL[..]].concat());
    assert_eq!((left.code, left.stderr.as_str()), (125, ""));
    let text = String::from_utf8(left.stdout).expect("JSON");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let of = |pod: &str| lines.iter().filter(|line| line["pod"] == pod).collect::<Vec<_>>();
    let [one, two, last] = of("web-0")[..] else { panic!("{text}") };
    let head = json!({"namespace": "shop", "pod": "web-0", "container": "app", "node": "n1"});
    let with = |key: &str, value: Value, line: &str| {
        let mut object = head.clone();
        object[key] = value;
        object["line"] = json!(line);
        object
    };
    assert_eq!(*one, with("stream", json!("stdout"), "one"));
    assert_eq!(*two, with("stream", json!("stdout"), "\u{fffd}two"));
    assert_eq!((&last["exit"], &last["bytes"], last["ms"].is_u64()), (&json!(7), &json!(8), true));
    let [refused] = of("web-1")[..] else { panic!("{text}") };
    assert_eq!((&refused["exit"], &refused["bytes"]), (&Value::Null, &json!(0)));
    assert_eq!(refused["error"], "Error from server (NotFound): gone");
}

#[test]
fn json_says_of_each_pod_that_did_not_end_by_itself_why() {
    let server = web(&[Answer::GoesOn, Answer::Says(b"x\n", 3), Answer::GoesOn]);
    let words = [&["-o", "json", "--fail-fast", "--max-concurrent", "2"], &ALL[..]].concat();
    let left = server.run(&words);
    let text = String::from_utf8(left.stdout).expect("JSON");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    for pod in ["web-0", "web-2"] {
        let last: Vec<_> =
            lines.iter().filter(|line| line["pod"] == pod && line["ms"].is_u64()).collect();
        let [last] = last[..] else { panic!("{pod} has one last line: {text}") };
        assert_eq!(last["exit"], Value::Null);
        assert_eq!(last["error"], "ended because another pod failed (--fail-fast)");
    }
}

#[test]
fn a_folder_has_the_bytes_of_each_pod_and_no_file_is_overwritten() {
    let server = web(&[Answer::Says(b"\x7fELF\0\n", 0), Answer::Says(b"", 0)]);
    let folder = server.directory.path().join("new/out");
    let words = ["--output-dir", folder.to_str().expect("text")];
    let left = server.run(&[&words, &ALL[..]].concat());
    assert_eq!((left.code, left.stderr.as_str(), left.stdout.len()), (0, "", 0));
    let read = |name: &str| std::fs::read(folder.join(name)).expect(name);
    assert_eq!(read("shop_web-0_app.out"), b"\x7fELF\0\n");
    assert_eq!((read("shop_web-0_app.err").len(), read("shop_web-1_app.out").len()), (0, 0));
    let again = server.run(&[&words, &ALL[..]].concat());
    assert_eq!(again.code, 125);
    assert!(again.stderr.contains("_app.out: File exists"), "{}", again.stderr);
}

#[test]
fn a_pod_that_is_asked_again_has_its_files_and_one_that_is_refused_has_none() {
    let server = web(&[
        Answer::Says(b"x\n", 0),
        Answer::NoRoom(1),
        refusal(403, "Forbidden", "no"),
        Answer::Says(b"y\n", 0),
    ]);
    let folder = server.directory.path().join("out");
    let left = server.run(&[&["--output-dir", folder.to_str().expect("text")], &ALL[..]].concat());
    let read = |name: &str| std::fs::read(folder.join(name)).ok();
    assert_eq!(read("shop_web-1_app.out").as_deref(), Some(&b"after all\n"[..]), "{}", left.stderr);
    assert_eq!(read("shop_web-3_app.out").as_deref(), Some(&b"y\n"[..]));
    assert_eq!((read("shop_web-2_app.out"), read("shop_web-2_app.err")), (None, None));
    assert!(left.stderr.contains("note: 4 pods: 3 exited with 0, 1 failed"), "{}", left.stderr);
}
