//! `kubectl nsdebug capture`: tcpdump in many pods, and their packets in one file.
//!
//! `command::capture` decides what is wanted. From here: `subject` finds the pods and has the filter checked, `flow`
//! reads, orders, writes and counts, `summary` says what became of it. What a packet file is, is in the crate
//! `capture`.

mod counts;
mod destination;
mod error;
mod files;
mod finish;
mod flow;
mod names;
mod pod;
mod subject;
mod summary;
mod tool;

pub(crate) use destination::To;
pub(crate) use error::CaptureError;
pub(crate) use flow::Limits;
pub(crate) use subject::Access;
pub(crate) use tool::Traffic;

use std::collections::HashMap;
use std::sync::Arc;

use capture::merge::Bounds;
use capture::pcapng::Head;
use capture::rotation::Rotation;
use files::PacketFiles;
use finish::WriteEnd;
use flow::{Flow, Halt, Ran};
use pod::Pod;
use subject::{Subject, Subjects};
use summary::PodRow;

use crate::error::Failure;
use crate::many::session::deadline;
use crate::outcome::Outcome;
use crate::output;
use crate::session::SessionError;
use crate::signals::Signals;

/// What `--fail-on-drop` returns.
const DROPPED: u8 = 1;
/// A pod failed, or its packets are incomplete.
const INCOMPLETE: u8 = 125;

const BEFORE_IT_BEGAN: &str = "ended before it began";
const BY_A_LIMIT: &str = "the capture had reached its limit before it began";
const LEFT: &str = "what was left had no reader";

/// A capture, decided.
#[derive(Debug)]
pub(crate) struct CaptureOrder {
    pub(crate) traffic: Traffic,
    /// The session that checks the filter; none where nothing can be wrong.
    pub(crate) check: Option<String>,
    /// The session that captures.
    pub(crate) query: String,
    pub(crate) to: To,
    pub(crate) rotation: Rotation,
    pub(crate) limits: Limits,
    /// Of a session, beside those limits.
    pub(crate) timeout: Option<std::time::Duration>,
    /// What the file says of itself.
    pub(crate) comment: String,
    pub(crate) fail_on_drop: bool,
    pub(crate) quiet: bool,
}

pub(crate) async fn run(access: Access, order: CaptureOrder) -> Result<Outcome, Failure> {
    let Subjects { way, all: subjects, names } = subject::find(access, &order.traffic).await?;
    let (way, ends_at) = (Arc::new(way), deadline(order.timeout));
    if let Some(check) = &order.check {
        subject::check(&way, &subjects, check, &order.traffic, ends_at).await?;
    }
    let signals = Signals::listen(true).map_err(SessionError::Signals)?;
    let head = Head {
        application: concat!("kubectl-nsdebug ", env!("CARGO_PKG_VERSION")).to_owned(),
        system: std::env::consts::OS.to_owned(),
        comment: order.comment.clone(),
    };
    let destination = destination::open(&order.to)?;
    let (mut files, written) =
        PacketFiles::open(destination, head, order.rotation).map_err(CaptureError::File)?;
    files.name(&names);
    let bounds = bounds(&order.traffic);
    let traffic = order.traffic.clone();
    let mut flow = Flow::of(files, written, signals, order.limits, traffic, bounds);
    flow.is_announced = order.quiet;
    flow.open(&way, subjects, &order.query, ends_at);
    let ran = flow.run().await;
    end(flow, ran, &order).await
}

/// Packets that the kernel keeps for a second are waited for longer.
fn bounds(traffic: &Traffic) -> Bounds {
    let usual = Bounds::default();
    if traffic.is_live { usual } else { Bounds { lateness: usual.lateness * 3, ..usual } }
}

/// Says what became of every pod, and returns what the capture as a whole was worth.
async fn end(mut flow: Flow, ran: Ran, order: &CaptureOrder) -> Result<Outcome, Failure> {
    let rest = flow.finish(ran == Ran::CutShort).await;
    let rows = rows(&flow, rest);
    if !order.quiet {
        let table = summary::table(&rows, flow.merge.late(), order.traffic.is_live);
        table.lines().for_each(output::plain);
    }
    match flow.stop {
        Some(Halt::Files(error)) if error.is_closed_pipe() && order.to == To::Wireshark => {}
        Some(Halt::Files(error)) if error.is_closed_pipe() => {
            return Ok(Outcome::closed_pipe());
        }
        Some(Halt::Files(error)) => return Err(CaptureError::File(error).into()),
        _ => {}
    }
    let has_failed = rest == WriteEnd::Left || rows.iter().any(PodRow::has_failed);
    let has_dropped = order.fail_on_drop && rows.iter().any(|row| row.dropped() > 0);
    Ok(Outcome::of(match (has_failed, has_dropped) {
        (true, _) => INCOMPLETE,
        (false, true) => DROPPED,
        (false, false) => 0,
    }))
}

/// A row for each pod that was asked for, in that order.
fn rows(flow: &Flow, rest: WriteEnd) -> Vec<PodRow> {
    let begun: HashMap<usize, &Pod> = flow.pods.iter().map(|pod| (pod.subject, pod)).collect();
    let row = |(number, subject): (usize, &Subject)| {
        let pod = subject.name.clone();
        let (reason, begun) = (flow.failed.get(&number).cloned(), begun.get(&number));
        let Some(begun) = begun.filter(|pod| !pod.is_early()) else {
            let is_excused = reason.is_none() && matches!(flow.stop, Some(Halt::Limit));
            let early = if is_excused { BY_A_LIMIT } else { BEFORE_IT_BEGAN };
            let reason = reason.or(Some(early.to_owned()));
            return PodRow { pod, reason, is_excused, ..PodRow::default() };
        };
        let counts = begun.counts(0, flow.is_left_out());
        let is_left = rest == WriteEnd::Left && counts.dropped_by_us > 0;
        let reason = begun.reason().or(is_left.then(|| LEFT.to_owned()));
        PodRow { pod, counts, bytes: begun.bytes, reason, is_excused: false }
    };
    flow.subjects.iter().enumerate().map(row).collect()
}
