//! The system-call filter of a tool: what no debugging tool needs and every escape does.
//!
//! Refused calls answer `EPERM`; calls newer than this list answer `ENOSYS`, as from a kernel that
//! does not have them, so that programs fall back; calls of another architecture end the tool.
//! A filter is not the protection, capabilities are: it keeps whole subsystems out of reach.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::libc;
use seccompiler::sock_filter;

use crate::sys;

// linux/bpf_common.h and linux/seccomp.h.
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const ALLOW: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW
const KILL: u32 = 0x8000_0000; // SECCOMP_RET_KILL_PROCESS
const ASK: u32 = 0x7fc0_0000; // SECCOMP_RET_USER_NOTIF; without a listener the call answers ENOSYS
const REFUSE: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO, with the errno in the low half

// struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6].
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The low half of an argument, on little-endian machines.
const ARGUMENT_0: u32 = 16;
const ARGUMENT_1: u32 = 24;
const ARGUMENT_2: u32 = 32;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

/// The first number that did not exist when this list was made: Linux 6.15 ends at 467
/// (`open_tree_attr`). x32 calls have bit 30 set and fall under it too.
const UNKNOWN_FROM: u32 = 468;

/// Calls that are refused whatever their arguments.
const REFUSED: [libc::c_long; 44] = [
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
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    // Keyrings are shared with whoever has the same uid on the node.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Large, young and full of history.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    // A pipe would hold pages of a packet ring, and with each its whole block, when the ring is gone.
    libc::SYS_vmsplice,
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

/// Families of sockets that do not exist for a tool. No debugging tool makes one; each reaches what no
/// namespace divides or no control group is charged for.
pub(crate) const REFUSED_FAMILIES: [libc::c_int; 3] = [
    // The hypervisor, and services of the node that listen for virtual machines. As in the runtimes' filters.
    libc::AF_VSOCK,
    // The kernel's own ciphers: loads modules on demand, and keeps pages of its caller's.
    libc::AF_ALG,
    // Rings of up to gigabytes, which nobody is charged for.
    libc::AF_XDP,
];

/// Options of sockets that do not exist for a tool, by their level.
const REFUSED_OPTIONS: [(libc::c_int, libc::c_int); 4] = [
    // Queues past what the node allows each socket: who asks for these falls back to the others.
    (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
    (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE),
    // Half a megabyte for each group of sockets, which nobody is charged for.
    (libc::SOL_PACKET, libc::PACKET_FANOUT),
    // What is sent so keeps pages of a packet ring, and with each its whole block, when the ring is gone.
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
];

/// Options that make packet rings, which nobody is charged for: see [`crate::rings`].
const RINGS: [libc::c_int; 2] = [libc::PACKET_RX_RING, libc::PACKET_TX_RING];

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
        jump(JUMP_EQUAL, number(libc::SYS_prctl), 0, 6),
        load(ARGUMENT_0),
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
    let family = |family: &libc::c_int| {
        [jump(JUMP_EQUAL, word(*family), 0, 1), give(REFUSE | Errno::EAFNOSUPPORT as u32)]
    };
    let families = [load(ARGUMENT_0)].into_iter().chain(REFUSED_FAMILIES.iter().flat_map(family));
    // Netlink between programs, which nothing needs: its queues are charged to nobody.
    let between_programs = [
        jump(JUMP_EQUAL, word(libc::AF_NETLINK), 0, 3),
        load(ARGUMENT_2),
        jump(JUMP_EQUAL, word(libc::NETLINK_USERSOCK), 0, 1),
        give(REFUSE | Errno::EPROTONOSUPPORT as u32),
    ];
    let families: Vec<_> = families.chain(between_programs).chain([give(ALLOW)]).collect();
    let option = |(level, option, answer): (libc::c_int, libc::c_int, u32)| {
        [
            load(ARGUMENT_1),
            jump(JUMP_EQUAL, word(level), 0, 3),
            load(ARGUMENT_2),
            jump(JUMP_EQUAL, word(option), 0, 1),
            give(answer),
        ]
    };
    let not_there = REFUSE | Errno::ENOPROTOOPT as u32;
    let refused = REFUSED_OPTIONS.map(|(level, option)| (level, option, not_there));
    let asked = RINGS.map(|option| (libc::SOL_PACKET, option, ASK));
    let options = refused.into_iter().chain(asked).flat_map(option).chain([give(ALLOW)]).collect();
    [
        of_call(libc::SYS_socket, families.clone()),
        of_call(libc::SYS_socketpair, families),
        of_call(libc::SYS_setsockopt, options),
    ]
    .concat()
}

/// What is done for one call, and always ends with an answer.
fn of_call(call: libc::c_long, body: Vec<sock_filter>) -> Vec<sock_filter> {
    // Far fewer than a jump can skip.
    let skipped = u8::try_from(body.len()).unwrap_or(u8::MAX);
    [vec![jump(JUMP_EQUAL, number(call), 0, skipped)], body].concat()
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

fn load(offset: u32) -> sock_filter {
    sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: offset }
}

fn jump(condition: u16, value: u32, holds: u8, fails: u8) -> sock_filter {
    sock_filter { code: condition, jt: holds, jf: fails, k: value }
}

fn give(answer: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: answer }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(UNKNOWN_FROM)
}

fn word(argument: libc::c_int) -> u32 {
    argument.cast_unsigned()
}

#[cfg(test)]
mod tests {
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
            let is_refused = answer(NATIVE, call, [0, 0, 0]) == EPERM;
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
            for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_XDP].map(word) {
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
        for option in [libc::PACKET_RX_RING, libc::PACKET_TX_RING] {
            assert_eq!(asked(libc::SOL_PACKET, option), ASK);
            assert_eq!(asked(libc::SOL_SOCKET, option), ALLOW);
        }
        assert_eq!(asked(libc::SOL_SOCKET, libc::PACKET_FANOUT), ALLOW);
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
