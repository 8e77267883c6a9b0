//! All of the sessions: a few at a time, told of the same signals, and judged together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use wire::{Label, Signal};

use super::answers::Answers;
use super::copy;
use super::follow::{self, IsNew, Seen};
use super::form::{Showing, Stage};
use super::listener::{ListenError, Said};
use super::member::Member;
use super::naming::Naming;
use super::one::{self, OneEnd, Shared};
use super::printer::Printer;
use super::queue::Queue;
use super::roster::{Roster, Sighting, Step};
use super::select::Followed;
use super::session;
use super::streams::ByStream;
use super::told::{self, Told};
use super::verdict::Fate;
use crate::error::Failure;
use crate::kubernetes::{Cluster, ListedPod};
use crate::outcome::Outcome;
use crate::session::SessionError;
use crate::signals::Signals;
use crate::stdio::{self, Finished, OutputError};

/// Answers are folded by default if all have come by then.
const FOLDED_WITHIN: Duration = Duration::from_secs(5);

/// A command in many pods.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) members: Vec<Member>,
    pub(crate) shared: Shared,
    /// Pods that are entered when they come. Then `members` are not entered besides: they are seen first.
    pub(crate) followed: Vec<Followed>,
    /// Pods that are followed at a time.
    pub(crate) most: usize,
    pub(crate) container: Option<Label>,
    /// For each tool.
    pub(crate) stdin: Option<Arc<[u8]>>,
    pub(crate) naming: Naming,
    pub(crate) showing: Showing,
    pub(crate) is_terminal: ByStream<bool>,
    pub(crate) most_at_once: usize,
    pub(crate) fail_fast: bool,
    pub(crate) quiet: bool,
}

/// Runs `order` to the end of its last session.
pub(crate) async fn run(cluster: Cluster, order: Order) -> Result<Outcome, Failure> {
    let mut signals = Signals::listen(true).map_err(SessionError::Signals)?;
    let (output, finished) = stdio::write_output().map_err(SessionError::Output)?;
    let printer = Arc::new(Printer::of(output));
    let told = Arc::new(Told::default());
    let round = Round::of(cluster, order, Arc::clone(&printer), Arc::clone(&told));
    let outcome = select! {
        outcome = to_the_end(round, &printer, finished) => outcome,
        // What the reader of stdout has not taken by now is not waited for.
        signal = told::pass_on(&told, &mut signals) => Ok(Outcome::killed_by(signal.number())),
    };
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(Unheard(error)) if error.is_closed_pipe() => Ok(Outcome::closed_pipe()),
        Err(Unheard(error)) => Err(SessionError::Output(error).into()),
    }
}

/// The sessions, and all that is said of them.
async fn to_the_end(
    mut round: Round,
    printer: &Printer,
    mut finished: Finished,
) -> Result<Outcome, Unheard> {
    let worked = select! {
        worked = round.work() => worked,
        error = broken(&mut finished) => Err(error.into()),
    };
    round.sessions.shutdown().await;
    let worked = match worked {
        Ok(()) => round.judge().await,
        Err(error) => Err(error),
    };
    printer.close().await;
    let outcome = worked?;
    finished.wait().await?;
    Ok(outcome)
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
    stage: Arc<Stage>,
    members: Vec<Arc<Member>>,
    shared: Arc<Shared>,
    stdin: Option<Arc<[u8]>>,
    fail_fast: bool,
    quiet: bool,
    course: Course,
    queue: Queue,
    sessions: JoinSet<(usize, OneEnd, Duration)>,
    told: Arc<Told>,
    answers: Answers,
    hints: BTreeSet<String>,
    following: Option<Following>,
    /// Whether it was said that pods wait.
    is_announced: bool,
}

/// What comes of pods that are not known yet.
struct Following {
    seen: mpsc::Receiver<Seen>,
    roster: Roster,
    container: Option<Label>,
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
    fn of(cluster: Cluster, order: Order, printer: Arc<Printer>, told: Arc<Told>) -> Self {
        let Order { members, shared, naming, showing, is_terminal, followed, .. } = order;
        let cluster = Arc::new(cluster);
        let is_shared = members.len() > 1 || !followed.is_empty();
        let members = if followed.is_empty() { members } else { Vec::new() };
        let following = (!followed.is_empty()).then(|| Following {
            seen: follow::follow(&cluster, followed),
            roster: Roster::of(order.most),
            container: order.container,
        });
        let stage = Arc::new(Stage { printer, showing, is_terminal, is_shared });
        Self {
            cluster,
            following,
            answers: Answers::of(&members, naming, Arc::clone(&stage)),
            stage,
            queue: Queue::of(members.len(), order.most_at_once),
            members: members.into_iter().map(Arc::new).collect(),
            shared: Arc::new(shared),
            stdin: order.stdin,
            fail_fast: order.fail_fast,
            quiet: order.quiet,
            sessions: JoinSet::new(),
            told,
            hints: BTreeSet::new(),
            course: Course::GoesOn,
            is_announced: false,
        }
    }

    async fn work(&mut self) -> Result<(), Unheard> {
        self.begin();
        if self.following.is_none() {
            self.announce().await?;
        }
        let (stage, told) = (Arc::clone(&self.stage), Arc::clone(&self.told));
        let mut unfolds = std::pin::pin!(unfolds(&stage));
        let mut has_unfolded = false;
        loop {
            select! {
                ended = next_end(&mut self.sessions, self.following.is_some()) => match ended {
                    Some(Ok((who, end, took))) => self.end(who, end, took).await?,
                    // None is ever cancelled, and a panic has been printed.
                    Some(Err(_)) => self.queue.ended(),
                    None => return Ok(()),
                },
                () = told.changes() => {}
                seen = next_seen(&mut self.following) => self.see(seen).await?,
                () = &mut unfolds, if !has_unfolded => {
                    has_unfolded = true;
                    self.answers.unfold().await?;
                }
            }
            self.begin();
        }
    }

    /// Says once that pods wait.
    async fn announce(&mut self) -> Result<(), Unheard> {
        if self.is_announced || self.quiet {
            return Ok(());
        }
        let Some(state) = self.queue.state() else { return Ok(()) };
        self.is_announced = true;
        Ok(self.stage.printer.say("", "note", &format!("{state} (--max-concurrent)")).await?)
    }

    /// Starts as many sessions as may run.
    fn begin(&mut self) {
        self.heed();
        while let Some((who, tries)) = self.queue.next() {
            let member = Arc::clone(&self.members[who]);
            let listener = self.stage.listener(who, self.answers.prefix(who), &member);
            let (pipes, ends) = session::pipes(self.stdin.as_ref().map(copy::feed));
            self.told.begins(who, ends.signals.clone());
            let (cluster, shared) = (Arc::clone(&self.cluster), Arc::clone(&self.shared));
            self.sessions.spawn(async move {
                let began = Instant::now();
                let end = one::run(cluster, member, shared, listener, (pipes, ends), tries).await;
                (who, end, began.elapsed())
            });
        }
    }

    /// Begins no more, if the sessions were told to end.
    fn heed(&mut self) {
        if !self.told.is_over() {
            return;
        }
        if self.course == Course::GoesOn {
            self.course = Course::Ends;
        }
        self.queue.give_up();
        self.following = None;
    }

    async fn end(&mut self, who: usize, end: OneEnd, took: Duration) -> Result<(), Unheard> {
        self.heed();
        self.told.has_ended(who);
        let is_for_too_many =
            matches!(&end, OneEnd::Failed(failure, _) if failure.is_for_too_many());
        if !is_for_too_many || self.course != Course::GoesOn {
            self.queue.ended();
        } else if self.queue.turned_away(who) {
            return Ok(());
        }
        let (fate, said, words) = self.judge_one(end)?;
        let is_cut = self.course == Course::IsCutShort && fate != Fate::Failed;
        let told = if is_cut { Fate::Ended } else { fate };
        self.answers.add(who, (told, took), said, words).await?;
        let again = self.following.as_mut().map(|following| following.roster.ended(who));
        if let Some(Step::Again(who, restarts)) = again {
            self.enter_again(who, restarts);
        }
        if self.fail_fast && fate != Fate::Exited(0) && self.course == Course::GoesOn {
            self.course = Course::IsCutShort;
            for one in self.queue.give_up() {
                self.answers.is_ended(one);
            }
            self.stop();
        }
        Ok(())
    }

    /// What a session came to, and what is said of it besides.
    fn judge_one(&mut self, end: OneEnd) -> Result<(Fate, Said, Option<String>), Unheard> {
        Ok(match end {
            OneEnd::Outcome(Outcome { code, note, hint }, said) => {
                self.hints.extend(hint);
                (Fate::Exited(code), said, note)
            }
            OneEnd::Failed(failure, said) => {
                self.hints.extend(failure.hint());
                let fate = failure.tool_s_exit_code().map_or(Fate::Failed, Fate::Exited);
                (fate, said, Some(wire::chain(&failure)))
            }
            OneEnd::NotBegun => (Fate::NotBegun, Said::default(), None),
            OneEnd::Unsayable(ListenError::Output(error)) => return Err(error.into()),
            OneEnd::Unsayable(error) => {
                if matches!(error, ListenError::Binary) {
                    self.hints.insert("--output-dir DIR writes a file for each pod".to_owned());
                }
                self.stop();
                (Fate::Failed, Said::default(), Some(wire::chain(&error)))
            }
        })
    }

    /// What was seen of pods that are followed.
    async fn see(&mut self, seen: Seen) -> Result<(), Unheard> {
        let Some(following) = &mut self.following else { return Ok(()) };
        let printer = Arc::clone(&self.stage.printer);
        let mut gone = Vec::new();
        match seen {
            Seen::Trouble(words) => {
                printer.say("", "warning", &format!("pods are not watched: {words}")).await?;
            }
            Seen::Gone(key) => gone.push(key),
            Seen::All(place, all) => {
                gone = following.roster.missing(place, &all);
                self.announce().await?;
            }
            Seen::Pod(place, pod, is_new) => {
                self.see_pod(place, *pod, is_new).await?;
                if is_new.0 {
                    self.begin();
                    self.announce().await?;
                }
            }
        }
        for key in gone {
            let Some(following) = &mut self.following else { return Ok(()) };
            if let Step::Left(who) = following.roster.gone(&key) {
                self.note(who, "the pod is deleted").await?;
            }
        }
        Ok(())
    }

    async fn see_pod(
        &mut self,
        place: usize,
        pod: ListedPod,
        is_new: IsNew,
    ) -> Result<(), Unheard> {
        let Some(following) = &mut self.following else { return Ok(()) };
        let (key, uid, status) = (follow::key(&pod), pod.metadata.uid.clone(), pod.status.clone());
        let member = Member::listed(pod, following.container.as_ref());
        let Some(member) = member else { return Ok(()) };
        let runs = member.container.as_ref().and_then(|container| status.runs(container));
        let name = key.1.clone();
        match following.roster.seen(Sighting { place, key, uid, runs }) {
            Step::Nothing | Step::Left(_) => {}
            Step::NoRoom => {
                let words = "is not entered: there are as many pods as --max-pods allows";
                self.stage.printer.say("", "warning", &format!("{name} {words}")).await?;
            }
            Step::Again(who, restarts) => self.enter_again(who, restarts),
            Step::Join(who) => {
                self.answers.join(&member);
                self.members.push(Arc::new(member));
                self.queue.add(who);
                if is_new.0 {
                    self.note(who, "the pod is new").await?;
                }
            }
        }
        Ok(())
    }

    async fn note(&self, who: usize, words: &str) -> Result<(), Unheard> {
        if self.quiet {
            return Ok(());
        }
        Ok(self.stage.printer.say(self.answers.name(who), "note", words).await?)
    }

    fn enter_again(&mut self, who: usize, restarts: i32) {
        self.answers.is_restarted(who, restarts);
        self.queue.add(who);
    }

    /// Ends all sessions, as a person would.
    fn stop(&mut self) {
        self.told.tell(Signal::Int);
        self.heed();
    }

    /// What all of it comes to.
    async fn judge(&mut self) -> Result<Outcome, Unheard> {
        self.answers.show().await?;
        if !self.quiet {
            if let Some(summary) = self.answers.summary(self.course != Course::GoesOn) {
                self.stage.printer.say("", "note", &summary).await?;
            }
            for hint in &self.hints {
                self.stage.printer.say("", "hint", hint).await?;
            }
        }
        Ok(Outcome::of(self.answers.code()))
    }
}

/// The next session to end; none, if none runs and no other is to come.
async fn next_end<T: 'static>(
    sessions: &mut JoinSet<T>,
    more_may_come: bool,
) -> Option<Result<T, JoinError>> {
    match sessions.join_next().await {
        None if more_may_come => std::future::pending().await,
        ended => ended,
    }
}

async fn next_seen(following: &mut Option<Following>) -> Seen {
    let Some(following) = following else { return std::future::pending().await };
    match following.seen.recv().await {
        Some(seen) => seen,
        None => std::future::pending().await,
    }
}

/// Completes if answers are not to be kept any longer.
async fn unfolds(stage: &Stage) {
    let Some(unfolding) = stage.showing.unfolding() else { return std::future::pending().await };
    select! {
        () = sleep(FOLDED_WITHIN) => unfolding.begin(),
        () = unfolding.begins() => {}
    }
}
