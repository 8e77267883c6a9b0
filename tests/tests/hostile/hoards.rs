//! What a tool could hold that others need, or leave behind that others pay for.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use harness::{Finished, run};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

use crate::stage::{PROFILES, on_site};

fn expect(said: &Finished, lines: &[&str]) {
    let said_lines: Vec<_> = said.out().lines().map(str::to_owned).collect();
    assert_eq!(said_lines, lines, "{said}");
}

/// Under every profile: also as root, whose the files of the tree are.
#[test]
fn nobody_is_kept_from_opening_a_file_of_the_tree() {
    on_site(|stage, site| {
        for profile in PROFILES {
            let said = stage.session(site, profile, &["hoard", "leases"]).expect_success();
            expect(
                &said,
                &[
                    "read-lease EINVAL",
                    "write-lease EINVAL",
                    "lease-held false",
                    "high-bits EINVAL",
                    "delegation EINVAL",
                    "notify EINVAL",
                ],
            );
        }
    });
}

#[test]
fn nothing_is_left_in_the_targets_ipc_namespace_and_what_is_there_is_found() {
    on_site(|stage, site| {
        let made = run(&mut stage.inside(site, &["/probe/hoard", "make"])).expect_success();
        expect(&made, &["shared done", "semaphores done", "queue done", "posix done"]);
        for profile in PROFILES {
            let said = stage.session(site, profile, &["hoard", "left"]).expect_success();
            let refused = [
                "private-shared EPERM",
                "private-semaphores EPERM",
                "private-queue EPERM",
                "keyed-shared EPERM",
                "keyed-semaphores EPERM",
                "keyed-queue EPERM",
                "posix-queue EPERM",
            ];
            expect(&said, &refused);
        }
        let found = stage.session(site, "restricted", &["hoard", "found"]).expect_success();
        let lines = ["shared done", "attached done", "semaphores done", "queue done", "posix done"];
        expect(&found, &lines);
        let shown = stage.session(site, "baseline", &["ipcs"]).expect_success();
        assert_eq!(shown.out().matches("0x00000007").count(), 3, "{shown}");
    });
}

#[test]
fn who_captures_has_everything_and_no_list_of_addresses() {
    on_site(|stage, site| {
        let said = stage.session(site, "general", &["hoard", "packets"]).expect_success();
        expect(
            &said,
            &[
                "multicast EPERM",
                "unicast EPERM",
                "all-of-groups done",
                "short EINVAL",
                "before 0",
                "everything 100",
                "meanwhile 1",
                "afterwards 0",
                "other-socket ENOPROTOOPT",
            ],
        );
    });
}

#[test]
fn no_group_is_joined_for_which_nobody_is_charged() {
    on_site(|stage, site| {
        let said = stage.session(site, "baseline", &["hoard", "groups"]).expect_success();
        expect(
            &said,
            &[
                "ipv6-join ENOPROTOOPT",
                "ipv6-anycast ENOPROTOOPT",
                "any-join ENOPROTOOPT",
                "any-join-source ENOPROTOOPT",
                "ipv4-join ENOPROTOOPT",
                "ipv4-join-source ENOPROTOOPT",
                "ipv4-any-join ENOPROTOOPT",
            ],
        );
    });
}

#[test]
fn no_entry_is_made_for_which_nobody_is_charged() {
    on_site(|stage, site| {
        for profile in PROFILES {
            let said = stage.session(site, profile, &["hoard", "entries"]).expect_success();
            expect(
                &said,
                &[
                    "policy-of-memory EPERM",
                    "policy-of-all EPERM",
                    "lock ENOLCK",
                    "waiting-lock ENOLCK",
                    "open-lock ENOLCK",
                    "open-waiting-lock ENOLCK",
                    "whole-file done",
                    "key ENOPROTOOPT",
                    "old-headers ENOPROTOOPT",
                    "routing-header ENOPROTOOPT",
                    "vsock EAFNOSUPPORT",
                    "tipc EAFNOSUPPORT",
                ],
            );
        }
    });
}

#[test]
fn a_tool_takes_little_of_what_the_node_has_for_all() {
    on_site(|stage, site| {
        for profile in PROFILES {
            let said = stage.session(site, profile, &["hoard", "node"]).expect_success();
            for line in ["terminals 64 ENOSPC", "asynchronous EPERM", "fanotify EPERM"] {
                assert!(said.out().lines().any(|said| said == line), "no {line:?}: {said}");
            }
            for (what, most) in [("signals", 1024), ("queues", 0), ("locked", 8 << 20)] {
                let line =
                    said.out().lines().find_map(|line| line.strip_prefix(what).map(str::to_owned));
                let limits: Option<Vec<u64>> = line.map(|line| {
                    line.split_whitespace().map(|limit| limit.parse().expect("a limit")).collect()
                });
                // A node may allow less.
                let low = limits.is_some_and(|limits| {
                    limits.len() == 2 && limits.iter().all(|limit| *limit <= most)
                });
                assert!(low, "{what}: {said}");
            }
        }
    });
}

/// More descriptors of this user's on their way than a process of it may have open.
fn on_their_way(count: usize) -> Vec<(OwnedFd, OwnedFd)> {
    const AT_ONCE: usize = 200;
    let null = std::fs::File::open("/dev/null").expect("a device");
    let sent = |_| {
        let pair = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.expect("a pair");
        let handed = [null.as_fd(); AT_ONCE];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&handed)));
        let flags = SendFlags::empty();
        sendmsg(&ours, &[IoSlice::new(b"x")], &mut control, flags).expect("it is sent");
        (ours, theirs)
    };
    (0..=count / AT_ONCE).map(sent).collect()
}

#[test]
fn who_has_many_descriptors_on_their_way_keeps_nobody_from_starting() {
    on_site(|stage, site| {
        const MOST: usize = 512;
        let _held = on_their_way(MOST);
        let session = stage.exec(site, &["--profile", "general", "--", "rings", "answers"]);
        let script = format!("ulimit -Sn {MOST} && exec \"$0\" \"$@\"");
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(script).arg(session.get_program()).args(session.get_args());
        let said = run(&mut limited).expect_success();
        // And the broker has its listener.
        assert!(said.out().contains("high-bits done"), "{said}");
    });
}
