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

use super::files::{PacketFileError, PacketFiles, Written};
use super::pod::{self, Pod, PodEnd, SETTLE};
use super::subject::{self, OpenWay, Subject};
use super::summary;
use super::tool::Traffic;
use crate::connect::Connection;
use crate::ending::{EndingSignal, Signalled, is_ending};
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

/// How [`Flow::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    ToItsEnd,
    /// By a second signal.
    CutShort,
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
    pub(super) signals: Signals,
    pub(super) signalled: Signalled,
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
            signalled: Signalled::default(),
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
    pub(super) async fn run(&mut self) -> Ran {
        let began = tokio::time::Instant::now();
        let until = self.limits.time.and_then(|time| began.checked_add(time));
        let mut count = interval_at(began + COUNT_EVERY, COUNT_EVERY);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.announce();
            let due = self.write();
            let is_waiting = self.is_broken() == Broken::No && self.files.pass_on();
            if self.has_ended() && due == Due::Never && !is_waiting {
                return Ran::ToItsEnd;
            }
            match self.event(due, is_waiting, until, &mut count).await {
                Event::Opened(number, Ok(connection)) => self.begin(number, *connection),
                Event::Opened(number, Err(failure)) => {
                    self.failed.insert(number, wire::chain(&failure));
                }
                Event::Piece(number, piece) => self.take(number, piece, Instant::now()),
                Event::Session((number, ended)) => {
                    self.pods[number].ended(end_of(ended, self.stop.is_some()));
                }
                Event::Count => self.ask_for_counts(),
                Event::Signal(signal) if !is_ending(signal) => self.tell(Signal::Usr1),
                Event::Signal(signal) => match self.signalled.hear(signal, Instant::now()) {
                    EndingSignal::First => self.end(Halt::Signal),
                    EndingSignal::Echo => {}
                    EndingSignal::Second => return Ran::CutShort,
                },
                Event::TimeIsUp => self.end(Halt::Limit),
                Event::Broken(error) => self.fail(error),
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
    fn begin(&mut self, number: usize, connection: Connection) {
        if self.stop.is_some() {
            return;
        }
        let subject = &self.subjects[number];
        let added =
            self.files.add(subject.interface.clone(), &subject.file_name(), unix_nanoseconds());
        let place = match added {
            Ok(place) => place,
            Err(error) => {
                self.failed.insert(number, wire::chain(&error));
                return self.fail(error);
            }
        };
        let (pipes, ends) = pipes(None);
        let source = self.merge.add();
        self.pods.push(Pod::new(number, place, source, &self.traffic, ends));
        let deadline = self.deadline;
        self.sessions.spawn(async move {
            (source.index(), session::run(connection, pipes, deadline).await)
        });
    }

    /// Writes what need not wait.
    pub(super) fn write(&mut self) -> Due {
        // What goes into no file needs no room there.
        while self.files.has_room() || self.is_left_out() || self.is_broken() != Broken::No {
            let now = Instant::now();
            match self.merge.next(now) {
                Next::Write(source, packet) => self.write_packet(source.index(), &packet, now),
                Next::Wait(due) => return Due::At(self.ask(due, now)),
                Next::Empty => return Due::Never,
            }
        }
        Due::WithRoom
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

    fn write_packet(&mut self, number: usize, packet: &Packet, now: Instant) {
        if self.is_left_out() || self.is_broken() != Broken::No {
            return;
        }
        let place = self.pods[number].place;
        match self.files.turn(place, now) {
            Turn::Stay => {}
            Turn::Next => {
                if let Err(error) = self.next_file(number) {
                    return self.fail(error);
                }
            }
            Turn::End => {
                self.is_full = true;
                return self.end(Halt::Limit);
            }
        }
        self.files.packet(place, packet);
        self.packets += 1;
        let pod = &mut self.pods[number];
        pod.written += 1;
        pod.bytes = pod.bytes.saturating_add(packet.length.into());
        let Limits { packets, bytes, .. } = self.limits;
        if packets.is_some_and(|most| self.packets >= most)
            || bytes.is_some_and(|most| self.files.total() >= most)
        {
            self.is_full = true;
            self.end(Halt::Limit);
        }
    }

    /// Whether what comes is past a limit, or its reader has had enough.
    pub(super) fn is_left_out(&self) -> bool {
        self.is_full || self.is_broken() == Broken::ByItsReader
    }

    /// Whether the thread that writes has ended by an error.
    pub(super) fn has_no_thread(&self) -> bool {
        matches!(&self.stop, Some(Halt::Files(error)) if error.is_of_the_thread())
    }

    pub(super) fn is_left_by_its_reader(&self) -> bool {
        self.is_broken() == Broken::ByItsReader
    }

    fn is_broken(&self) -> Broken {
        match &self.stop {
            Some(Halt::Files(error)) if error.is_closed_pipe() => Broken::ByItsReader,
            Some(Halt::Files(_)) => Broken::ByAnError,
            _ => Broken::No,
        }
    }

    /// Has every tool end, because of the files.
    fn fail(&mut self, error: PacketFileError) {
        self.end(Halt::Limit);
        self.stop = Some(Halt::Files(error));
    }

    /// Has every tool end, once. No further one begins.
    fn end(&mut self, why: Halt) {
        if self.stop.is_none() {
            self.stop = Some(why);
            self.opening.clear();
            self.tell(Signal::Int);
        }
    }

    /// Tells the tools. One that just starts would die of a question.
    pub(super) fn tell(&self, signal: Signal) {
        let hears = |pod: &&Pod| signal != Signal::Usr1 || pod.words.is_listening();
        for pod in self.pods.iter().filter(|pod| pod.end.is_none()).filter(hears) {
            pod.tell(signal);
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
pub(super) enum Due {
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

/// How a session ended; `was_told` if its tool was told to.
fn end_of(ended: Result<Outcome, Failure>, was_told: bool) -> PodEnd {
    match ended {
        Ok(Outcome { code: 0, .. }) => PodEnd::Whole,
        Ok(Outcome { code: pod::KILLED, .. }) if was_told => PodEnd::Early,
        Ok(Outcome { code, note, .. }) => {
            PodEnd::Cut(note.unwrap_or_else(|| format!("tcpdump exited with {code}")))
        }
        Err(failure) => PodEnd::Cut(wire::chain(&failure)),
    }
}

pub(super) fn unix_nanoseconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use capture::pcapng::{Head, Interface};
    use capture::rotation::Rotation;
    use tempfile::TempDir;

    use super::super::files::Destination;
    use super::super::finish::WriteEnd;
    use super::*;
    use crate::session::Pipes;
    use crate::stdio::Sink;

    /// The beginning of a stream of `any`, and one packet.
    const STREAM: [u8; 44] = [
        0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 0, 0, 20, 1, 0,
        0, // file
        1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4, // packet
    ];

    /// A capture into a file of its own.
    fn with_flow(check: impl AsyncFnOnce(&mut Flow)) {
        let folder = TempDir::new().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let to = Destination::Named(folder.path().join("a"));
            let (files, written) =
                PacketFiles::open(to, Head::default(), Rotation::default()).expect("files");
            let signals = Signals::listen(false).expect("signals");
            let (interface, filter) = ("any".to_owned(), None);
            let traffic = Traffic { interface, filter, snaplen: 96, is_live: false };
            let (limits, bounds) = (Limits::default(), Bounds::default());
            let mut flow = Flow::of(files, written, signals, limits, traffic, bounds);
            while flow.files.pass_on() {
                flow.files.taking().await;
            }
            check(&mut flow).await;
        });
    }

    fn add(flow: &mut Flow) -> Pipes {
        let place = flow.files.add(Interface::default(), "shop_web-1", 1).expect("a place");
        let (pipes, ends) = pipes(None);
        let source = flow.merge.add();
        flow.pods.push(Pod::new(source.index(), place, source, &flow.traffic, ends));
        pipes
    }

    fn says(to: Sink, bytes: &[u8]) -> Piece {
        Piece { to, bytes: Bytes::copy_from_slice(bytes) }
    }

    const LISTENING: &[u8] = b"tcpdump: listening on any\n";

    #[test]
    fn what_goes_into_no_file_waits_for_no_room() {
        with_flow(async |flow| {
            let _pipes = add(flow);
            let (place, source) = (flow.pods[0].place, flow.pods[0].source);
            let data = Bytes::from(vec![0; 64 << 10]);
            let packet = Packet { time: 1, length: 1, data };
            while flow.files.has_room() {
                flow.files.packet(place, &packet);
            }
            flow.merge.push(source, packet, Instant::now());
            flow.merge.end(source);
            assert_eq!(flow.write(), Due::WithRoom);
            flow.fail(PacketFileError::Write(io::ErrorKind::StorageFull.into()));
            assert_eq!(flow.write(), Due::Never);
        });
    }

    #[test]
    fn after_an_end_no_further_session_is_opened() {
        with_flow(async |flow| {
            flow.opening.push(Box::pin(std::future::pending()));
            flow.end(Halt::Limit);
            assert!(flow.has_ended());
        });
    }

    #[test]
    fn a_tool_that_just_starts_is_not_asked_for_counts() {
        with_flow(async |flow| {
            let mut pipes = add(flow);
            flow.ask_for_counts();
            assert!(pipes.signals.try_recv().is_err());
            flow.take(0, Some(says(Sink::Stderr, LISTENING)), Instant::now());
            flow.ask_for_counts();
            assert_eq!(pipes.signals.try_recv(), Ok(Signal::Usr1));
        });
    }

    #[test]
    fn a_tool_that_counts_all_the_time_fills_no_file_with_that() {
        with_flow(async |flow| {
            let _pipes = add(flow);
            let (before, now) = (flow.files.total(), Instant::now());
            for number in 1..1000 {
                let counts = format!("{number} packets received by filter\n");
                flow.take(0, Some(says(Sink::Stderr, counts.as_bytes())), now);
            }
            let one = flow.files.total() - before;
            assert!((1..200).contains(&one), "{one}");
            flow.ask_for_counts();
            assert_eq!(flow.files.total() - before, one * 2);
            flow.ask_for_counts();
            assert_eq!(flow.files.total() - before, one * 2);
        });
    }

    #[test]
    fn packets_that_wait_for_others_at_a_second_signal_are_written() {
        with_flow(async |flow| {
            let _pipes = [add(flow), add(flow)];
            flow.take(0, Some(says(Sink::Stdout, &STREAM)), Instant::now());
            assert!(matches!(flow.write(), Due::At(_)));
            assert_eq!(flow.finish(true).await, WriteEnd::Written);
            assert_eq!(flow.pods[0].counts(0, false).written, 1);
        });
    }

    #[test]
    fn packets_that_no_file_takes_are_counted_as_dropped() {
        with_flow(async |flow| {
            let _pipes = [add(flow), add(flow)];
            flow.take(0, Some(says(Sink::Stdout, &STREAM)), Instant::now());
            let path = "b".into();
            let source = io::ErrorKind::PermissionDenied.into();
            flow.fail(PacketFileError::Create { path, source });
            assert_eq!(flow.finish(true).await, WriteEnd::Written);
            let counts = flow.pods[0].counts(0, flow.is_left_out());
            assert_eq!((counts.written, counts.dropped_by_us), (0, 1));
        });
    }

    #[test]
    fn a_stream_that_breaks_behind_its_session_s_end_is_a_reason() {
        with_flow(async |flow| {
            let _pipes = add(flow);
            flow.pods[0].ended(PodEnd::Whole);
            assert_eq!(flow.pods[0].reason(), None);
            flow.take(0, Some(says(Sink::Stdout, &[7; 24])), Instant::now());
            let reason = flow.pods[0].reason().expect("a reason");
            assert!(reason.contains("cannot be read"), "{reason}");
        });
    }

    #[test]
    fn the_reason_of_a_tool_is_in_its_own_words() {
        with_flow(async |flow| {
            let _pipes = add(flow);
            flow.pods[0].ended(end_of(Ok(Outcome::of(1)), false));
            flow.take(0, Some(says(Sink::Stderr, b"tcpdump: no permission\n")), Instant::now());
            let reason = flow.pods[0].reason();
            assert_eq!(reason.as_deref(), Some("tcpdump exited with 1: no permission"));
        });
    }

    #[test]
    fn a_tool_that_was_told_before_it_captured_has_not_failed() {
        with_flow(async |flow| {
            let _pipes = add(flow);
            flow.pods[0].ended(end_of(Ok(Outcome::of(130)), true));
            assert!(flow.pods[0].is_early());
            flow.take(0, Some(says(Sink::Stderr, LISTENING)), Instant::now());
            assert!(!flow.pods[0].is_early());
            assert_eq!(flow.pods[0].reason().as_deref(), Some("tcpdump exited with 130"));
            flow.pods[0].ended(end_of(Ok(Outcome::of(130)), false));
            assert!(!flow.pods[0].is_early());
        });
    }

    #[test]
    fn counts_of_a_hostile_tool_are_no_overflow() {
        with_flow(async |flow| {
            let _pipes = add(flow);
            flow.take(0, Some(says(Sink::Stdout, &STREAM)), Instant::now());
            let most = format!("{} packets dropped by kernel\n", u64::MAX);
            flow.take(0, Some(says(Sink::Stderr, most.as_bytes())), Instant::now());
            assert_eq!(flow.pods[0].counts(0, false).received, u64::MAX);
        });
    }
}
