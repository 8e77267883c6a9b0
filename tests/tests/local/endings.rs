//! How a session ends, as its caller's shell sees it, and what passes through until then.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use harness::{RunSpec, Running, run};
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::stage::Stage;

#[test]
fn the_exit_code_is_the_tools_or_says_why_there_was_none() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("end-codes"));
    let plain = stage.file("not-a-program");
    std::fs::write(&plain, "text").expect("a file in an own folder");
    let lost = stage.file("lost-interpreter");
    std::fs::write(&lost, "#!/no/such/interpreter\n").expect("a file in an own folder");
    run(Command::new("chmod").args(["+x", &lost])).expect_success();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["true"], 0, ""),
        (&["sh", "-c", "exit 7"], 7, ""),
        (&["sh", "-c", "kill -9 $$"], 137, ""),
        (&["sh", "-c", "kill -15 $$"], 143, ""),
        (&["/etc"], 126, "error: `/etc` is a directory\n"),
        (&[&plain], 126, "error: cannot execute `"),
        (&[&lost], 126, "exists, but the interpreter or loader that it names does not"),
        (
            &["no-such-tool"],
            127,
            "error: there is no `no-such-tool` on this node; looked in /sbin:/bin\n",
        ),
        (&["/no/such/tool"], 127, "error: there is no file `/no/such/tool` on this node\n"),
    ];
    for (tool, code, words) in cases {
        let done = run(stage.session(container.id(), &[], tool).env("PATH", "/sbin:/bin"));
        let done = done.expect_code(code);
        assert!(done.err().contains(words), "{words:?} is not said: {done}");
        assert_eq!(done.err().is_empty(), words.is_empty(), "{done}");
    }
}

#[test]
fn stdin_reaches_the_tool_with_its_end_and_only_when_asked_for() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("end-stdin"));
    let mut cat = Running::start(&mut stage.session(container.id(), &["-i"], &["cat"]));
    assert!(cat.write(b"one\n"));
    cat.wait_for_stdout("one\n");
    assert!(cat.write(b"two\n"));
    // Its end is all that ends the tool.
    let done = cat.finish().expect_success();
    assert_eq!(done.out(), "one\ntwo\n", "{done}");
    let mut unasked = Running::start(&mut stage.session(container.id(), &[], &["cat"]));
    unasked.write(b"for nobody\n");
    let done = unasked.finish().expect_success();
    assert_eq!(done.out(), "", "{done}");
}

#[test]
fn bytes_are_neither_changed_nor_mixed() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("end-bytes"));
    let every_byte: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let mut cat = Running::start(&mut stage.session(container.id(), &["-i"], &["cat"]));
    assert!(cat.write(&every_byte));
    let done = cat.finish().expect_success();
    assert_eq!(
        Sha256::digest(&done.stdout),
        Sha256::digest(&every_byte),
        "{} bytes",
        done.stdout.len()
    );
    let script = "printf '\\377\\000\\r\\n'; printf '\\000\\001\\004' >&2";
    let done = run(&mut stage.session(container.id(), &[], &["sh", "-c", script])).expect_success();
    assert_eq!((&done.stdout[..], &done.stderr[..]), (&b"\xff\0\r\n"[..], &b"\0\x01\x04"[..]));
    let lines = ["seq", "1", "200000"];
    let done = run(&mut stage.session(container.id(), &[], &lines)).expect_success();
    assert!(done.out().ends_with("\n199999\n200000\n"));
    assert_eq!(done.out().lines().count(), 200_000);
}

#[test]
fn arguments_arrive_as_they_are_however_many_and_whatever_they_hold() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("end-arguments"));
    let mut many =
        stage.session(container.id(), &[], &["sh", "-c", "echo $# $10000 ${10000}", "sh"]);
    let done = run(many.args((1..=10_000).map(|number| number.to_string()))).expect_success();
    assert_eq!(done.out(), "10000 10000 10000\n", "{done}");
    let odd = b"\xff\xfe \x1b[2J 'quoted' \"$HOME\" -t -- \\n\n";
    let mut printf = stage.session(container.id(), &[], &["printf", "%s"]);
    let done = run(printf.arg(OsStr::from_bytes(odd)).arg("")).expect_success();
    assert_eq!(done.stdout, odd, "{done}");
    let mut tool = stage.session(container.id(), &[], &["sh", "-c", "printf %s \"$ODD\""]);
    let done = run(tool.env("ODD", OsStr::from_bytes(b"\xff=\xfe"))).expect_success();
    assert_eq!(done.stdout, b"\xff=\xfe", "the environment: {done}");
}

#[test]
fn signals_to_the_command_are_passed_on_to_the_tool() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("end-signals"));
    let started = |script: &str| {
        let tool = ["sh", "-c", script];
        let session = Running::start(&mut stage.session(container.id(), &[], &tool));
        session.wait_for_stdout("ready");
        session
    };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let session = started("echo ready; exec sleep 600");
        session.signal(signal);
        session.finish().expect_code(code);
    }
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::USR1, "USR1")] {
        let trap = format!(
            "trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.01; done"
        );
        let session = started(&trap);
        session.signal(signal);
        let done = session.finish().expect_code(9);
        assert_eq!(done.out(), format!("ready\ngot {name}\n"), "{done}");
    }
}
