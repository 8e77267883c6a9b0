//! All of the sessions: a few at a time, told of the same signals, and judged together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::select;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::Signal;

use super::member::Member;
use super::naming::Naming;
use super::one::{self, OneEnd, Shared};
use super::printer::Printer;
use super::queue::Queue;
use super::session;
use super::speaker::{Speaker, SpeakerError, Style};
use super::verdict::{self, Fate};
use crate::error::Failure;
use crate::kubernetes::Cluster;
use crate::outcome::Outcome;
use crate::session::SessionError;
use crate::signals::Signals;
use crate::stdio::{self, Finished, OutputError};

/// SIGPIPE: the exit code that a shell shows of `yes | head -1`.
const CLOSED_PIPE: u8 = 13;

/// A command in many pods.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) members: Vec<Member>,
    pub(crate) shared: Shared,
    pub(crate) naming: Naming,
    pub(crate) style: Style,
    pub(crate) most_at_once: usize,
    pub(crate) fail_fast: bool,
    pub(crate) quiet: bool,
}

/// Runs `order` to the end of its last session.
pub(crate) async fn run(cluster: Cluster, order: Order) -> Result<Outcome, Failure> {
    let mut signals = Signals::listen(true).map_err(SessionError::Signals)?;
    let (output, mut finished) = stdio::write_output().map_err(SessionError::Output)?;
    let printer = Arc::new(Printer::of(output));
    let mut round = Round::of(cluster, order, Arc::clone(&printer));
    let worked = select! {
        worked = round.work(&mut signals) => worked,
        error = broken(&mut finished) => Err(error.into()),
    };
    round.sessions.shutdown().await;
    let worked = match worked {
        Ok(()) => round.judge().await,
        Err(error) => Err(error),
    };
    printer.close().await;
    let outcome = match worked {
        Ok(outcome) => finished.wait().await.map(|()| outcome).map_err(Unheard::from),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(Unheard(error)) if error.is_closed_pipe() => Ok(Outcome::killed_by(CLOSED_PIPE)),
        Err(Unheard(error)) => Err(SessionError::Output(error).into()),
    }
}

/// Our own output failed: nothing can be said any more.
#[derive(Debug)]
struct Unheard(OutputError);

impl From<OutputError> for Unheard {
    fn from(error: OutputError) -> Self {
        Self(error)
    }
}

async fn broken(finished: &mut Finished) -> OutputError {
    match finished.wait().await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

/// The sessions of one command.
struct Round {
    cluster: Arc<Cluster>,
    printer: Arc<Printer>,
    members: Vec<Arc<Member>>,
    shared: Arc<Shared>,
    /// What each is called, and what stands before its lines.
    names: Vec<(String, String)>,
    style: Style,
    fail_fast: bool,
    quiet: bool,
    course: Course,
    queue: Queue,
    sessions: JoinSet<(usize, OneEnd)>,
    /// To each session that runs.
    told: BTreeMap<usize, mpsc::Sender<Signal>>,
    fates: Vec<Fate>,
    hints: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    GoesOn,
    /// This command was told to end.
    Ends,
    /// The sessions that run were ended because of one that failed.
    IsCutShort,
}

impl Round {
    fn of(cluster: Cluster, order: Order, printer: Arc<Printer>) -> Self {
        let Order { members, shared, mut naming, style, most_at_once, fail_fast, quiet } = order;
        let names = members.iter().map(|one| (naming.name(one), naming.prefix(one))).collect();
        Self {
            cluster: Arc::new(cluster),
            printer,
            queue: Queue::of(members.len(), most_at_once),
            fates: vec![Fate::NotBegun; members.len()],
            members: members.into_iter().map(Arc::new).collect(),
            shared: Arc::new(shared),
            names,
            style,
            fail_fast,
            quiet,
            sessions: JoinSet::new(),
            told: BTreeMap::new(),
            hints: BTreeSet::new(),
            course: Course::GoesOn,
        }
    }

    async fn work(&mut self, signals: &mut Signals) -> Result<(), Unheard> {
        self.begin();
        if let Some(state) = self.queue.state().filter(|_| !self.quiet) {
            self.printer.say("", "note", &format!("{state} (--max-concurrent)")).await?;
        }
        loop {
            select! {
                ended = self.sessions.join_next() => match ended {
                    Some(Ok((who, end))) => self.end(who, end).await?,
                    // None is ever cancelled, and a panic has been printed.
                    Some(Err(_)) => self.queue.ended(),
                    None => return Ok(()),
                },
                signal = signals.next() => self.hear(signal),
            }
            self.begin();
        }
    }

    /// Starts as many sessions as may run.
    fn begin(&mut self) {
        while let Some((who, tries)) = self.queue.next() {
            let prefix = self.names[who].1.clone();
            let speaker = Speaker::of(Arc::clone(&self.printer), self.style, who, prefix);
            let (pipes, ends) = session::pipes(None);
            self.told.insert(who, ends.signals.clone());
            let (cluster, shared) = (Arc::clone(&self.cluster), Arc::clone(&self.shared));
            let member = Arc::clone(&self.members[who]);
            let running = one::run(cluster, member, shared, speaker, (pipes, ends), tries);
            self.sessions.spawn(async move { (who, running.await) });
        }
    }

    fn hear(&mut self, signal: Signal) {
        if !matches!(signal, Signal::Usr1 | Signal::Usr2) {
            self.end_all();
        }
        self.tell(signal);
    }

    fn end_all(&mut self) {
        if self.course == Course::GoesOn {
            self.course = Course::Ends;
        }
        self.queue.give_up();
    }

    /// A session that has as many signals before it as it can have hears no other.
    fn tell(&self, signal: Signal) {
        for told in self.told.values() {
            let _ = told.try_send(signal);
        }
    }

    async fn end(&mut self, who: usize, end: OneEnd) -> Result<(), Unheard> {
        self.told.remove(&who);
        let is_for_too_many = matches!(&end, OneEnd::Failed(failure) if failure.is_for_too_many());
        if !is_for_too_many || self.course != Course::GoesOn {
            self.queue.ended();
        } else if self.queue.turned_away(who) {
            return Ok(());
        }
        let name = self.names[who].0.clone();
        let fate = match end {
            OneEnd::Outcome(Outcome { code, note, hint }) => {
                if let Some(note) = note {
                    self.printer.say(&name, "error", &note).await?;
                }
                self.hints.extend(hint);
                Fate::Exited(code)
            }
            OneEnd::Failed(failure) => {
                self.printer.say(&name, "error", &wire::chain(&failure)).await?;
                self.hints.extend(failure.hint());
                failure.tool_s_exit_code().map_or(Fate::Failed, Fate::Exited)
            }
            OneEnd::NotBegun => Fate::NotBegun,
            OneEnd::Unsayable(SpeakerError::Output(error)) => return Err(error.into()),
            OneEnd::Unsayable(error @ SpeakerError::Binary) => {
                self.printer.say(&name, "error", &error.to_string()).await?;
                self.stop();
                Fate::Failed
            }
        };
        let is_cut = self.course == Course::IsCutShort && fate != Fate::Failed;
        self.fates[who] = if is_cut { Fate::Ended } else { fate };
        if self.fail_fast && fate != Fate::Exited(0) && self.course == Course::GoesOn {
            self.course = Course::IsCutShort;
            for one in self.queue.give_up() {
                self.fates[one] = Fate::Ended;
            }
            self.stop();
        }
        Ok(())
    }

    /// Ends all sessions, as a person would.
    fn stop(&mut self) {
        self.hear(Signal::Int);
    }

    /// What all of it comes to.
    async fn judge(&mut self) -> Result<Outcome, Unheard> {
        let fates = self.fates.iter().copied();
        let code = verdict::code(fates);
        let alike = self.fates.windows(2).all(|pair| pair[0] == pair[1]);
        if !self.quiet && (!alike || self.course != Course::GoesOn) && self.fates.len() > 1 {
            let names = self.names.iter().map(|(name, _)| name.clone());
            let fates: Vec<_> = names.zip(self.fates.iter().copied()).collect();
            self.printer.say("", "note", &verdict::summary(&fates)).await?;
        }
        if !self.quiet {
            for hint in &self.hints {
                self.printer.say("", "hint", hint).await?;
            }
        }
        Ok(Outcome::of(code))
    }
}
