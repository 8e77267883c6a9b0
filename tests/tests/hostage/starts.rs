//! Sessions whose tool acts before its supervisor has said that it runs: their start is not completed, and nothing of
//! them stays.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use harness::{Client, Listener, run, until};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::site::{LIMIT, Site, hangers, held_up, on_site, wait_for_locks};

/// A tool that comes too late is tried again.
const ATTEMPTS: usize = 20;

/// Two sessions at once, and no more.
const TWO: [[&str; 2]; 1] = [["--max-sessions", "2"]];

/// Has the next tool go on when it runs, before its supervisor hears of that: on one processor, and where nobody
/// who wakes up goes first.
fn let_the_tool_be_first(site: &Site<'_>) {
    let helper = site.spare_helper();
    run(Command::new("chrt").args(["--batch", "--pid", "0", &helper.to_string()])).expect_success();
    let ours = sched_getaffinity(Pid::this()).expect("our processors");
    let first = (0..CpuSet::count()).find(|cpu| ours.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(first.expect("one to run on")).expect("a number of one");
    sched_setaffinity(Pid::from_raw(helper.try_into().expect("a number")), &one)
        .expect("an own helper");
}

fn path(mode: &str) -> String {
    format!(
        "/v1/containers/web-1/exec?command=hanger&command={mode}&stdin=1&stdout=1&stderr=1&profile=general"
    )
}

/// An attempt has given its place back: one of two is taken here, and the other one is another's.
fn until_over(site: &Site<'_>) {
    until("the tool to be gone", LIMIT, || hangers().is_empty());
    let waits = || {
        let path = "/v1/containers/web-1/exec?command=hanger&command=stdin&stdin=1&stdout=1&profile=general";
        Client::open(site.agent.connect(Listener::Unix), path, "v5.channel.k8s.io").ok()
    };
    let mut both = Vec::new();
    until("both places to be free", LIMIT, || {
        both.extend(waits());
        both.len() == 2
    });
    drop(both);
    until("the tool to be gone", LIMIT, || hangers().is_empty() && site.agent.has_no_session());
}

/// Nothing of the session is left, and of two places both are free.
fn assert_all_is_free(site: &Site<'_>) {
    until("the tool to be gone", LIMIT, || hangers().is_empty());
    until("nothing to be left", LIMIT, || site.agent.has_no_session());
    assert_eq!(site.sessions().len(), 0);
    let mut one = site.hang("general", "stdin");
    one.wait_for_stdout("waits");
    site.assert_others_work();
    drop(one);
    until("the tool to be gone", LIMIT, || hangers().is_empty() && site.agent.has_no_session());
}

#[test]
fn a_start_that_is_abandoned_while_the_tool_holds_its_relay_frees_its_place() {
    on_site(&TWO, |site| {
        let is_abandoned = (0..ATTEMPTS).any(|_| {
            let_the_tool_be_first(&site);
            let mut stream = UnixStream::connect(site.agent.socket()).expect("it listens");
            let upgrade = "Host: agent\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                           Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";
            write!(stream, "GET {} HTTP/1.1\r\n{upgrade}", path("early")).expect("it listens");
            wait_for_locks(1);
            stream.set_nonblocking(true).expect("an open socket");
            let answer = stream.read(&mut [0]).map_err(|error| error.kind());
            drop(stream);
            let unanswered = answer == Err(ErrorKind::WouldBlock);
            if unanswered {
                until("the relay to be held up", LIMIT, || held_up(&site.agent).len() == 1);
                site.assert_others_work();
            }
            until_over(&site);
            unanswered
        });
        assert!(is_abandoned, "every start was over before the tool did anything");
        assert_all_is_free(&site);
    });
}

#[test]
fn a_start_that_is_forged_as_failed_while_the_tool_holds_its_relay_frees_its_place() {
    on_site(&TWO, |site| {
        let is_forged = (0..ATTEMPTS).any(|_| {
            let_the_tool_be_first(&site);
            let stream = site.agent.connect(Listener::Unix);
            let refusal = Client::open(stream, &path("early-failed"), "v5.channel.k8s.io").err();
            if let Some(answer) = &refusal {
                assert!(answer.message().contains("cannot start the session"), "{answer:?}");
                until("the relay to be held up", LIMIT, || held_up(&site.agent).len() == 1);
                site.assert_others_work();
            }
            until_over(&site);
            refusal.is_some()
        });
        assert!(is_forged, "every start was over before the tool said anything");
        assert_all_is_free(&site);
    });
}
