//! Giving up privilege, in the one order in which it works.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::unistd::{getegid, geteuid, setfsgid, setfsuid};
use rustix::fs::{Mode, fchmod, fstatfs};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{
    CapabilitySets, Gid, Uid, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_keep_capabilities, set_no_new_privs, set_thread_gid,
    set_thread_groups, set_thread_uid,
};
use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::seccomp;

/// Who a process is to be and what it may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary.
    pub(crate) groups: Vec<u32>,
}

/// What this process may give away.
pub(crate) fn own_capabilities() -> io::Result<Capabilities> {
    Ok(Capabilities::from_kernel(rustix::thread::capabilities(None)?.permitted))
}

/// Makes this process `who`, with `held` and nothing else, ever again.
pub(crate) fn become_session(who: &Identity, held: Capabilities) -> io::Result<()> {
    limit_bounding_set(held)?;
    change_user(who)?;
    let kernel = held.to_kernel();
    // Of root, exec makes the bounding set the permitted one, and nothing has to be inherited.
    // Of others it takes everything away but what is ambient, which must be inheritable first.
    let inherited = if who.uid == 0 { Capabilities::NONE } else { held };
    let sets =
        CapabilitySets { effective: kernel, permitted: kernel, inheritable: inherited.to_kernel() };
    rustix::thread::set_capabilities(None, sets)?;
    clear_ambient_capability_set()?;
    for capability in inherited.iter() {
        configure_capability_in_ambient_set(capability.to_kernel(), true)?;
    }
    set_no_new_privs(true)?;
    Ok(())
}

/// Does something with files as `who` without a capability would, and is then what it was. The groups stay: they are
/// taken anyway when this process becomes the tool's.
pub(crate) fn with_rights_of<T>(who: &Identity, act: impl FnOnce() -> T) -> io::Result<T> {
    let before = rustix::thread::capabilities(None)?;
    let (uid, gid) = (geteuid(), getegid());
    set_thread_groups(&groups_of(who))?;
    act_as(nix::unistd::Uid::from_raw(who.uid), nix::unistd::Gid::from_raw(who.gid))?;
    let none = Capabilities::NONE.to_kernel();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, ..before })?;
    let done = act();
    rustix::thread::set_capabilities(None, before)?;
    act_as(uid, gid)?;
    rustix::thread::set_capabilities(None, before)?;
    // What it is for files has made it dumpable again, perhaps (fs.suid_dumpable).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(done)
}

/// The kernel says who this thread was for files, and never that it refuses.
fn act_as(uid: nix::unistd::Uid, gid: nix::unistd::Gid) -> io::Result<()> {
    setfsgid(gid);
    setfsuid(uid);
    if setfsgid(gid) != gid || setfsuid(uid) != uid {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

fn groups_of(who: &Identity) -> Vec<Gid> {
    who.groups.iter().map(|group| Gid::from_raw(*group)).collect()
}

/// Lets the tool open its own streams by name (`/dev/stdout`), whatever user it becomes: a pipe belongs to the user who has
/// made it. Only pipes without a name of their own are opened up, and those are reached through
/// `/proc/PID/fd` of their holders alone.
pub(crate) fn open_up(streams: [BorrowedFd<'_>; 3]) {
    const PIPEFS: i64 = 0x5049_5045; // linux/magic.h
    for stream in streams {
        if fstatfs(stream).is_ok_and(|kind| kind.f_type == PIPEFS) {
            // That of another user stays theirs.
            let _ = fchmod(stream, Mode::from_raw_mode(0o666));
        }
    }
}

/// What a tool may have at most of each. All but the first are counted for each user of the node, whose
/// other processes go without what a tool has.
const LIMITS: [(Resource, u64); 4] = [
    // Of one byte: where core_pattern is a program of the node, 0 has it run all the same (core(5), fs/coredump.c).
    (Resource::Core, 1),
    (Resource::Sigpending, 1024),
    (Resource::Msgqueue, 0),
    (Resource::Memlock, 8 << 20),
];

/// Readies this process of a session for executing a tool, and returns what its filter asks through.
pub(crate) fn become_tool() -> io::Result<Option<OwnedFd>> {
    for (resource, most) in LIMITS {
        let Rlimit { current, maximum } = getrlimit(resource);
        let lower = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
        let current = if resource == Resource::Core { maximum } else { current };
        setrlimit(resource, Rlimit { current: lower(current), maximum: lower(maximum) })?;
    }
    seccomp::apply_asking()
}

/// Leaves this process of a session, which executes nothing more, without any capability.
pub(crate) fn hold_nothing() -> io::Result<()> {
    let none = Capabilities::NONE.to_kernel();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)?;
    // A tool that may trace can make this process call whatever it likes.
    seccomp::apply()
}

fn limit_bounding_set(held: Capabilities) -> io::Result<()> {
    for capability in Capabilities::ALL.iter().filter(|capability| !held.contains(*capability)) {
        match remove_capability_from_bounding_set(capability.to_kernel()) {
            // A kernel that is older than the capability has nothing to remove.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn change_user(who: &Identity) -> io::Result<()> {
    set_keep_capabilities(true)?;
    set_thread_groups(&groups_of(who))?;
    set_thread_gid(Gid::from_raw(who.gid))?;
    set_thread_uid(Uid::from_raw(who.uid))?;
    set_keep_capabilities(false)?;
    // A change of user may have made the process dumpable again (fs.suid_dumpable).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
