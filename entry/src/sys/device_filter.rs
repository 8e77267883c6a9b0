//! `bpf(2)`, as far as it keeps devices from a control group of version 2.

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u8,
    /// The destination in the lower half, the source in the upper: so it is on little-endian
    /// machines, which are all that there are sessions on.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    pub(crate) fn new(code: u8, registers: (u8, u8), offset: i16, immediate: i32) -> Self {
        let (destination, source) = registers;
        Self { code, registers: source << 4 | destination, offset, immediate }
    }
}

/// What `BPF_PROG_LOAD` reads of `union bpf_attr`, up to the flags. The kernel takes the rest as 0.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: *const Instruction,
    license: *const c_char,
    log_level: u32,
    log_size: u32,
    log_buf: *mut c_char,
    kern_version: u32,
    prog_flags: u32,
}

/// Pointers are 64 bits in the kernel's, whatever the program's are.
const _: () = assert!(size_of::<Load>() == 48 && size_of::<Instruction>() == 8);

/// What `BPF_PROG_ATTACH` reads.
#[repr(C)]
struct Attach {
    target: RawFd,
    program: RawFd,
    kind: u32,
    flags: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// Beside those of the groups above, all of which have to agree; and of those that others may add.
const ALLOW_MULTI: u32 = 2;

/// Has the kernel check and keep `program`, which is asked whether a device may be opened.
/// Linux 4.15, `CAP_SYS_ADMIN`.
pub(crate) fn load_device_filter(program: &[Instruction]) -> io::Result<OwnedFd> {
    let length = program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let load = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: length,
        insns: program.as_ptr(),
        license: c"Apache-2.0".as_ptr(),
        log_level: 0,
        log_size: 0,
        log_buf: std::ptr::null_mut(),
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: the kernel reads as many bytes at the second argument as the third says, the size of
    // the struct there; from it, as many instructions as are borrowed, and a NUL-terminated
    // licence. All live until after the call. It writes nothing: there is no log.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor (with CLOEXEC), for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a loaded filter on the group of version 2 that `group` is the directory of, for as long as
/// there is that group.
pub(crate) fn attach_device_filter(group: BorrowedFd<'_>, filter: &OwnedFd) -> io::Result<()> {
    let attach = Attach {
        target: group.as_raw_fd(),
        program: filter.as_raw_fd(),
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the kernel reads as many bytes at the second argument as the third says, the size of
    // the struct there, which holds no pointers. Both descriptors are borrowed, so they are open.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
