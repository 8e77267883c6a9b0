//! Packet rings: memory of the node that no control group is charged for, within what a session may have.

use std::fmt::Write as _;
use std::path::Path;

use harness::session_process::{BROKER, SUPERVISOR, is_called};
use harness::{Container, Finished, Running, until};
use rustix::process::Signal;

use crate::stage::{Stage, on_site};

/// Of 256 MiB, rings of 16 MiB that fit: each takes a little more than its blocks.
const FIT: usize = 15;

fn rings(stage: &Stage, site: &Container<'_>, what: &str) -> Finished {
    stage.session(site, "general", &["rings", what]).expect_success()
}

fn expect(said: &Finished, lines: &[&str]) {
    let mut expected = String::new();
    for line in lines {
        writeln!(expected, "{line}").expect("text");
    }
    assert_eq!(said.out(), expected, "{said}");
}

#[test]
fn a_session_s_rings_together_are_no_more_than_its_memory() {
    on_site(|stage, site| {
        let kinds = ["v1-receive", "v1-send", "v2-receive", "v2-send", "v3-receive", "v3-send"];
        let said = rings(stage, site, "many");
        let lines: Vec<_> = kinds.into_iter().chain(["both", "again"]).collect();
        let lines: Vec<_> = lines.iter().map(|kind| format!("{kind} {FIT} ENOMEM")).collect();
        expect(&said, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        // Of netadmin it holds as well, and of a session with less memory for less.
        let said = stage.session(site, "netadmin", &["rings", "many"]).expect_success();
        assert!(said.out().contains(&format!("v3-receive {FIT} ENOMEM")), "{said}");
        let mut command = stage.exec(site, &["--session-memory", "64Mi"]);
        let said = harness::run(command.args(["--", "rings", "many"])).expect_success();
        assert!(said.out().contains("v2-receive 3 ENOMEM"), "{said}");
    });
}

/// 512 blocks of five pages are 10 MiB to who asks and 16 MiB to the node.
#[test]
fn what_the_node_gives_is_what_counts() {
    on_site(|stage, site| {
        expect(&rings(stage, site, "blocks"), &[&format!("five-pages {FIT} ENOMEM")]);
    });
}

/// Whatever user the tool is, and whichever processes it sees.
#[test]
fn memory_is_given_back_by_the_last_who_had_it() {
    on_site(|stage, site| {
        for options in [&[][..], &["--run-as", "65533"], &["--namespaces", "net"]] {
            let mut command = stage.exec(site, options);
            let said = harness::run(command.args(["--", "rings", "back"])).expect_success();
            expect(
                &said,
                &[
                    "first done",
                    "beside-it ENOMEM",
                    "beside-its-twin ENOMEM",
                    "freed-while-mapped EBUSY",
                    "beside-its-map ENOMEM",
                    "after-all done",
                    "third done",
                    "third-again ENOMEM",
                    "third-freed done",
                    "after-freed done",
                ],
            );
        }
        expect(&rings(stage, site, "given"), &["first done", "on-its-way ENOMEM", "lost done"]);
    });
}

#[test]
fn a_request_that_changes_while_it_is_judged_gets_what_was_judged() {
    on_site(|stage, site| {
        expect(&rings(stage, site, "flip"), &["flipped small=true large=0 refused=true"]);
    });
}

#[test]
fn processes_and_threads_of_a_session_share_what_it_may_have() {
    on_site(|stage, site| {
        let mut command = stage.exec(site, &["--profile", "general", "-i"]);
        let mut crowd = Running::start(command.args(["--", "rings", "crowd"]));
        let made = |text: &str| -> Vec<usize> {
            text.lines().filter_map(|line| line.strip_prefix("made ")?.parse().ok()).collect()
        };
        until("all to have asked", std::time::Duration::from_secs(60), || {
            made(&crowd.stdout()).len() == 6
        });
        assert!(crowd.write(b"\n"));
        let said = crowd.finish().expect_success();
        assert_eq!(made(&said.out()).iter().sum::<usize>(), FIT, "{said}");
    });
}

#[test]
fn what_would_keep_a_ring_or_does_without_is_not_there() {
    on_site(|stage, site| {
        expect(
            &rings(stage, site, "kept"),
            &[
                "vmsplice EPERM",
                "zerocopy ENOPROTOOPT",
                "receive-past-all ENOPROTOOPT",
                "send-past-all ENOPROTOOPT",
                "fanout ENOPROTOOPT",
                "vsock EAFNOSUPPORT",
                "alg EAFNOSUPPORT",
                "xdp EAFNOSUPPORT",
                "usersock EPROTONOSUPPORT",
                "route done",
            ],
        );
    });
}

#[test]
fn a_request_that_makes_no_sense_is_answered_as_by_the_kernel() {
    on_site(|stage, site| {
        expect(
            &rings(stage, site, "answers"),
            &[
                "no-descriptor EBADF",
                "no-socket ENOTSOCK",
                "other-socket ENOPROTOOPT",
                "no-memory EFAULT",
                "too-short EINVAL",
                "negative EINVAL",
                "no-blocks EINVAL",
                "high-bits done",
                "high-bits-too-much ENOMEM",
                "other-thread done",
            ],
        );
    });
}

/// libpcap asks for less, as on a node that has no more.
#[test]
fn tcpdump_captures_with_the_ring_that_it_gets() {
    on_site(|stage, site| {
        for buffer in ["2048", "131072", "1048576"] {
            let mut command = stage.exec(site, &["--profile", "general", "--"]);
            command.args(["tcpdump", "-n", "-i", "lo", "-c", "4", "-B", buffer]);
            let capture = Running::start(&mut command);
            capture.wait_for_stderr("listening on lo");
            harness::request(site.pid(), "/");
            let said = capture.finish().expect_success();
            assert!(said.err().contains("4 packets captured"), "-B {buffer}: {said}");
        }
    });
}

/// Processes of that name on the node.
fn brokers() -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| is_called(*pid, BROKER)).collect()
}

/// Those of sessions that run below the process `agent`.
fn brokers_below(agent: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let is_below = |pid: &u32| {
        std::iter::successors(Some(*pid), |pid| parent(*pid)).any(|above| above == agent)
    };
    brokers().into_iter().filter(is_below).collect()
}

fn broker_below(agent: u32) -> u32 {
    let found = brokers_below(agent);
    assert_eq!(found.len(), 1, "brokers of one session");
    found[0]
}

fn holding(stage: &Stage, site: &Container<'_>) -> Running {
    let mut command = stage.exec(site, &["--profile", "general", "-i"]);
    let running = Running::start(command.args(["--", "rings", "hold"]));
    running.wait_for_stdout("holding done");
    running
}

fn gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_broker_holds_nothing_but_the_power_over_its_tool_and_ends_with_it() {
    on_site(|stage, site| {
        let running = holding(stage, site);
        let broker = broker_below(running.pid());
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{broker}/{file}")).expect("it lives")
        };
        let status = read("status");
        for line in ["CapPrm:\t0000000000080000", "CapEff:\t0000000000080000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "no {line:?}: {status}");
        }
        let bounding = "CapBnd:\t0000000000080000";
        assert!(status.contains(bounding), "{status}");
        let open = || {
            let folder = std::fs::read_dir(format!("/proc/{broker}/fd")).expect("its descriptors");
            let links = folder.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            let mut open: Vec<_> = links.map(|link| link.to_string_lossy().into_owned()).collect();
            open.sort();
            open
        };
        // The tool may have its answer before the broker lets go of what it has answered with.
        let moment = std::time::Duration::from_secs(5);
        until("it to hold what it keeps", moment, || open().len() == 6);
        assert_eq!(open()[..3], ["/dev/null"; 3]);
        // Nobody in the target's pid namespace sees it.
        let seen = stage.session(site, "general", &["ps", "-e"]).expect_success();
        assert!(seen.out().contains(SUPERVISOR) && !seen.out().contains(BROKER), "{seen}");
        running.finish().expect_success();
        until("the broker to be gone", std::time::Duration::from_secs(5), || gone(broker));
    });
}

#[test]
fn a_broker_that_is_killed_leaves_a_tool_that_is_refused_and_ends() {
    on_site(|stage, site| {
        let mut command = stage.exec(site, &["--profile", "general", "-i"]);
        let script = "rings hold; rings answers";
        let mut running = Running::start(command.args(["--", "sh", "-c", script]));
        running.wait_for_stdout("holding done");
        let broker = broker_below(running.pid());
        harness::Process::open(broker).expect("it lives").signal(Signal::KILL);
        until("the broker to be gone", std::time::Duration::from_secs(5), || {
            let stat = std::fs::read_to_string(format!("/proc/{broker}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z")
        });
        assert!(running.write(b"\n"));
        let said = running.finish().expect_success();
        assert!(said.out().contains("high-bits ENOSYS"), "{said}");
        assert!(said.out().contains("other-thread ENOSYS"), "{said}");
    });
}

#[test]
fn a_session_that_is_killed_leaves_no_broker() {
    on_site(|stage, site| {
        for options in [&[][..], &["--no-session-cgroup"]] {
            let mut command = stage.exec(site, options);
            let running = Running::start(command.args(["-i", "--", "rings", "hold"]));
            running.wait_for_stdout("holding done");
            let broker = broker_below(running.pid());
            running.signal(Signal::KILL);
            until("the broker to be gone", std::time::Duration::from_secs(10), || gone(broker));
        }
    });
}

#[test]
fn profiles_that_capture_nothing_have_no_broker() {
    on_site(|stage, site| {
        for profile in ["restricted", "baseline"] {
            let session = stage.waiting(site, &["--profile", profile]);
            // One was started before it was known that nobody needs it.
            let moment = std::time::Duration::from_secs(5);
            until("no broker", moment, || brokers_below(session.pid()).is_empty());
            session.finish().expect_success();
        }
    });
}
