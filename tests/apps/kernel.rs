//! System calls by number, for programs that have nothing but the standard library.

#![allow(dead_code)]

use std::ffi::CString;

// SAFETY: libc's `long syscall(long, ...)`. What the kernel makes of the arguments is up to each caller below.
unsafe extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

macro_rules! numbers {
    ($($name:ident = $x86_64:literal, $aarch64:literal;)*) => {
        $(
            #[cfg(target_arch = "x86_64")]
            pub(crate) const $name: i64 = $x86_64;
            #[cfg(target_arch = "aarch64")]
            pub(crate) const $name: i64 = $aarch64;
        )*
    };
}

numbers! {
    IOCTL = 16, 29; CLONE = 56, 220; KCMP = 312, 272; PTRACE = 101, 117; SYSLOG = 103, 116;
    SETRESUID = 117, 147; SETRESGID = 119, 149; SETGROUPS = 116, 159; CAPSET = 126, 91;
    PRCTL = 157, 167; PIVOT_ROOT = 155, 41; CHROOT = 161, 51; MOUNT = 165, 40; UMOUNT = 166, 39;
    SETTIMEOFDAY = 164, 170; SWAPON = 167, 224; REBOOT = 169, 142; INIT_MODULE = 175, 105;
    KEXEC_LOAD = 246, 104; ADD_KEY = 248, 217; KEYCTL = 250, 219; MKNODAT = 259, 33;
    UNSHARE = 272, 97; PERF_EVENT_OPEN = 298, 241; OPEN_BY_HANDLE_AT = 304, 265; SETNS = 308, 268;
    PROCESS_VM_READV = 310, 270; FINIT_MODULE = 313, 273; BPF = 321, 280; USERFAULTFD = 323, 282;
    PIDFD_OPEN = 434, 434; CLONE3 = 435, 435; PIDFD_GETFD = 438, 438; IO_URING_SETUP = 425, 425;
    OPEN_TREE = 428, 428; FSOPEN = 430, 430; KILL = 62, 129; SOCKET = 41, 198; GETPPID = 110, 173; WAIT4 = 61, 260;
    WRITE = 1, 64; SENDFILE = 40, 71; SENDTO = 44, 206; SENDMSG = 46, 211; RECVMSG = 47, 212; FCNTL = 72, 25;
    SPLICE = 275, 76; CLOSE = 3, 57; MMAP = 9, 222; MUNMAP = 11, 215; DUP = 32, 23; SOCKETPAIR = 53, 199;
    SETSOCKOPT = 54, 208; VMSPLICE = 278, 75; PIPE2 = 293, 59; PRLIMIT = 302, 261; MIGRATE_PAGES = 256, 238;
    MOVE_PAGES = 279, 239; SHMGET = 29, 194; SHMAT = 30, 196; SEMGET = 64, 190; MSGGET = 68, 186; MQ_OPEN = 240, 180;
    IO_SETUP = 206, 0; FANOTIFY_INIT = 300, 262; FLOCK = 73, 32; MBIND = 237, 235; SET_MEMPOLICY = 238, 237;
}

/// What the kernel answers, or its errno.
///
/// Every argument is a number, or the address of something that outlives the call and is as large as it is said to
/// be: callers see to that, who are all in this folder.
pub(crate) fn call(number: i64, arguments: &[usize]) -> Result<usize, i32> {
    let mut a = [0; 6];
    a[..arguments.len()].copy_from_slice(arguments);
    // SAFETY: see above; a call that takes fewer arguments ignores the zeros.
    let answer = unsafe { syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    usize::try_from(answer)
        .map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// A string for the kernel, to be kept until after the call.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text).expect("no NUL in a text")
}

/// The errno by the name that people know it by.
pub(crate) fn name(errno: i32) -> String {
    let known = [
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (6, "ENXIO"),
        (9, "EBADF"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (20, "ENOTDIR"),
        (22, "EINVAL"),
        (26, "ETXTBSY"),
        (28, "ENOSPC"),
        (30, "EROFS"),
        (37, "ENOLCK"),
        (38, "ENOSYS"),
        (40, "ELOOP"),
        (88, "ENOTSOCK"),
        (92, "ENOPROTOOPT"),
        (93, "EPROTONOSUPPORT"),
        (97, "EAFNOSUPPORT"),
    ];
    known.iter().find(|(number, _)| *number == errno).map_or_else(
        || format!("errno-{errno}"),
        |(_, name)| (*name).to_owned(),
    )
}

/// `done` or the name of the errno.
pub(crate) fn outcome<T>(result: Result<T, i32>) -> String {
    result.map_or_else(name, |_| "done".to_owned())
}

pub(crate) fn errno(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}
