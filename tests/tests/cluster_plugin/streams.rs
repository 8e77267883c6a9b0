//! What flows through `kubectl nsdebug`: into a tool, out of it, and between two terminals.

use harness::{Cluster, Running, Terminal, run};
use rustix::process::Signal;

/// Enough to meet processes that are about to end, several times.
const BESIDE: usize = 100;
/// More than any pipe or window on the way holds.
const PIPED: usize = 8 << 20;

#[test]
fn a_capture_is_read_while_it_is_made() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let traffic = "while :; do curl -s 127.0.0.1:8080; sleep 0.1; done";
    let mut client = cluster.plugin();
    client.args(["-n", "shop", "pod/api", "--", "sh", "-c", traffic]);
    let client = Running::start(&mut client);
    client.wait_for_stdout("hello from the container");
    let capture = "kubectl nsdebug -n shop pod/api -- tcpdump -i any -c 5 -w - | tcpdump -nn -r -";
    let read = run(cluster.command("sh").args(["-c", capture])).expect_success();
    assert_eq!(read.out().matches(" IP 127.0.0.1.").count(), 5, "{read}");
    assert!(read.err().contains("5 packets captured"), "{read}");
}

#[test]
fn a_capture_that_is_interrupted_is_whole_and_counted() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let mut capture = cluster.plugin();
    capture.args(["-n", "shop", "pod/api", "--", "tcpdump", "-i", "lo", "-w", "-", "port", "9"]);
    let capture = Running::start(&mut capture);
    capture.wait_for_stderr("listening on lo");
    capture.signal(Signal::INT);
    let ended = capture.finish().expect_success();
    assert_eq!(ended.stdout.len(), 24, "the head of a file, which tcpdump holds back: {ended}");
    assert!(ended.err().contains("0 packets captured"), "{ended}");
    let timed =
        ["-n", "shop", "pod/api", "--timeout", "5s", "--", "tcpdump", "-i", "lo", "port", "9"];
    let timed = cluster.nsdebug(&timed).expect_code(125);
    assert!(timed.err().contains("0 packets captured"), "{timed}");
    assert!(timed.err().contains("the session was ended after 5s (--timeout)"), "{timed}");
}

#[test]
fn a_pipe_reaches_the_tool_to_its_end() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let mut count = cluster.plugin();
    count.args(["-n", "shop", "pod/api", "-i", "--", "wc", "-c"]);
    let mut count = Running::start(&mut count);
    assert!(count.write(&vec![b'x'; PIPED]), "{}", count.stderr());
    assert_eq!(count.finish().expect_success().out(), format!("{PIPED}\n"));
    let back =
        format!("head -c {PIPED} /dev/zero | kubectl nsdebug -n shop pod/api -i -- cat | wc -c");
    let back = run(cluster.command("sh").args(["-c", &back])).expect_success();
    assert_eq!(back.out(), format!("{PIPED}\n"), "{back}");
}

#[test]
fn a_shell_is_as_large_as_its_window_and_ends_as_it_is_told() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let mut shell = cluster.plugin();
    shell.args(["-n", "shop", "pod/api", "-it", "--", "bash"]);
    let mut terminal = Terminal::start(&shell, 31, 101);
    let before = terminal.settings();
    terminal.press("echo size=$(stty size)\r");
    terminal.wait_for("size=31 101");
    terminal.resize(41, 121);
    // The new size comes by another way than keys: the shell asks until it is there.
    terminal.press("until [ \"$(stty size)\" = '41 121' ]; do :; done; echo now=$(stty size)\r");
    terminal.wait_for("now=41 121");
    // A shell that waits for one long command would not hear a key that came just before that began.
    let script = "trap 'echo was interrupted; exit' INT; echo begun-$((40 + 1)); \
                  while :; do sleep 0.05; done";
    terminal.press(&format!("sh -c \"{}\"\r", script.replace('$', "\\$")));
    terminal.wait_for("begun-41");
    terminal.press("\x03");
    terminal.wait_for("was interrupted\r\n");
    terminal.press("hostname; exit 3\r");
    let raw = terminal.settings();
    let (code, shown) = terminal.finish();
    assert_eq!(code, 3, "{shown}");
    assert!(shown.contains("api"), "{shown}");
    assert_ne!(before, raw, "keys go to the tool one by one");
}

#[test]
fn a_session_opens_beside_one_whose_processes_come_and_go() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let mut busy = cluster.plugin();
    let forks = "while :; do curl -s 127.0.0.1:8080; done";
    busy.args(["-n", "shop", "pod/api", "--", "sh", "-c", forks]);
    let busy = Running::start(&mut busy);
    busy.wait_for_stdout("hello from the container");
    for _ in 0..BESIDE {
        cluster.nsdebug(&["-n", "shop", "pod/api", "--", "true"]).expect_success();
    }
    assert!(!busy.has_ended(), "{}", busy.stderr());
}
