//! `check`: whether a session could work on this node, by trying what one does, without effect.
//!
//! Features are probed, never derived from a version: distributions port them back, and security
//! modules and seccomp take them away.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::{PidfdFlags, geteuid, getpid, pidfd_open};
use rustix::thread::{
    CapabilitySet, ThreadNameSpaceType, capabilities, move_into_thread_name_spaces,
};

use crate::config::CONTAINERD_SOCKET;
use crate::runtime::{ContainerRuntime, Containerd};

/// Which containerd to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// containerd's socket
    #[arg(long, env = "NSDEBUG_CONTAINERD", value_name = "SOCKET", default_value = CONTAINERD_SOCKET)]
    containerd: PathBuf,
}

/// One line of the answer.
struct Finding {
    what: &'static str,
    /// A detail, or why it fails.
    found: Result<String, String>,
    /// What it means when it fails.
    without: &'static str,
}

#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let CheckArgs { containerd } = args;
    let mut findings = vec![
        finding("root", root(), "nothing of this works: run it as root"),
        finding(
            "CAP_SYS_ADMIN",
            capability(CapabilitySet::SYS_ADMIN),
            "no namespace can be joined",
        ),
        finding(
            "CAP_SYS_PTRACE",
            capability(CapabilitySet::SYS_PTRACE),
            "processes of other users cannot be looked at",
        ),
        finding("pidfd_open", pidfd(), "a target cannot be held safely: Linux 5.3 or later"),
        finding("setns by pidfd", setns(), "a target cannot be entered: Linux 5.8 or later"),
        finding("new mount of proc", proc_mount(), "ps and top would show the node"),
        finding("sealed memfd_create", memfd(), "a hostile target could change the helper"),
    ];
    let without = "only `exec --pid` works";
    findings.push(Finding { what: "containerd", found: ask(containerd), without });
    let text: String = findings.iter().map(line).collect();
    // Nothing to do where stdout is closed: the exit code says it too.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(findings.iter().any(|finding| finding.found.is_err())))
}

fn finding(what: &'static str, tried: Result<(), String>, without: &'static str) -> Finding {
    Finding { what, found: tried.map(|()| String::new()), without }
}

fn line(finding: &Finding) -> String {
    let Finding { what, found, without } = finding;
    let line = match found {
        Ok(detail) => format!("ok       {what:<20} {detail}"),
        Err(why) => format!("MISSING  {what:<20} {why}; {without}"),
    };
    format!("{}\n", line.trim_end())
}

fn root() -> Result<(), String> {
    match geteuid() {
        uid if uid.is_root() => Ok(()),
        uid => Err(format!("this is uid {}", uid.as_raw())),
    }
}

fn capability(wanted: CapabilitySet) -> Result<(), String> {
    let held = capabilities(None).map_err(said)?.effective;
    if held.contains(wanted) { Ok(()) } else { Err("not in the effective set".to_owned()) }
}

fn pidfd() -> Result<(), String> {
    pidfd_open(getpid(), PidfdFlags::empty()).map(drop).map_err(said)
}

/// Joins the namespaces it is in already, in a thread that ends with it.
fn setns() -> Result<(), String> {
    let join = || {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        let kinds = ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
        move_into_thread_name_spaces(std::os::fd::AsFd::as_fd(&this), kinds)
    };
    let joined = std::thread::spawn(join).join();
    joined.map_err(|_| "the probe panicked".to_owned())?.map_err(said)
}

/// A mount that is attached nowhere and goes with its descriptor.
fn proc_mount() -> Result<(), String> {
    let mount = || {
        let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
    };
    mount().map(drop).map_err(said)
}

fn memfd() -> Result<(), String> {
    let seal = || {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("nsdebug-check", flags)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)
    };
    seal().map_err(said)
}

fn ask(socket: &std::path::Path) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(Containerd::new(socket).probe()).map_err(|error| crate::chain(&error))
}

fn said(errno: Errno) -> String {
    errno.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_missing_feature_means() {
        let missing = finding("pidfd_open", Err("Function not implemented".into()), "no target");
        assert_eq!(
            line(&missing),
            "MISSING  pidfd_open           Function not implemented; no target\n"
        );
        assert_eq!(line(&finding("root", Ok(()), "nothing")), "ok       root\n");
    }

    #[test]
    fn what_needs_no_privilege_is_there() {
        assert_eq!((pidfd(), memfd()), (Ok(()), Ok(())));
    }
}
