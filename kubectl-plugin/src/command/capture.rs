//! `kubectl nsdebug capture TARGET...`: from the command line to a capture, decided. Doing it is in `capture`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;

use capture::rotation::Rotation;
use wire::TimeSpan;

use super::many;
use super::run::{self, Purpose, Terminals};
use crate::capture::{Access, CaptureOrder, Limits, To, Traffic};
use crate::cli::{Arguments, CaptureFlags, UsageError};
use crate::error::Failure;
use crate::outcome::Outcome;
use crate::runtime;
use crate::target::Target;

/// What `--headers` keeps: Ethernet, IPv6 and TCP with its options, or the beginning of a DNS name.
const HEADERS: u32 = 96;

/// What is kept into a pipe where no other number is asked for: a jumbo frame. The kernel's buffer there has one place
/// of this size for each packet, and places of [`capture::SNAPLEN`] bytes would be 64.
const LIVE: u32 = 9_216;

pub(super) fn run(arguments: Arguments, flags: CaptureFlags) -> Result<Outcome, Failure> {
    let (access, order) = order(arguments, flags, std::io::stdout().is_terminal())?;
    runtime::run(crate::capture::run(access, order))
}

fn order(
    mut arguments: Arguments,
    flags: CaptureFlags,
    is_terminal: bool,
) -> Result<(Access, CaptureOrder), UsageError> {
    let to = to(&flags, is_terminal)?;
    let rotation = rotation(&flags, &to)?;
    let is_live = matches!(to, To::Stdout | To::Wireshark);
    let usual = if is_live { LIVE } else { capture::SNAPLEN };
    let snaplen = if flags.headers { HEADERS } else { flags.snapshot_length.unwrap_or(usual) };
    let traffic = Traffic { interface: flags.interface, filter: flags.filter, snaplen, is_live };
    let limits = Limits {
        packets: flags.count.map(Into::into),
        bytes: flags.max_size,
        time: flags.for_time.map(TimeSpan::duration).filter(|time| !time.is_zero()),
    };
    let can_be_wrong = traffic.filter.is_some() || !traffic.is_any();
    let check = can_be_wrong.then(|| query(&mut arguments, traffic.check())).transpose()?;
    let query = query(&mut arguments, traffic.command())?;
    let comment = comment(&traffic, arguments.choice.reason.as_deref());
    let (timeout, quiet) = (arguments.timeout.map(TimeSpan::duration), arguments.quiet);
    let access = access(Arguments { targets: flags.targets, ..arguments })?;
    let order = CaptureOrder {
        traffic,
        check,
        query,
        to,
        rotation,
        limits,
        timeout: timeout.filter(|timeout| !timeout.is_zero()),
        comment,
        fail_on_drop: flags.fail_on_drop,
        quiet,
    };
    Ok((access, order))
}

/// The session of `command`, by the agent's own judgement.
fn query(arguments: &mut Arguments, command: Vec<String>) -> Result<String, UsageError> {
    const NONE: Terminals = Terminals { stdin: false, stdout: false, stderr: false };
    arguments.command = command.into_iter().map(OsString::from).collect();
    (arguments.stdin, arguments.tty) = (false, false);
    Ok(run::words(arguments, NONE, None, Purpose::Session)?.0.query)
}

fn to(flags: &CaptureFlags, is_terminal: bool) -> Result<To, UsageError> {
    match (&flags.file, &flags.split) {
        _ if flags.wireshark => Ok(To::Wireshark),
        (_, Some(folder)) => Ok(To::Split(folder.clone())),
        (None, None) => Err(UsageError::NoPlace),
        (Some(file), None) if file == Path::new("-") && is_terminal => {
            Err(UsageError::PacketsOnTerminal)
        }
        (Some(file), None) if file == Path::new("-") => Ok(To::Stdout),
        (Some(file), None) => Ok(To::File(file.clone())),
    }
}

fn rotation(flags: &CaptureFlags, to: &To) -> Result<Rotation, UsageError> {
    let rotation = Rotation {
        size: flags.file_size,
        age: flags.file_time.map(TimeSpan::duration).filter(|time| !time.is_zero()),
        files: flags.file_count.map(Into::into),
    };
    let given = [
        ("-C", rotation.size.is_some()),
        ("-G", rotation.age.is_some()),
        ("-W", rotation.files.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) if matches!(to, To::Stdout | To::Wireshark) => {
            Err(UsageError::NoFile { flag })
        }
        _ => Ok(rotation),
    }
}

/// What the file says of how it came about. No word of the command line, which may hold a token.
fn comment(traffic: &Traffic, reason: Option<&str>) -> String {
    let Traffic { interface, filter, snaplen, .. } = traffic;
    let mut lines = vec![format!("interface={interface}"), format!("snaplen={snaplen}")];
    lines.extend(filter.iter().map(|filter| format!("filter={filter}")));
    lines.extend(reason.map(|reason| format!("reason={reason}")));
    lines.join("\n")
}

fn access(mut arguments: Arguments) -> Result<Access, UsageError> {
    if let Some(address) = arguments.direct.agent.take() {
        if let Some(flag) = arguments.cluster.given().or(arguments.selection.given()) {
            return Err(UsageError::TwoWays { flag });
        }
        if arguments.targets.is_empty() {
            return Err(UsageError::NoTarget);
        }
        let target = |target| run::of_agent(target, arguments.namespace.clone());
        let targets = arguments.targets.into_iter().map(target).collect::<Result<_, _>>()?;
        let credentials = Box::new(run::credentials(&address, arguments.certificates)?);
        return Ok(Access::Agent { address, credentials, targets });
    }
    if arguments.targets.is_empty() && !arguments.selection.selects() {
        return Err(UsageError::NoTarget);
    }
    if arguments.targets.iter().any(|target| matches!(target, Target::Node(_))) {
        return Err(UsageError::CaptureOfNode);
    }
    let is_workload = |target: &Target| matches!(target, Target::Workload { .. });
    arguments.selection.all_pods = arguments.targets.iter().any(is_workload);
    let wish = Box::new(many::wish(&arguments)?);
    let (flags, certificates) = (Box::new(arguments.cluster), Box::new(arguments.certificates));
    Ok(Access::Cluster { flags, certificates, wish })
}
