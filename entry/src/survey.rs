//! A look around inside the target's pid namespace: who could take a tool over there.
//!
//! The kernel lets a process trace another, and open what `/proc` shows of it, if it holds every
//! capability that the other is permitted (`ptrace_may_access`, security/commoncap.c). So a tool
//! keeps one harmless capability that nobody around can ever hold: the canary.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;

use crate::capability::{Capabilities, Capability};
use crate::cgroup::Neighbours;
use crate::procfs::{self, unless_gone};

/// Capabilities that give power over nothing that a container or node relies on, in the order in
/// which they are tried: timers that wake a sleeping machine, keeping it awake, reading audit
/// records (a multicast socket of the initial network namespace, which no session is in), leases.
pub(crate) const HARMLESS: [Capability; 4] =
    [Capability::WakeAlarm, Capability::BlockSuspend, Capability::AuditRead, Capability::Lease];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// All that any process around holds or could come to hold.
    pub(crate) around: Capabilities,
    /// Of all processes around, what it takes to look into them.
    pub(crate) lookings: BTreeSet<Looking>,
    /// Of which container a process is that may trace; none where its control group does not tell.
    pub(crate) tracer: Option<String>,
    /// The numbers of the users and groups of all processes around.
    pub(crate) ids: BTreeSet<u32>,
}

/// What it takes to look into a process without `SYS_PTRACE`: to be its user, to be in its user namespace, and to
/// hold what it is permitted (`__ptrace_may_access`, kernel/ptrace.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Looking {
    /// Whom what `/proc` shows of it belongs to: root, where a process is closed to its own user too.
    pub(crate) owner: u32,
    /// None, where it is in another user namespace.
    pub(crate) permitted: Option<Capabilities>,
}

impl Looking {
    pub(crate) fn is_open_to(self, uid: u32, held: Capabilities) -> bool {
        let holds = |permitted| held.contains_all(permitted);
        held.contains(Capability::SysPtrace)
            || self.owner == uid && self.permitted.is_some_and(holds)
    }
}

impl Survey {
    /// Reads `/proc`; this process, which is in the user namespace `users`, does not count. Nor do
    /// `sessions`: what they hold was given to them here. A process that is there and cannot be looked at is an
    /// error.
    pub(crate) fn take(users: &Path, sessions: &Neighbours) -> io::Result<Self> {
        let own = std::fs::read_link("/proc/self").ok();
        let mut survey = Self::default();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if own.as_deref() == Some(Path::new(&name)) || sessions.contain(pid) {
                continue;
            }
            survey.add(&entry.path(), users)?;
        }
        Ok(survey)
    }

    fn add(&mut self, process: &Path, users: &Path) -> io::Result<()> {
        let owner = unless_gone(fs::metadata(process.join("fd")))?.map(|fd| fd.uid());
        let Some(threads) = unless_gone(fs::read_dir(process.join("task")))? else { return Ok(()) };
        // Each thread by itself: what the first one gave up another may have kept.
        for thread in threads {
            let Some(thread) = unless_gone(thread)? else { continue };
            self.add_thread(&thread.path(), owner, users)?;
        }
        Ok(())
    }

    fn add_thread(&mut self, thread: &Path, owner: Option<u32>, users: &Path) -> io::Result<()> {
        if has_ended(thread)? {
            return Ok(());
        }
        let Some(status) = read_of(thread, "status")? else { return Ok(()) };
        self.ids.extend(ids(&status));
        // Of another user namespace: what it holds there counts for nothing here.
        let theirs = fs::read_link(thread.join("ns/user"));
        let permitted = if theirs.is_ok_and(|theirs| theirs != users) {
            None
        } else {
            // Asked last: who has left a session's control group, being about to end, is known by this.
            if has_ended(thread)? {
                return Ok(());
            }
            let held = capabilities(&status).ok_or(Errno::BADMSG)?;
            if held.contains(Capability::SysPtrace) && self.tracer.is_none() {
                self.tracer = read_of(thread, "cgroup")?.as_deref().and_then(container);
            }
            self.around = self.around.union(held);
            Some(permitted(&status).ok_or(Errno::BADMSG)?)
        };
        if let Some(owner) = owner {
            self.lookings.insert(Looking { owner, permitted });
        }
        Ok(())
    }

    /// Whether a process around may trace whatever runs here, canary or not.
    pub(crate) fn can_trace(&self) -> bool {
        self.around.contains(Capability::SysPtrace)
    }

    /// A capability of `available` that nobody around can hold.
    pub(crate) fn canary(&self, available: Capabilities) -> Option<Capability> {
        HARMLESS
            .into_iter()
            .find(|canary| available.contains(*canary) && !self.around.contains(*canary))
    }
}

/// Set by the kernel when a thread begins to end, and kept by what is not reaped yet (`PF_EXITING`, include/linux/sched.h).
const EXITING: u32 = 0x4;

/// Whether a thread runs nothing of its own any more; one that is gone since it was listed does not either.
fn has_ended(thread: &Path) -> io::Result<bool> {
    Ok(read_of(thread, "stat")?.is_none_or(|stat| is_ending(&stat)))
}

fn is_ending(stat: &str) -> bool {
    let flags = procfs::stat_field(stat, 9).and_then(|flags| flags.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & EXITING != 0)
}

fn read_of(thread: &Path, file: &str) -> io::Result<Option<String>> {
    unless_gone(procfs::read(thread.join(file)))
}

/// The ID of the container that has a process with this `membership`: runtimes end the path of its control group
/// with it, as `ID` or as `RUNTIME-ID.scope`.
fn container(membership: &str) -> Option<String> {
    /// Hexadecimal digits of an ID that was not chosen by hand.
    const GENERATED: usize = 64;
    let mut groups = membership.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let group = groups.find(|group| !group.trim_matches('/').is_empty())?;
    let is_id =
        |word: &&str| word.len() == GENERATED && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A container may have made groups below its own.
    let generated = group.split(|c: char| !c.is_ascii_alphanumeric()).find(is_id);
    let last = || group.rsplit('/').next().filter(|last| !last.is_empty());
    generated.or_else(last).map(str::to_owned)
}

/// The numbers of its users and groups, in this user namespace.
fn ids(status: &str) -> impl Iterator<Item = u32> {
    let kinds = ["Uid:", "Gid:", "Groups:"];
    let lists = status
        .lines()
        .filter_map(move |line| kinds.iter().find_map(|kind| line.strip_prefix(kind)));
    lists.flat_map(str::split_whitespace).filter_map(|id| id.parse().ok())
}

/// What a process may make effective; `None` of a status that does not say it.
pub(crate) fn permitted(status: &str) -> Option<Capabilities> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    Capabilities::from_status(mask)
}

/// The union of a process's sets; `None` of a status that lacks one. The bounding set is what an exec could still
/// give it.
pub(crate) fn capabilities(status: &str) -> Option<Capabilities> {
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];
    let of_sets = |line| sets.iter().find_map(|set| str::strip_prefix(line, set));
    let masks: Vec<&str> = status.lines().filter_map(of_sets).collect();
    let add = |all: Capabilities, mask: &&str| Some(all.union(Capabilities::from_status(mask)?));
    (masks.len() == sets.len()).then(|| masks.iter().try_fold(Capabilities::NONE, add))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "Name:\tapp\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
                          CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n";

    fn around(status: &str) -> Capabilities {
        capabilities(status).expect("all sets")
    }

    #[test]
    fn what_an_exec_could_give_counts_as_held() {
        assert!(around(DOCKER).contains(Capability::NetRaw));
    }

    #[test]
    fn a_status_that_lacks_a_set_says_nothing_of_what_is_held() {
        let lacking = DOCKER.replace("CapBnd", "CapXyz");
        assert_eq!((capabilities(&lacking), capabilities("")), (None, None));
        assert_eq!((permitted(""), permitted("CapPrm:\tx\n")), (None, None));
    }

    #[test]
    fn a_thread_with_a_name_of_any_bytes_is_surveyed() {
        let folder = tempfile::tempdir().expect("a folder");
        let thread = folder.path().join("task/7");
        fs::create_dir_all(thread.join("ns")).expect("folders");
        fs::create_dir(folder.path().join("fd")).expect("a folder");
        let write = |file: &str, of: &[&[u8]]| fs::write(thread.join(file), of.concat());
        write("stat", &[b"7 (\xff\xfe) S 1 7 7 0 -1 4194304 0"]).expect("a file");
        let status = DOCKER.replace("app", "").replace("Name:\t\n", "");
        write("status", &[b"Name:\t\xff\xfe\n", status.as_bytes()]).expect("a file");
        let mut survey = Survey::default();
        survey.add(folder.path(), Path::new("user:[1]")).expect("a process");
        assert_eq!((survey.around, survey.lookings.len()), (around(DOCKER), 1));
        // One that is there and cannot be understood is no process that is gone.
        write("status", &[b"Name:\t\xff\xfe\n"]).expect("a file");
        assert!(survey.add(folder.path(), Path::new("user:[1]")).is_err());
        fs::remove_file(thread.join("status")).expect("a file");
        fs::create_dir(thread.join("status")).expect("what cannot be read");
        assert!(survey.add(folder.path(), Path::new("user:[1]")).is_err());
    }

    #[test]
    fn the_canary_is_the_first_that_nobody_around_can_hold() {
        let usual = Survey { around: around(DOCKER), ..Survey::default() };
        assert_eq!(usual.canary(Capabilities::ALL), Some(Capability::WakeAlarm));
        let around = usual.around.with(Capability::WakeAlarm);
        let waker = Survey { around, ..Survey::default() };
        assert_eq!(waker.canary(Capabilities::ALL), Some(Capability::BlockSuspend));
        assert_eq!(
            waker.canary(Capabilities::NONE.with(Capability::Lease)),
            Some(Capability::Lease)
        );
    }

    #[test]
    fn a_process_is_open_to_its_own_user_who_holds_what_it_may() {
        assert!(around(DOCKER).contains(Capability::DacOverride));
        assert_eq!(permitted(DOCKER), Some(Capabilities::NONE));
        let root = permitted("CapPrm:\t00000000a80425fb\n").expect("a set");
        let looking = Looking { owner: 0, permitted: Some(root) };
        assert!(looking.is_open_to(0, root.with(Capability::WakeAlarm)));
        assert!(!looking.is_open_to(0, Capabilities::NONE.with(Capability::NetRaw)));
        assert!(!looking.is_open_to(1000, root));
        assert!(looking.is_open_to(1000, Capabilities::NONE.with(Capability::SysPtrace)));
        assert!(!Looking { permitted: None, ..looking }.is_open_to(0, root));
    }

    #[test]
    fn a_container_is_known_by_the_control_group_of_its_process() {
        let id = "5f".repeat(32);
        for group in [
            format!("0::/../../kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("12:pids:/kubepods/pod1/{id}\n0::/\n"),
            format!("0::/kubepods/{id}/init.scope"),
        ] {
            assert_eq!(container(&group), Some(id.clone()), "{group}");
        }
        assert_eq!(container("0::/default/web").as_deref(), Some("web"));
        assert_eq!(container("0::/\n"), None);
        assert_eq!(container(""), None);
    }

    #[test]
    fn users_and_groups_of_every_kind_are_told() {
        let status =
            "Name:\tUid: 7\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t6\nGroups:\t65533 8 \nNStgid:\t9\n";
        assert_eq!(ids(status).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 5, 5, 6, 65533, 8]);
    }

    #[test]
    fn beside_a_privileged_process_there_is_no_canary() {
        let privileged = Survey { around: Capabilities::ALL, ..Survey::default() };
        assert!(privileged.can_trace());
        assert_eq!(privileged.canary(Capabilities::ALL), None);
    }

    #[test]
    fn who_ends_traces_nobody() {
        assert!(is_ending("12 (sleep) R 1 12 12 0 -1 4194308 0 0 0 0"));
        assert!(is_ending("12 (a) b) Z 1 12 12 0 -1 4228108 0 0 0 0"));
        assert!(!is_ending("12 (Z 1 1 1 1 1 4) S 1 12 12 0 -1 4194304 0 0 0 0"));
        let gone = has_ended(Path::new("/proc/self/task/4294967295"));
        assert!(gone.expect("its absence"));
        assert!(!is_ending("12 (sleep"), "not known is not gone");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to look at")]
    fn the_kernel_tells_who_ends() {
        let mut ended = std::process::Command::new("true").spawn().expect("it starts");
        let stat = format!("/proc/{}/stat", ended.id());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        // Not waited for yet: it stays what it is.
        while !is_ending(&fs::read_to_string(&stat).expect("nobody reaps it")) {
            assert!(std::time::Instant::now() < end, "it does not end");
            std::thread::yield_now();
        }
        ended.wait().expect("an own child");
        assert!(!is_ending(&fs::read_to_string("/proc/self/stat").expect("an own file")));
    }

    #[test]
    fn this_machine_can_be_surveyed() {
        let users = fs::read_link("/proc/self/ns/user").expect("a user namespace");
        let survey = Survey::take(&users, &Neighbours::own()).expect("a /proc");
        assert!(!survey.lookings.is_empty(), "a process runs here");
    }
}
