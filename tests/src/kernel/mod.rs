//! Another kernel than this machine's, under emulation, with our programs and nothing else.
//!
//! The guest has two serial lines: the kernel and whatever programs complain about come over the first, results
//! over the second, so that neither is cut in two by the other.

mod archive;
mod content;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use content::{PROFILES, TOOLS};
pub use report::{END, NOT_OK, OK, Report};

use crate::programs::agent;
use crate::requirement::Requirement;
use crate::running::Running;

const EMULATOR: &str = "qemu-system-x86_64";
/// Boot, tests and a machine that is busy with others; past it the guest hangs.
const TIME_LIMIT: Duration = Duration::from_secs(240);
/// Lines of the kernel's log that a failure shows.
const TAIL: usize = 60;
/// What runs over there: static or not, it is packed with what it needs.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic rdinit=/bin/guest \
                            lsm=lockdown,landlock,yama,apparmor,tomoyo,bpf apparmor=1";

/// A guest that has come to its end.
#[derive(Debug)]
pub struct Guest {
    report: Report,
    log: String,
    took: Duration,
}

impl Guest {
    /// Everything it takes to boot one.
    pub fn requirement() -> Requirement {
        let kernel = kernel();
        let kernel = kernel.to_string_lossy();
        let programs = [EMULATOR, "ldd", "apparmor_parser", &kernel];
        Requirement::all(programs.into_iter().chain(TOOLS).map(Requirement::program))
    }

    /// Boots `guest` as the first process and waits until the machine is off.
    pub fn run(guest: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the guest");
        let file = |name: &str| folder.path().join(name);
        let agent = PathBuf::from(agent().get_program());
        std::fs::write(file("initramfs"), content::pack(guest, &agent)).expect("the guest's files");
        let results = file("results");
        let mut emulator = Command::new(EMULATOR);
        emulator.args(["-accel", "tcg", "-cpu", "max", "-m", "1G", "-smp", "2", "-no-reboot"]);
        emulator.args(["-display", "none", "-monitor", "none", "-nic", "none", "-nodefaults"]);
        emulator.args(["-serial", "stdio", "-serial"]);
        emulator.arg(format!("file:{}", results.display()));
        emulator.arg("-kernel").arg(kernel()).arg("-initrd").arg(file("initramfs"));
        let started = Instant::now();
        let emulator = Running::start(emulator.args(["-append", COMMAND_LINE]));
        let ended = emulator.wait_until_ended(TIME_LIMIT);
        let mut log = emulator.stdout() + &emulator.stderr();
        if !ended {
            log.push_str("\nthe guest was stopped: its time was up");
        }
        drop(emulator);
        let said = std::fs::read(&results).unwrap_or_default();
        let report = Report::parse(&String::from_utf8_lossy(&said));
        Self { report, log, took: started.elapsed() }
    }

    /// Fails the test unless exactly `expected` ran over there, each once, and passed.
    pub fn assert_passed(&self, expected: &[&str]) {
        let faults = self.report.faults(expected);
        let lines: Vec<_> = self.log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        let (passed, wanted, took) = (self.report.passed(), expected.len(), self.took);
        assert!(
            faults.is_empty(),
            "{passed} of {wanted} passed on the second kernel, in {took:.0?}:\n  {}\n--- its log\n{tail}",
            faults.join("\n  ")
        );
        assert_eq!(passed, wanted);
    }
}

/// Where tests/prerequisites puts the kernel.
fn kernel() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_default().join("nsdebug/kernel-cloud-amd64/vmlinuz")
}
