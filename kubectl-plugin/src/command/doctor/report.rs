//! What was found, a line each, and what it comes to.

use crate::kubernetes::error::ClusterError;
use crate::output;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// A session cannot be without it.
    No,
    /// Something would not work, and a session could do without it.
    Note,
    /// It is not for this user to see, or was not looked for.
    Unknown,
}

#[derive(Debug)]
struct Line {
    verdict: Verdict,
    about: &'static str,
    text: String,
}

#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<Line>,
    /// What the servers say of the session that is meant, where they could be asked.
    settled: Option<bool>,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::No => "no",
            Self::Note => "note",
            Self::Unknown => "unknown",
        }
    }
}

impl Report {
    pub(super) fn add(&mut self, verdict: Verdict, about: &'static str, text: impl Into<String>) {
        let text = output::in_one_line(&text.into());
        self.lines.push(Line { verdict, about, text });
    }

    /// Something that is needed and failed so.
    pub(super) fn failed(&mut self, about: &'static str, error: &ClusterError) {
        self.add(Verdict::No, about, wire::chain(error));
    }

    /// The session that is meant would work, or not. What else was found only explains it.
    pub(super) fn settled(&mut self, works: bool) {
        self.settled = Some(works);
    }

    /// Whether the session would work; where that could not be asked, whether nothing is missing that one needs.
    pub(super) fn works(&self) -> bool {
        self.settled.unwrap_or_else(|| self.lines.iter().all(|line| line.verdict != Verdict::No))
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let shown = self.lines.iter().map(|Line { verdict, about, text }| {
            // A session that works does without it.
            let verdict = match verdict {
                Verdict::No if self.works() => Verdict::Note,
                verdict => *verdict,
            };
            format!("{:<10}  {about:<16}  {text}", verdict.as_str())
        });
        shown.chain([self.sum()]).collect()
    }

    fn sum(&self) -> String {
        let missing = self.lines.iter().filter(|line| line.verdict == Verdict::No).count();
        let lines = if missing == 1 { "line" } else { "lines" };
        match (self.works(), self.settled) {
            (true, Some(_)) => "This session would work.".to_owned(),
            (true, None) => "A session could work.".to_owned(),
            (false, Some(_)) => {
                format!("This session would not work: see the {lines} marked `no`.")
            }
            (false, None) => format!("No session would work: see the {lines} marked `no`."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_and_missing_decides() {
        let mut report = Report::default();
        report.add(Verdict::Ok, "API server", "answers");
        report.add(Verdict::Unknown, "agent", "forbidden");
        report.add(Verdict::Note, "profile", "sysadmin");
        assert!(report.works());
        assert_eq!(report.lines()[1], "unknown     agent             forbidden");
        assert_eq!(report.lines()[3], "A session could work.");
        report.add(Verdict::No, "right", "create\n\u{1b}[2J pods/exec");
        assert!(!report.works());
        assert_eq!(report.lines()[3], "no          right             create [2J pods/exec");
        assert_eq!(report.lines()[4], "No session would work: see the line marked `no`.");
    }
    #[test]
    fn what_the_servers_say_of_a_session_is_the_last_word() {
        let mut report = Report::default();
        report.add(Verdict::No, "right", "create pods/exec");
        report.settled(true);
        assert!(report.works());
        assert_eq!(report.lines()[0], "note        right             create pods/exec");
        assert_eq!(report.lines()[1], "This session would work.");
        let mut report = Report::default();
        report.add(Verdict::Ok, "right", "create pods/exec");
        report.add(Verdict::No, "session", "refused");
        report.settled(false);
        assert!(!report.works());
        assert_eq!(report.lines()[2], "This session would not work: see the line marked `no`.");
    }
}
