//! The network and the mounts that a cluster has for itself, and the one process that holds them together.
//!
//! What was started in there is found by its namespaces, never by its name.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::launch;
use super::layout::Layout;
use crate::container::namespace_link;
use crate::process::{Process, all_pids};
use crate::programs;
use crate::wait::patiently;

/// It mounts and links a dozen things.
const START_LIMIT: Duration = Duration::from_secs(20);
/// A killed process is gone at once, unless the machine swaps.
const DEATH_LIMIT: Duration = Duration::from_secs(5);

/// The namespaces of a cluster, known by the first process in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pid: u32,
    network: String,
    mounts: String,
    /// Numbers of namespaces mean something until the machine starts again.
    boot: String,
}

impl Holder {
    /// Make the namespaces and what is in them.
    pub(super) fn start(layout: &Layout) -> Self {
        layout.write("node/hold", include_str!("../../cluster/node/hold"));
        layout.write("node/resolv.conf", "");
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "--propagation", "slave", "sh"]);
        unshare.arg(layout.path("node/hold")).arg(layout.folder());
        let pid = launch::start(layout, "holder", &unshare);
        let process = Process::open(pid);
        let ended = || process.as_ref().is_none_or(|process| process.wait(Duration::ZERO));
        let ready = || layout.path("node/ready").exists();
        let over = patiently(START_LIMIT, || (ready() || ended()).then(ready));
        assert_eq!(over, Some(true), "no namespaces: {}", launch::log(layout, "holder"));
        let holder = Self::of(pid).expect("the holder runs");
        let Self { network, mounts, boot, .. } = &holder;
        layout.write("holder", &format!("{pid} {network} {mounts} {boot}\n"));
        holder.write_entrance(layout);
        holder
    }

    fn of(pid: u32) -> Option<Self> {
        let (network, mounts) = (namespace_link(pid, "net")?, namespace_link(pid, "mnt")?);
        Some(Self { pid, network, mounts, boot: boot() })
    }

    /// As it was written down by [`Holder::start`]; none where no cluster was, or before the machine's last start.
    pub(super) fn recorded(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join("holder")).ok()?;
        let mut words = text.split_whitespace().map(str::to_owned);
        let pid = words.next()?.parse().ok()?;
        let (network, mounts, boot) = (words.next()?, words.next()?, words.next()?);
        (boot == self::boot()).then_some(Self { pid, network, mounts, boot })
    }

    pub(super) fn runs(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether a process is in here: in both namespaces, as a number alone might mean another one by now.
    pub(super) fn contains(&self, pid: u32) -> bool {
        namespace_link(pid, "mnt").as_ref() == Some(&self.mounts)
            && namespace_link(pid, "net").as_ref() == Some(&self.network)
    }

    /// A command that runs in here.
    pub(super) fn enter(&self, command: &Command) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.pid.to_string(), "--net", "--mount", "--"]);
        nsenter.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            nsenter.env(name, value.unwrap_or_default());
        }
        nsenter
    }

    /// End everything in here, the holder too.
    pub(super) fn end(&self) {
        for pid in all_pids() {
            let Some(process) = Process::open(pid) else { continue };
            // Asked after the number is held, so that it is this process that is in here.
            if pid != std::process::id() && self.contains(pid) {
                process.signal(Signal::KILL);
                process.wait(DEATH_LIMIT);
            }
        }
    }

    /// `in COMMAND…`, for people and for tests alike.
    fn write_entrance(&self, layout: &Layout) {
        let folders = programs_in(layout);
        let text = include_str!("../../cluster/node/in")
            .replace("@HOLDER@", &self.pid.to_string())
            .replace("@NETWORK@", &self.network)
            .replace("@PATH@", &folders);
        layout.write("in", &text);
        launch::make_executable(&layout.path("in"));
    }
}

/// What `in` finds before anything else: kubectl, helm, ctr, and nsdebug as it was built beside this program.
fn programs_in(layout: &Layout) -> String {
    let ours = programs::folder();
    format!("{}:{}", layout.text("bin"), ours.to_str().expect("a plain path"))
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.expect("the kernel names each start").trim().to_owned()
}
