//! What each pod came to, and what is shown of all of them together.

use std::sync::Arc;
use std::time::Duration;

use super::fold::{FoldedAnswer, Folding};
use super::form::{Showing, Stage};
use super::json::JsonHead;
use super::kept::{Counts, Kept};
use super::listener::Said;
use super::member::Member;
use super::naming::{Colour, Naming};
use super::printer::Block;
use super::streams::ByStream;
use super::table::{Row, table};
use super::verdict::{self, Fate};
use crate::stdio::{OutputError, Sink};

/// One pod, and what became of it so far.
#[derive(Debug)]
struct PodAnswer {
    /// What stands before its lines.
    prefix: ByStream<String>,
    colour: Colour,
    head: JsonHead,
    row: Row,
    /// What it said, if that is shown at the end.
    kept: Option<(Kept, FoldedAnswer)>,
    /// Whether its last object was written, with `-o json`.
    is_told: bool,
}

#[derive(Debug)]
pub(crate) struct Answers {
    stage: Arc<Stage>,
    naming: Naming,
    all: Vec<PodAnswer>,
}

impl Answers {
    pub(crate) fn of(members: &[Member], naming: Naming, stage: Arc<Stage>) -> Self {
        let mut answers = Self { all: Vec::new(), naming, stage };
        for member in members {
            answers.join(member);
        }
        answers
    }

    /// One more.
    pub(crate) fn join(&mut self, member: &Member) {
        let row = Row {
            name: self.naming.name(member),
            node: member.node.clone(),
            fate: Fate::NotBegun,
            took: Duration::ZERO,
            words: String::new(),
        };
        let colour = self.naming.colour(member);
        let (prefix, head) = (self.naming.prefix(&row.name, colour), JsonHead::of(member));
        self.all.push(PodAnswer { prefix, colour, head, row, kept: None, is_told: false });
    }

    pub(crate) fn name(&self, who: usize) -> &str {
        &self.all[who].row.name
    }

    pub(crate) fn prefix(&self, who: usize) -> &ByStream<String> {
        &self.all[who].prefix
    }

    /// The container of `who` has restarted: what it says from now on is another session's.
    pub(crate) fn is_restarted(&mut self, who: usize, restarts: i32) {
        let answer = &mut self.all[who];
        let plain = answer.row.name.split(" (").next().unwrap_or_default().to_owned();
        let name = if restarts == 0 { plain } else { format!("{plain} (restart {restarts})") };
        answer.prefix = self.naming.prefix(&name, answer.colour);
        answer.row.name = name;
    }

    /// `who` has not begun, because another one failed.
    pub(crate) fn is_ended(&mut self, who: usize) {
        self.all[who].row.fate = Fate::Ended;
    }

    /// The session of `who` is over. `words` are what is said of it besides.
    pub(crate) async fn add(
        &mut self,
        who: usize,
        (fate, took): (Fate, Duration),
        said: Said,
        words: Option<String>,
    ) -> Result<(), OutputError> {
        let answer = &mut self.all[who];
        (answer.row.fate, answer.row.took) = (fate, took);
        let printer = Arc::clone(&self.stage.printer);
        if let Some(words) = words.as_ref().filter(|_| !self.stage.showing.has_reasons()) {
            printer.say(&answer.row.name, "error", words).await?;
        }
        if let (Showing::Json, true) = (&self.stage.showing, fate != Fate::NotBegun) {
            let exit = if let Fate::Exited(code) = fate { Some(code) } else { None };
            let words = words.as_deref().or(verdict::reason(fate));
            let bytes = answer.head.last(exit, words, said.counts, took);
            answer.is_told = true;
            let block = Block { who, to: Sink::Stdout, bytes, prefix: 0, is_open: false };
            return printer.print(block).await;
        }
        answer.row.words = words.unwrap_or(said.last);
        match (said.kept, fate) {
            (Some(kept), Fate::Exited(code)) => {
                let folded = FoldedAnswer {
                    name: answer.row.name.clone(),
                    code,
                    stdout: kept.pieces.of(Sink::Stdout),
                    stderr: kept.pieces.of(Sink::Stderr),
                    left_out: kept.left_out,
                    mark: kept.mark,
                };
                answer.kept = Some((kept.pieces, folded));
            }
            // An answer that is not whole is not compared.
            (Some(kept), _) => self.say(who, kept.pieces).await?,
            (None, _) => {}
        }
        if self.stage.showing.unfolding().is_some_and(super::listener::Unfolding::has_begun) {
            self.unfold().await?;
        }
        Ok(())
    }

    /// Says what is kept of the sessions that are over.
    pub(crate) async fn unfold(&mut self) -> Result<(), OutputError> {
        for who in 0..self.all.len() {
            if let Some((pieces, _)) = self.all[who].kept.take() {
                self.say(who, pieces).await?;
            }
        }
        Ok(())
    }

    async fn say(&self, who: usize, pieces: Kept) -> Result<(), OutputError> {
        let mut speaker = self.stage.speaker(who, &self.all[who].prefix);
        for piece in pieces.into_pieces() {
            speaker.take(&piece).await?;
        }
        speaker.end().await
    }

    /// What is shown once all sessions are over.
    pub(crate) async fn show(&mut self) -> Result<(), OutputError> {
        let text = match &self.stage.showing {
            Showing::Table => {
                table(&self.all.iter().map(|answer| answer.row.clone()).collect::<Vec<_>>())
            }
            Showing::Fold { ignore, .. } => {
                let kept = self.all.iter_mut().filter_map(|answer| answer.kept.take());
                let answers: Vec<_> = kept.map(|(_, folded)| folded).collect();
                let folding =
                    Folding { ignore: ignore.clone(), is_terminal: self.stage.is_terminal.stdout };
                folding.fold(self.all.len(), &answers)
            }
            Showing::Json => self.not_begun(),
            Showing::Text | Showing::Files(_) => String::new(),
        };
        let bytes = text.into_bytes();
        let block = Block { who: usize::MAX, to: Sink::Stdout, bytes, prefix: 0, is_open: false };
        if block.bytes.is_empty() { Ok(()) } else { self.stage.printer.print(block).await }
    }

    /// The objects of the pods that have none yet.
    fn not_begun(&self) -> String {
        let left = self.all.iter().filter(|answer| !answer.is_told).map(|answer| {
            let words = verdict::reason(answer.row.fate);
            answer.head.last(None, words, Counts::default(), Duration::ZERO)
        });
        left.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }

    /// A line about all of them, if they differ or were told to end.
    pub(crate) fn summary(&self, were_told: bool) -> Option<String> {
        let fates: Vec<_> =
            self.all.iter().map(|answer| (answer.row.name.clone(), answer.row.fate)).collect();
        let differ = fates.windows(2).any(|pair| pair[0].1 != pair[1].1);
        let is_due = (differ || were_told) && fates.len() > 1;
        (is_due && !self.stage.showing.has_reasons()).then(|| verdict::summary(&fates))
    }

    pub(crate) fn code(&self) -> u8 {
        verdict::code(self.all.iter().map(|answer| answer.row.fate))
    }
}
