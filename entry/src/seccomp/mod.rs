//! The system-call filter of a tool: what no debugging tool needs and every escape does.
//!
//! Refused calls answer `EPERM`; calls newer than this list answer `ENOSYS`, as from a kernel that
//! does not have them, so that programs fall back; calls of another architecture end the tool.
//! A filter is not the protection, capabilities are: it keeps whole subsystems out of reach.

mod instruction;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::libc;
use seccompiler::sock_filter;

use self::instruction::{
    ALLOW, ARCHITECTURE, ARGUMENT_0, ARGUMENT_1, ARGUMENT_2, ASK, Condition, JUMP_ANY_BIT,
    JUMP_AT_LEAST, JUMP_EQUAL, KILL, NUMBER, REFUSE, UNKNOWN_FROM, give, jump, load, number,
    of_call, when, word,
};
use crate::sys;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

/// Calls that are refused whatever their arguments.
const REFUSED: [libc::c_long; 52] = [
    // The mount family: a session's root is what keeps it from the node.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    // Other namespaces.
    libc::SYS_setns,
    libc::SYS_unshare,
    // Files by handle: past every mount ("shocker", 2014).
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    // Keyrings are shared by all processes of one uid on the node.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // A few groups for each user of the node.
    libc::SYS_fanotify_init,
    // As many as the node has for all.
    libc::SYS_io_setup,
    // Large, young and full of history.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    // A pipe would hold pages of a packet ring, and with each its whole block, when the ring is gone.
    libc::SYS_vmsplice,
    // Where memory is to be: an entry for each page of a file, which is charged to no session, and stays with a file of
    // the target's. The runtimes' filters refuse these too.
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Names of the node's own.
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

const OPEN_TREE_ATTR: libc::c_long = 467;
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: libc::c_long = 320;
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: libc::c_long = 294;

/// `clone(2)` flags of new namespaces: a new user namespace is a set of all capabilities.
const NEW_NAMESPACES: u32 = 0x7e02_0080;
/// ioctls that type into a terminal: TIOCSTI, and TIOCLINUX, which can paste.
const TYPING: [u32; 2] = [0x5412, 0x541c];

/// The families of sockets that a tool has. No debugging tool makes another: each of those reaches what no namespace
/// divides or no control group is charged for (`AF_VSOCK`, `AF_ALG`, `AF_XDP`), or loads a module of the kernel on demand.
const FAMILIES: [libc::c_int; 5] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

/// Options of sockets that do not exist for a tool, by their level.
const REFUSED_OPTIONS: [(libc::c_int, libc::c_int); 20] = [
    // Queues past what the node allows each socket: who asks for these falls back to the others.
    (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
    (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE),
    // Half a megabyte for each group of sockets, which nobody is charged for.
    (libc::SOL_PACKET, libc::PACKET_FANOUT),
    // What is sent so keeps pages of a packet ring, and with each its whole block, when the ring is gone.
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    // Groups that nobody is charged for: of IPv6 thousands a socket, of IPv4 20, which take three times what
    // the socket does.
    (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP),
    (libc::IPPROTO_IP, libc::IP_ADD_SOURCE_MEMBERSHIP),
    (libc::IPPROTO_IP, libc::MCAST_JOIN_GROUP),
    (libc::IPPROTO_IP, libc::MCAST_JOIN_SOURCE_GROUP),
    (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP),
    (libc::IPPROTO_IPV6, libc::IPV6_JOIN_ANYCAST),
    (libc::IPPROTO_IPV6, libc::MCAST_JOIN_GROUP),
    (libc::IPPROTO_IPV6, libc::MCAST_JOIN_SOURCE_GROUP),
    // Keys of TCP: 162 KiB a socket, which nobody is charged for.
    (libc::IPPROTO_TCP, libc::TCP_MD5SIG),
    (libc::IPPROTO_TCP, TCP_MD5SIG_EXT),
    (libc::IPPROTO_TCP, TCP_AO_ADD_KEY),
    // Headers that are sent with each packet of a socket: 64 KiB a socket by the first, 2 KiB by the others, which
    // nobody is charged for.
    (libc::IPPROTO_IPV6, IPV6_2292PKTOPTIONS),
    (libc::IPPROTO_IPV6, libc::IPV6_HOPOPTS),
    (libc::IPPROTO_IPV6, libc::IPV6_RTHDRDSTOPTS),
    (libc::IPPROTO_IPV6, libc::IPV6_RTHDR),
    (libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS),
];

// Of `linux/tcp.h` and `linux/in6.h`.
const TCP_MD5SIG_EXT: libc::c_int = 32;
const TCP_AO_ADD_KEY: libc::c_int = 38;
const IPV6_2292PKTOPTIONS: libc::c_int = 6;

/// Options of packet sockets for which nobody is charged: rings, and what else is to be received. See
/// [`crate::rings`].
const ASKED: [libc::c_int; 3] = [libc::PACKET_RX_RING, libc::PACKET_TX_RING, PACKET_ADD_MEMBERSHIP];

/// Of `linux/if_packet.h`.
pub(crate) const PACKET_ADD_MEMBERSHIP: libc::c_int = 1;

/// What `fcntl(2)` does not do, as on a file system without it. A lease on a file of the tree, which all
/// sessions have in common, has each who opens the file wait; `F_SETDELEG` is Linux 6.19's.
const REFUSED_OF_FILES: [libc::c_int; 3] = [libc::F_SETLEASE, libc::F_NOTIFY, F_SETDELEG];

const F_SETDELEG: libc::c_int = 1040;

/// Locks of parts of a file, which `fcntl(2)` does not give either: each is an entry, of any number a file, which is
/// charged to no control group. `flock(2)` has one for each open file.
const LOCKS: [libc::c_int; 4] =
    [libc::F_SETLK, libc::F_SETLKW, libc::F_OFD_SETLK, libc::F_OFD_SETLKW];

/// Puts the filter in force for this process and what it executes, and returns what it asks through.
/// There is none where another filter has one already: then it asks nobody, and refuses.
pub(crate) fn apply_asking() -> io::Result<Option<OwnedFd>> {
    match listener() {
        Ok(listener) => Ok(Some(listener)),
        Err(_) => apply().map(|()| None),
    }
}

/// Puts the filter in force, or fails where it could ask nobody.
pub(crate) fn listener() -> io::Result<OwnedFd> {
    sys::filter_with_listener(&PROGRAM)
}

/// `prctl(2)`: `PR_CAP_AMBIENT`, and of what it does `PR_CAP_AMBIENT_LOWER`, behind which there is only
/// `PR_CAP_AMBIENT_CLEAR_ALL`.
const AMBIENT: u32 = 47;
const LOWER: u32 = 3;
/// What makes the next exec take capabilities away.
const BOUNDING: u32 = 24; // PR_CAPBSET_DROP
const SECURE_BITS: u32 = 28; // PR_SET_SECUREBITS

/// Puts the filter in force for this process and what it executes. Needs `no_new_privs`.
pub(crate) fn apply() -> io::Result<()> {
    seccompiler::apply_filter(&PROGRAM).map_err(io::Error::other)
}

/// Makes the filter, so that it is there when it is needed; what is forked afterwards has it too.
pub(crate) fn prepare() {
    LazyLock::force(&PROGRAM);
}

static PROGRAM: LazyLock<Vec<sock_filter>> = LazyLock::new(program);

/// The filter as a program of the kernel's classic BPF. A jump skips as many instructions as its
/// number says: the first where its condition holds, the second where not.
fn program() -> Vec<sock_filter> {
    let not_permitted = REFUSE | Errno::EPERM as u32;
    let not_there = REFUSE | Errno::ENOSYS as u32;
    let mut program = vec![
        load(ARCHITECTURE),
        jump(JUMP_EQUAL, NATIVE, 1, 0),
        give(KILL),
        load(NUMBER),
        jump(JUMP_AT_LEAST, UNKNOWN_FROM, 0, 1),
        give(not_there),
        // Its flags are in memory, where no filter can look: programs fall back to clone.
        jump(JUMP_EQUAL, number(libc::SYS_clone3), 0, 1),
        give(not_there),
        jump(JUMP_EQUAL, number(libc::SYS_clone), 0, 4),
        load(ARGUMENT_0),
        jump(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1),
        give(not_permitted),
        give(ALLOW),
        // tcpdump gives up groups, and would give up itself if it were refused. ping gives up
        // capabilities, and with them what keeps its neighbours out: those of its own user, who
        // could take it over then. It keeps them, and is told that it is done.
        jump(JUMP_EQUAL, number(libc::SYS_setgroups), 1, 0),
        jump(JUMP_EQUAL, number(libc::SYS_capset), 0, 1),
        give(REFUSE), // errno 0: done
        jump(JUMP_EQUAL, number(libc::SYS_prctl), 0, 8),
        load(ARGUMENT_0),
        jump(JUMP_EQUAL, BOUNDING, 4, 0),
        jump(JUMP_EQUAL, SECURE_BITS, 3, 0),
        jump(JUMP_EQUAL, AMBIENT, 0, 3),
        load(ARGUMENT_1),
        jump(JUMP_AT_LEAST, LOWER, 0, 1),
        give(REFUSE),
        give(ALLOW),
        jump(JUMP_EQUAL, number(libc::SYS_ioctl), 0, 5),
        load(ARGUMENT_1),
        jump(JUMP_EQUAL, TYPING[0], 1, 0),
        jump(JUMP_EQUAL, TYPING[1], 0, 1),
        give(not_permitted),
        give(ALLOW),
    ];
    program.extend(of_devices());
    program.extend(of_sockets());
    program.extend(of_files());
    program.extend(of_the_target());
    let mut refused = REFUSED.map(number);
    refused.sort_unstable();
    program.extend(search(&refused));
    program
}

/// Nobody makes a device: what a session's control group opens is all there is to be opened, and in a file system
/// of the target's others would find it. Pipes and sockets by name may be made.
fn of_devices() -> Vec<sock_filter> {
    /// `S_IFCHR`, and of `S_IFBLK` a part; no other kind of file has it.
    const DEVICE: u32 = 0o20000;
    let body = |mode| {
        let refused = give(REFUSE | Errno::EPERM as u32);
        vec![load(mode), jump(JUMP_ANY_BIT, DEVICE, 0, 1), refused, give(ALLOW)]
    };
    #[cfg(target_arch = "x86_64")]
    let by_path = of_call(libc::SYS_mknod, body(ARGUMENT_1));
    #[cfg(not(target_arch = "x86_64"))]
    let by_path = Vec::new();
    [by_path, of_call(libc::SYS_mknodat, body(ARGUMENT_2))].concat()
}

/// Of what a socket may be and be told, as from a kernel that has not all of it. The kernel takes the
/// numbers for 32 bits too, so the upper half of an argument changes nothing.
fn of_sockets() -> Vec<sock_filter> {
    // From the end: each skips those behind it and the refusal.
    let compare =
        |(family, skipped): (&libc::c_int, u8)| jump(JUMP_EQUAL, word(*family), skipped, 0);
    let known: Vec<_> = FAMILIES.iter().rev().zip(1..).map(compare).collect();
    let refused = give(REFUSE | Errno::EAFNOSUPPORT as u32);
    let families = [load(ARGUMENT_0)].into_iter().chain(known.into_iter().rev()).chain([refused]);
    // Netlink between programs, which nothing needs: its queues are charged to nobody.
    let between_programs = [
        jump(JUMP_EQUAL, word(libc::AF_NETLINK), 0, 3),
        load(ARGUMENT_2),
        jump(JUMP_EQUAL, word(libc::NETLINK_USERSOCK), 0, 1),
        give(REFUSE | Errno::EPROTONOSUPPORT as u32),
    ];
    let families: Vec<_> = families.chain(between_programs).chain([give(ALLOW)]).collect();
    let option = |(level, option, answer): (libc::c_int, libc::c_int, u32)| {
        when(
            &[Condition::Is(ARGUMENT_1, word(level)), Condition::Is(ARGUMENT_2, word(option))],
            answer,
        )
    };
    let not_there = REFUSE | Errno::ENOPROTOOPT as u32;
    let refused = REFUSED_OPTIONS.map(|(level, option)| (level, option, not_there));
    let asked = ASKED.map(|option| (libc::SOL_PACKET, option, ASK));
    let options = refused.into_iter().chain(asked).flat_map(option).chain([give(ALLOW)]).collect();
    [
        of_call(libc::SYS_socket, families.clone()),
        of_call(libc::SYS_socketpair, families),
        of_call(libc::SYS_setsockopt, options),
    ]
    .concat()
}

fn of_files() -> Vec<sock_filter> {
    let refuse = |commands: &[libc::c_int], errno: Errno| -> Vec<sock_filter> {
        let answer = REFUSE | errno as u32;
        let refuse = |command| when(&[Condition::Is(ARGUMENT_1, word(command))], answer);
        commands.iter().copied().flat_map(refuse).collect()
    };
    let (leases, locks) = (refuse(&REFUSED_OF_FILES, Errno::EINVAL), refuse(&LOCKS, Errno::ENOLCK));
    of_call(libc::SYS_fcntl, [leases, locks, vec![give(ALLOW)]].concat())
}

/// What would stay in the target's ipc namespace, and be charged to all sessions, when the tool is gone:
/// it makes no shared memory, semaphores or queues, and finds those that are there.
fn of_the_target() -> Vec<sock_filter> {
    let made = |flags, bit: libc::c_int| Condition::Has(flags, word(bit));
    let private = Condition::Is(ARGUMENT_0, word(libc::IPC_PRIVATE));
    let of = |call, conditions: &[Condition]| {
        let refuse = |condition| when(&[condition], REFUSE | Errno::EPERM as u32);
        let refused = conditions.iter().copied().flat_map(refuse);
        of_call(call, refused.chain([give(ALLOW)]).collect())
    };
    [
        of(libc::SYS_shmget, &[private, made(ARGUMENT_2, libc::IPC_CREAT)]),
        of(libc::SYS_semget, &[private, made(ARGUMENT_2, libc::IPC_CREAT)]),
        of(libc::SYS_msgget, &[private, made(ARGUMENT_1, libc::IPC_CREAT)]),
        of(libc::SYS_mq_open, &[made(ARGUMENT_1, libc::O_CREAT)]),
    ]
    .concat()
}

/// Whether the number is one of `refused`, which are in order. The kernel runs a filter for every call
/// there is when it is put in force: so this is a search by halves, and a session starts sooner.
fn search(refused: &[u32]) -> Vec<sock_filter> {
    const FEW: usize = 4;
    let middle = refused.len() / 2;
    if let (Some(&from), FEW..) = (refused.get(middle), refused.len()) {
        let (below, above) = refused.split_at(middle);
        let below = search(below);
        // Fewer than a jump can skip: a few for each call.
        let skipped = u8::try_from(below.len()).unwrap_or(u8::MAX);
        return [vec![jump(JUMP_AT_LEAST, from, skipped, 0)], below, search(above)].concat();
    }
    // From the end, where both answers are.
    let answers = [give(REFUSE | Errno::EPERM as u32), give(ALLOW)];
    let compare = |(&call, skipped)| jump(JUMP_EQUAL, call, skipped, 0);
    let backwards = answers.into_iter().chain(refused.iter().rev().zip(1..).map(compare));
    let mut program: Vec<_> = backwards.collect();
    program.reverse();
    program
}

#[cfg(test)]
mod tests {
    use super::instruction::{LOAD_WORD, RETURN};
    use super::*;

    /// Runs the program as the kernel would, on one call.
    fn answer(architecture: u32, call: libc::c_long, arguments: [u32; 3]) -> u32 {
        let (program, mut at, mut word) = (program(), 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let holds = match code {
                LOAD_WORD => {
                    word = match k {
                        NUMBER => number(call),
                        ARCHITECTURE => architecture,
                        ARGUMENT_0 => arguments[0],
                        ARGUMENT_1 => arguments[1],
                        ARGUMENT_2 => arguments[2],
                        other => panic!("a load from {other}"),
                    };
                    at += 1;
                    continue;
                }
                RETURN => return k,
                JUMP_EQUAL => word == k,
                JUMP_AT_LEAST => word >= k,
                JUMP_ANY_BIT => word & k != 0,
                other => panic!("an instruction {other}"),
            };
            at += 1 + usize::from(if holds { jt } else { jf });
        }
    }

    const EPERM: u32 = REFUSE | 1;
    const EINVAL: u32 = REFUSE | 0x16;
    const ENOLCK: u32 = REFUSE | 0x25;
    const ENOSYS: u32 = REFUSE | 0x26;
    const EAFNOSUPPORT: u32 = REFUSE | 0x61;
    const EPROTONOSUPPORT: u32 = REFUSE | 0x5d;
    const ENOPROTOOPT: u32 = REFUSE | 0x5c;

    #[test]
    fn no_device_is_made_and_a_pipe_by_name_is() {
        for (kind, expected) in [
            (libc::S_IFCHR, EPERM),
            (libc::S_IFBLK, EPERM),
            (libc::S_IFIFO, ALLOW),
            (libc::S_IFSOCK, ALLOW),
            (libc::S_IFREG, ALLOW),
        ] {
            let mode = kind | 0o777;
            assert_eq!(answer(NATIVE, libc::SYS_mknodat, [0, 0, mode]), expected, "{kind:o}");
            #[cfg(target_arch = "x86_64")]
            assert_eq!(answer(NATIVE, libc::SYS_mknod, [0, mode, 0]), expected, "{kind:o}");
        }
    }

    #[test]
    fn what_tools_do_is_allowed() {
        let fork = 0x0120_0011;
        for (call, arguments) in [
            (libc::SYS_read, [0, 0, 0]),
            (libc::SYS_execve, [0, 0, 0]),
            (libc::SYS_ptrace, [0, 0, 0]),
            (libc::SYS_socket, [17, 0, 0]), // AF_PACKET
            (libc::SYS_clone, [fork, 0, 0]),
            (libc::SYS_ioctl, [0, 0x5413, 0]), // TIOCGWINSZ
        ] {
            assert_eq!(answer(NATIVE, call, arguments), ALLOW, "call {call}");
        }
    }

    #[test]
    fn what_escapes_do_is_refused() {
        for call in 0..libc::c_long::from(UNKNOWN_FROM) {
            // A key of one's own, where that is an argument.
            let is_refused = answer(NATIVE, call, [1, 0, 0]) == EPERM;
            assert_eq!(is_refused, REFUSED.contains(&call), "call {call}");
        }
        assert_eq!(answer(NATIVE, libc::SYS_clone, [0x1000_0000, 0, 0]), EPERM, "a user namespace");
        for typing in TYPING {
            assert_eq!(answer(NATIVE, libc::SYS_ioctl, [0, typing, 0]), EPERM);
        }
    }

    #[test]
    fn families_that_no_debugging_tool_needs_are_not_there() {
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            let others = [libc::AF_VSOCK, libc::AF_ALG, libc::AF_XDP, libc::AF_TIPC, libc::AF_RDS];
            for family in others.map(word) {
                assert_eq!(answer(NATIVE, call, [family, 0, 0]), EAFNOSUPPORT, "family {family}");
            }
            for family in
                [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET]
            {
                assert_eq!(answer(NATIVE, call, [word(family), 0, 0]), ALLOW, "family {family}");
            }
        }
    }

    #[test]
    fn netlink_is_for_talking_to_the_kernel() {
        let asked =
            |family, protocol| answer(NATIVE, libc::SYS_socket, [word(family), 3, word(protocol)]);
        assert_eq!(asked(libc::AF_NETLINK, libc::NETLINK_USERSOCK), EPROTONOSUPPORT);
        assert_eq!(asked(libc::AF_NETLINK, libc::NETLINK_ROUTE), ALLOW);
        assert_eq!(asked(libc::AF_INET, libc::NETLINK_USERSOCK), ALLOW);
    }

    #[test]
    fn an_option_is_known_by_its_level_too() {
        let asked =
            |level, option| answer(NATIVE, libc::SYS_setsockopt, [0, word(level), word(option)]);
        assert_eq!(asked(libc::SOL_PACKET, libc::PACKET_FANOUT), ENOPROTOOPT);
        assert_eq!(asked(libc::SOL_SOCKET, libc::SO_ZEROCOPY), ENOPROTOOPT);
        assert_eq!(asked(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE), ENOPROTOOPT);
        assert_eq!(asked(libc::SOL_SOCKET, libc::SO_RCVBUF), ALLOW);
        assert_eq!(asked(libc::SOL_PACKET, libc::SO_ZEROCOPY), ALLOW);
        assert_eq!(asked(libc::SOL_PACKET, libc::PACKET_VERSION), ALLOW);
        for option in [libc::PACKET_RX_RING, libc::PACKET_TX_RING, PACKET_ADD_MEMBERSHIP] {
            assert_eq!(asked(libc::SOL_PACKET, option), ASK);
            assert_eq!(asked(libc::SOL_SOCKET, option), ALLOW);
        }
        assert_eq!(asked(libc::SOL_SOCKET, libc::PACKET_FANOUT), ALLOW);
    }

    #[test]
    fn groups_that_nobody_is_charged_for_are_not_joined() {
        let asked = |level, option| answer(NATIVE, libc::SYS_setsockopt, [0, word(level), option]);
        for join in [20, 27, 42, 46] {
            assert_eq!(asked(libc::IPPROTO_IPV6, join), ENOPROTOOPT, "option {join}");
            assert_eq!(asked(libc::IPPROTO_UDP, join), ALLOW, "option {join}");
        }
        for join in [35, 39, 42, 46] {
            assert_eq!(asked(libc::IPPROTO_IP, join), ENOPROTOOPT, "option {join}");
        }
        assert_eq!(asked(libc::IPPROTO_IP, word(libc::IP_TTL)), ALLOW);
        assert_eq!(asked(libc::IPPROTO_IPV6, word(libc::IPV6_DROP_MEMBERSHIP)), ALLOW);
    }

    #[test]
    fn nobody_is_kept_from_opening_a_file() {
        for command in [libc::F_SETLEASE, libc::F_NOTIFY, 1040] {
            assert_eq!(answer(NATIVE, libc::SYS_fcntl, [3, word(command), 1]), EINVAL);
        }
        for command in [libc::F_SETFL, libc::F_GETLEASE, libc::F_GETLK, libc::F_DUPFD_CLOEXEC] {
            assert_eq!(answer(NATIVE, libc::SYS_fcntl, [3, word(command), 1]), ALLOW);
        }
    }

    #[test]
    fn no_entry_is_made_that_nobody_is_charged_for() {
        for lock in [6, 7, 37, 38] {
            assert_eq!(answer(NATIVE, libc::SYS_fcntl, [3, lock, 1]), ENOLCK, "command {lock}");
        }
        assert_eq!(answer(NATIVE, libc::SYS_flock, [3, 2, 0]), ALLOW);
        assert_eq!(answer(NATIVE, libc::SYS_mbind, [0, 4096, 2]), EPERM);
        let asked = |level, option| answer(NATIVE, libc::SYS_setsockopt, [3, word(level), option]);
        for key in [14, 32, 38] {
            assert_eq!(asked(libc::IPPROTO_TCP, key), ENOPROTOOPT, "option {key}");
        }
        for header in [6, 54, 55, 57, 59] {
            assert_eq!(asked(libc::IPPROTO_IPV6, header), ENOPROTOOPT, "option {header}");
        }
        assert_eq!(asked(libc::IPPROTO_TCP, word(libc::TCP_NODELAY)), ALLOW);
        assert_eq!(asked(libc::IPPROTO_IPV6, word(libc::IPV6_V6ONLY)), ALLOW);
    }

    #[test]
    fn what_would_outlive_the_tool_is_found_and_not_made() {
        let (private, key, create) = (0, 7, 0o1666);
        for (call, flags) in [(libc::SYS_shmget, 2), (libc::SYS_semget, 2), (libc::SYS_msgget, 1)] {
            let asked = |key, value| {
                let mut arguments = [key, 0, 0];
                arguments[flags] = value;
                answer(NATIVE, call, arguments)
            };
            assert_eq!(asked(private, 0), EPERM, "call {call}");
            assert_eq!(asked(key, create), EPERM, "call {call}");
            assert_eq!(asked(key, 0o666), ALLOW, "call {call}");
        }
        assert_eq!(answer(NATIVE, libc::SYS_mq_open, [1, 0o102, 0]), EPERM);
        assert_eq!(answer(NATIVE, libc::SYS_mq_open, [1, 2, 0]), ALLOW);
        for call in [libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_msgrcv, libc::SYS_semctl] {
            assert_eq!(answer(NATIVE, call, [1, 0, 0]), ALLOW, "call {call}");
        }
    }

    #[test]
    fn what_is_newer_than_the_list_is_not_there() {
        assert_eq!(answer(NATIVE, libc::c_long::from(UNKNOWN_FROM), [0, 0, 0]), ENOSYS);
        assert_eq!(answer(NATIVE, libc::SYS_clone3, [0, 0, 0]), ENOSYS);
        let x32_read = 0x4000_0000;
        assert_eq!(answer(NATIVE, x32_read, [0, 0, 0]), ENOSYS);
    }

    #[test]
    fn giving_up_groups_that_are_not_there_succeeds_and_does_nothing() {
        assert_eq!(answer(NATIVE, libc::SYS_setgroups, [0, 0, 0]), REFUSE);
    }

    #[test]
    fn nothing_that_keeps_neighbours_out_is_given_up() {
        assert_eq!(answer(NATIVE, libc::SYS_capset, [0, 0, 0]), REFUSE);
        for (arguments, expected) in [
            ([AMBIENT, LOWER, 0], REFUSE),
            ([AMBIENT, LOWER + 1, 0], REFUSE),
            ([AMBIENT, 1, 0], ALLOW), // PR_CAP_AMBIENT_IS_SET
            ([4, LOWER, 0], ALLOW),   // PR_SET_DUMPABLE
            ([24, 35, 0], REFUSE),    // PR_CAPBSET_DROP
            ([28, 1, 0], REFUSE),     // PR_SET_SECUREBITS
            ([23, 35, 0], ALLOW),     // PR_CAPBSET_READ
            ([27, 0, 0], ALLOW),      // PR_GET_SECUREBITS
        ] {
            assert_eq!(answer(NATIVE, libc::SYS_prctl, arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn another_architecture_ends_the_tool() {
        let i386 = 0x4000_0003;
        assert_eq!(answer(i386, libc::SYS_read, [0, 0, 0]), KILL);
    }
}
