//! What was found, a line each, and what it comes to.

use crate::kubernetes::error::ClusterError;
use crate::output;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// A session cannot be without it.
    No,
    /// Something would not work, and a session could do without it.
    Without,
    /// It is not for this user to see, or was not looked for.
    Unseen,
}

#[derive(Debug)]
struct Line {
    verdict: Verdict,
    about: &'static str,
    text: String,
}

#[derive(Debug, Default)]
pub(super) struct Report(Vec<Line>);

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::No => "no",
            Self::Without => "without",
            Self::Unseen => "cannot see",
        }
    }
}

impl Report {
    pub(super) fn add(&mut self, verdict: Verdict, about: &'static str, text: impl Into<String>) {
        let text = output::in_one_line(&text.into());
        self.0.push(Line { verdict, about, text });
    }

    /// Something that is needed and failed so.
    pub(super) fn failed(&mut self, about: &'static str, error: &ClusterError) {
        self.add(Verdict::No, about, wire::chain(error));
    }

    /// Whether nothing is missing that a session needs.
    pub(super) fn works(&self) -> bool {
        self.0.iter().all(|line| line.verdict != Verdict::No)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .0
            .iter()
            .map(|Line { verdict, about, text }| {
                format!("{:<10}  {about:<16}  {text}", verdict.as_str())
            })
            .collect();
        lines.push(if self.works() {
            "A session could work.".to_owned()
        } else {
            let missing = self.0.iter().filter(|line| line.verdict == Verdict::No).count();
            let lines = if missing == 1 { "line" } else { "lines" };
            format!("No session would work: see the {lines} marked `no`.")
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_and_missing_decides() {
        let mut report = Report::default();
        report.add(Verdict::Ok, "API server", "answers");
        report.add(Verdict::Unseen, "agent", "not yours to list");
        report.add(Verdict::Without, "profile", "sysadmin");
        assert!(report.works());
        assert_eq!(report.lines()[1], "cannot see  agent             not yours to list");
        assert_eq!(report.lines()[3], "A session could work.");
        report.add(Verdict::No, "right", "create\n\u{1b}[2J pods/exec");
        assert!(!report.works());
        assert_eq!(report.lines()[3], "no          right             create [2J pods/exec");
        assert_eq!(report.lines()[4], "No session would work: see the line marked `no`.");
    }
}
