//! The packets of all pods on their way into the files: read, brought into order, written, counted.
//!
//! One loop. A pod is read only while its queue has room, so that one that sends too much makes its own kernel wait.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use capture::merge::{Bounds, Merge, Next};
use capture::pcap::Packet;
use capture::rotation::Turn;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::select;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at, sleep_until};
use wire::Signal;

use super::error::CaptureError;
use super::files::{PacketFileError, PacketFiles, Written};
use super::pod::{Pod, SETTLE};
use super::subject::{self, OpenWay, Subject};
use super::summary;
use super::tool::Traffic;
use crate::connect::Connection;
use crate::error::Failure;
use crate::many::session::{self, Deadline, pipes};
use crate::outcome::Outcome;
use crate::output;
use crate::signals::Signals;
use crate::stdio::Piece;

/// How often every tool is asked for its counts.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Sessions that are opened at a time.
const OPENING: usize = 16;

/// What ends a capture by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Packets of all pods.
    pub(crate) packets: Option<u64>,
    /// Bytes of all files.
    pub(crate) bytes: Option<u64>,
    pub(crate) time: Option<Duration>,
}

/// Why the tools were told to end.
#[derive(Debug)]
pub(super) enum Halt {
    Limit,
    Signal,
    Files(PacketFileError),
}

/// Whether packets can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    No,
    ByItsReader,
    ByAnError,
}

/// The session of a pod, by its place in the list.
pub(super) type Session = (usize, Result<Outcome, Failure>);

type Opening = Pin<Box<dyn Future<Output = (usize, Result<Box<Connection>, Failure>)>>>;

enum Event {
    Piece(usize, Option<Piece>),
    Opened(usize, Result<Box<Connection>, Failure>),
    Session(Session),
    Signal(Signal),
    Count,
    TimeIsUp,
    Broken(PacketFileError),
    /// The thread has room, or the first packet has waited long enough.
    GoOn,
}

pub(super) struct Flow {
    pub(super) subjects: Vec<Subject>,
    pub(super) pods: Vec<Pod>,
    pub(super) files: PacketFiles,
    pub(super) written: Written,
    pub(super) merge: Merge,
    opening: FuturesUnordered<Opening>,
    pub(super) sessions: JoinSet<Session>,
    /// Why there is no session, by the subject.
    pub(super) failed: HashMap<usize, String>,
    signals: Signals,
    traffic: Traffic,
    limits: Limits,
    deadline: Deadline,
    lateness: Duration,
    /// Packets that are in files.
    packets: u64,
    /// Set when the tools were told to end.
    pub(super) stop: Option<Halt>,
    /// A limit of packets, bytes or files is reached: what comes is in no file, and is not lost either.
    is_full: bool,
    /// The pod that is looked at first, so that none is always the last.
    first: usize,
    /// Whether it was said that packets are captured from now on.
    pub(super) is_announced: bool,
}

impl Flow {
    pub(super) fn of(
        files: PacketFiles,
        written: Written,
        signals: Signals,
        limits: Limits,
        traffic: Traffic,
        bounds: Bounds,
    ) -> Self {
        Self {
            subjects: Vec::new(),
            pods: Vec::new(),
            files,
            written,
            merge: Merge::new(bounds),
            opening: FuturesUnordered::new(),
            sessions: JoinSet::new(),
            failed: HashMap::new(),
            signals,
            traffic,
            limits,
            deadline: None,
            lateness: bounds.lateness,
            packets: 0,
            stop: None,
            is_full: false,
            first: 0,
            is_announced: false,
        }
    }

    /// Begins to open a session for each of `subjects`, a few at a time. Then all run.
    pub(super) fn open(
        &mut self,
        way: &Arc<OpenWay>,
        subjects: Vec<Subject>,
        query: &str,
        deadline: Deadline,
    ) {
        let turns = Arc::new(Semaphore::new(OPENING));
        for (number, subject) in subjects.iter().enumerate() {
            if let Some(refusal) = &subject.refusal {
                self.failed.insert(number, refusal.clone());
                continue;
            }
            let (way, at) = (Arc::clone(way), subject.at.clone());
            let (turns, query) = (Arc::clone(&turns), query.to_owned());
            self.opening.push(Box::pin(async move {
                let _turn = turns.acquire().await;
                (number, subject::open(&way, &at, &query, deadline).await.map(Box::new))
            }));
        }
        (self.subjects, self.deadline) = (subjects, deadline);
    }

    /// Runs until all sessions have ended and all that came is given to the files.
    pub(super) async fn run(&mut self) -> Result<(), CaptureError> {
        let began = tokio::time::Instant::now();
        let until = self.limits.time.and_then(|time| began.checked_add(time));
        let mut count = interval_at(began + COUNT_EVERY, COUNT_EVERY);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.announce();
            let due = self.write()?;
            let is_waiting = self.is_broken() == Broken::No && self.files.pass_on();
            if self.has_ended() && due == Due::Never && !is_waiting {
                return Ok(());
            }
            match self.event(due, is_waiting, until, &mut count).await {
                Event::Opened(number, Ok(connection)) => self.begin(number, *connection)?,
                Event::Opened(number, Err(failure)) => {
                    self.failed.insert(number, wire::chain(&failure));
                }
                Event::Piece(number, piece) => self.take(number, piece),
                Event::Session((number, ended)) => self.pods[number].ended(reason(ended)),
                Event::Count | Event::Signal(Signal::Usr1 | Signal::Usr2) => {
                    self.tell(Signal::Usr1);
                }
                Event::Signal(_) if self.stop.is_some() => return Ok(()), // the second
                Event::Signal(_) => self.end(Halt::Signal),
                Event::TimeIsUp => self.end(Halt::Limit),
                Event::Broken(error) => {
                    self.end(Halt::Limit);
                    self.stop = Some(Halt::Files(error));
                }
                Event::GoOn => {}
            }
        }
    }

    /// Says that packets are captured, once it is known of every pod whether they are.
    fn announce(&mut self) {
        let is_known = |pod: &Pod| pod.words.is_listening() || pod.has_ended();
        if self.is_announced || !self.opening.is_empty() || !self.pods.iter().all(is_known) {
            return;
        }
        self.is_announced = true;
        let captured = self.pods.iter().filter(|pod| pod.words.is_listening());
        let nodes = captured.clone().map(|pod| &self.subjects[pod.subject].node);
        let nodes: BTreeSet<_> = nodes.filter(|node| !node.is_empty()).collect();
        let Traffic { interface, snaplen, .. } = &self.traffic;
        let what = format!("{interface}, {snaplen} bytes");
        let (captured, pods) = (captured.count(), self.subjects.len());
        output::plain(&summary::beginning(captured, pods, nodes.len(), &what));
    }

    fn has_ended(&self) -> bool {
        self.opening.is_empty() && self.pods.iter().all(Pod::has_ended)
    }

    /// The session of this subject begins.
    fn begin(&mut self, number: usize, connection: Connection) -> Result<(), CaptureError> {
        if self.stop.is_some() {
            return Ok(());
        }
        let subject = &self.subjects[number];
        let added =
            self.files.add(subject.interface.clone(), &subject.file_name(), unix_nanoseconds());
        let place = added.map_err(CaptureError::File)?;
        let (pipes, ends) = pipes(None);
        let source = self.merge.add();
        self.pods.push(Pod::new(number, place, source, &self.traffic, ends));
        let deadline = self.deadline;
        self.sessions.spawn(async move {
            (source.index(), session::run(connection, pipes, deadline).await)
        });
        Ok(())
    }

    /// Writes what need not wait.
    fn write(&mut self) -> Result<Due, CaptureError> {
        while self.files.has_room() || self.is_left_out() {
            let now = Instant::now();
            match self.merge.next(now) {
                Next::Write(source, packet) => self.write_packet(source.index(), &packet, now)?,
                Next::Wait(due) => return Ok(Due::At(self.ask(due, now))),
                Next::Empty => return Ok(Due::Never),
            }
        }
        Ok(Due::WithRoom)
    }

    /// Asks the pods that the first packet waits for, if they can know. When to look again: at `due` at the latest.
    fn ask(&mut self, due: Instant, now: Instant) -> Instant {
        let arrived = due.checked_sub(self.lateness);
        let Some(ripe) = arrived.and_then(|at| at.checked_add(SETTLE)) else { return due };
        if !self.traffic.is_live {
            return due;
        }
        if now < ripe {
            return ripe.min(due);
        }
        let awaited: Vec<_> = self.merge.awaited().collect();
        let again = awaited.iter().filter_map(|source| self.pods[source.index()].ask(now));
        again.min().map_or(due, |again| again.min(due))
    }

    fn write_packet(
        &mut self,
        number: usize,
        packet: &Packet,
        now: Instant,
    ) -> Result<(), CaptureError> {
        if self.is_left_out() || self.is_broken() != Broken::No {
            return Ok(());
        }
        let place = self.pods[number].place;
        match self.files.turn(place, now) {
            Turn::Stay => {}
            Turn::Next => self.next_file(number).map_err(CaptureError::File)?,
            Turn::End => {
                self.is_full = true;
                self.end(Halt::Limit);
                return Ok(());
            }
        }
        self.files.packet(place, packet);
        self.packets += 1;
        let pod = &mut self.pods[number];
        pod.written += 1;
        pod.bytes += u64::from(packet.length);
        let Limits { packets, bytes, .. } = self.limits;
        if packets.is_some_and(|most| self.packets >= most)
            || bytes.is_some_and(|most| self.files.total() >= most)
        {
            self.is_full = true;
            self.end(Halt::Limit);
        }
        Ok(())
    }

    /// Whether what comes is past a limit, or its reader has had enough.
    pub(super) fn is_left_out(&self) -> bool {
        self.is_full || self.is_broken() == Broken::ByItsReader
    }

    fn is_broken(&self) -> Broken {
        match &self.stop {
            Some(Halt::Files(error)) if error.is_closed_pipe() => Broken::ByItsReader,
            Some(Halt::Files(_)) => Broken::ByAnError,
            _ => Broken::No,
        }
    }

    /// Has every tool end, once.
    fn end(&mut self, why: Halt) {
        if self.stop.is_none() {
            self.stop = Some(why);
            self.tell(Signal::Int);
        }
    }

    fn tell(&self, signal: Signal) {
        for pod in self.pods.iter().filter(|pod| pod.end.is_none()) {
            pod.tell(signal);
        }
    }

    fn take(&mut self, number: usize, piece: Option<Piece>) {
        if self.pods[number].take(piece, &mut self.merge, Instant::now()) {
            self.count(number);
        }
    }

    /// Ends the file of this pod with what is known of all that are in it, and begins the next.
    fn next_file(&mut self, number: usize) -> Result<(), PacketFileError> {
        let place = self.pods[number].place;
        for other in 0..self.pods.len() {
            if PacketFiles::are_together(place, self.pods[other].place) {
                self.count(other);
            }
        }
        self.files.next_file(place)
    }

    /// Writes what is known of the packets of a pod.
    pub(super) fn count(&mut self, number: usize) {
        let pod = &self.pods[number];
        let counts = pod.counts(self.merge.waiting(pod.source), self.is_left_out());
        self.files.statistics(pod.place, unix_nanoseconds(), &counts);
    }

    async fn event(
        &mut self,
        due: Due,
        is_waiting: bool,
        until: Option<tokio::time::Instant>,
        count: &mut Interval,
    ) -> Event {
        let is_whole = self.is_broken() == Broken::No;
        let Self { pods, files, written, merge, opening, sessions, signals, stop, first, .. } =
            self;
        let runs = stop.is_none();
        let packet_due = match due {
            Due::At(due) => Some(due.into()),
            Due::Never | Due::WithRoom => None,
        };
        select! {
            (number, piece) = poll_fn(|context| piece(pods, first, merge, context)) => {
                Event::Piece(number, piece)
            }
            Some((number, opened)) = opening.next() => Event::Opened(number, opened),
            Some(Ok(session)) = sessions.join_next() => Event::Session(session),
            signal = signals.next() => Event::Signal(signal),
            error = broken(written), if is_whole => Event::Broken(error),
            () = files.taking(), if is_waiting => Event::GoOn,
            () = reached(packet_due) => Event::GoOn,
            () = reached(until), if runs => Event::TimeIsUp,
            _ = count.tick(), if runs => Event::Count,
        }
    }
}

/// When there is something to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    At(Instant),
    WithRoom,
    Never,
}

/// The next of a pod that has room. Another pod is looked at first each time.
fn piece(
    pods: &mut [Pod],
    first: &mut usize,
    merge: &Merge,
    context: &mut Context<'_>,
) -> Poll<(usize, Option<Piece>)> {
    for step in 0..pods.len() {
        let number = (*first + step) % pods.len();
        let pod = &mut pods[number];
        let Some(output) = &mut pod.output else { continue };
        if merge.has_room(pod.source)
            && let Poll::Ready(piece) = output.poll_recv(context)
        {
            *first = number + 1;
            return Poll::Ready((number, piece));
        }
    }
    Poll::Pending
}

/// The thread that writes ends before it is told to only by an error.
async fn broken(written: &mut Written) -> PacketFileError {
    match written.await {
        Ok(Err(error)) => error,
        _ => std::future::pending().await,
    }
}

async fn reached(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Why a session ended that was not told to, or not as it was told.
fn reason(ended: Result<Outcome, Failure>) -> Option<String> {
    match ended {
        Ok(Outcome { code: 0, .. }) => None,
        Ok(Outcome { code, note, .. }) => {
            Some(note.unwrap_or_else(|| format!("tcpdump exited with {code}")))
        }
        Err(failure) => Some(wire::chain(&failure)),
    }
}

pub(super) fn unix_nanoseconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
