//! `-o fold`: equal answers once, and of the others what differs.
//!
//! Pure. The bytes of each stream are compared, and not what is shown of them. Of an answer that is longer than what
//! is kept, all bytes count.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use regex_lite::Regex;
use similar::{Algorithm, DiffOp};

use crate::output;

/// What comparing may take: after it a difference is shown as it was found so far, which may be longer than it had to be.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pods that are named in one line.
const NAMED: usize = 5;

/// What one pod said.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoldedAnswer {
    pub(crate) name: String,
    pub(crate) code: u8,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Bytes that are not kept, and a mark of all.
    pub(crate) left_out: u64,
    pub(crate) mark: [u64; 2],
}

/// How answers are compared and shown.
#[derive(Debug)]
pub(crate) struct Folding {
    /// What of a line does not count.
    pub(crate) ignore: Option<Regex>,
    pub(crate) is_terminal: bool,
}

/// A line with its end: of which stream, and what of it counts.
type Compared<'a> = (bool, Cow<'a, [u8]>);

/// The lines of one answer: as they are shown, and as they are compared.
struct AnswerLines<'a> {
    shown: Vec<String>,
    compared: Vec<Compared<'a>>,
}

/// All that makes two answers one, besides the exit code.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alike<'a> {
    Bytes(&'a [u8], &'a [u8]),
    /// Without what is ignored.
    Lines(Vec<Compared<'a>>),
    /// How much is not kept, and a mark of all: how much of each stream is kept is by chance.
    Long(u64, [u64; 2]),
}

impl Folding {
    /// What is shown of `answers`, of `all` pods.
    pub(crate) fn fold(&self, all: usize, answers: &[FoldedAnswer]) -> String {
        let mut groups: BTreeMap<(u8, Alike<'_>), Vec<(usize, &FoldedAnswer)>> = BTreeMap::new();
        for (place, answer) in answers.iter().enumerate() {
            groups.entry((answer.code, self.alike(answer))).or_default().push((place, answer));
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        // The largest first; of equals the one that was named first.
        groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), group[0].0));
        let Some((largest, rest)) = groups.split_first() else { return String::new() };
        let common = largest[0].1;
        let page = self.page(common);
        let mut text = vec![head((all, answers.len()), largest.len(), common)];
        text.extend(page.shown.iter().map(|line| format!("  {line}")));
        let until = Instant::now() + PATIENCE;
        for group in rest {
            text.extend(self.difference((&page, common.code), group, until));
        }
        text.push(String::new());
        text.join("\n")
    }

    fn alike<'a>(&self, answer: &'a FoldedAnswer) -> Alike<'a> {
        match &self.ignore {
            // What does not count may be in what is left out.
            _ if answer.left_out > 0 => Alike::Long(answer.left_out, answer.mark),
            Some(_) => Alike::Lines(
                lines(answer).map(|(is_err, line)| self.compared(is_err, line)).collect(),
            ),
            None => Alike::Bytes(&answer.stdout, &answer.stderr),
        }
    }

    fn page<'a>(&self, answer: &'a FoldedAnswer) -> AnswerLines<'a> {
        let mut shown: Vec<_> =
            lines(answer).map(|(is_err, line)| self.shown(is_err, line)).collect();
        let mut compared: Vec<_> =
            lines(answer).map(|(is_err, line)| self.compared(is_err, line)).collect();
        if answer.left_out > 0 {
            let rest = format!("… {} bytes more, which are not shown", answer.left_out);
            // No line of a pod is without an end before another one of its stream.
            compared.push((true, Cow::Owned(rest.clone().into_bytes())));
            shown.push(rest);
        }
        AnswerLines { shown, compared }
    }

    fn shown(&self, is_err: bool, line: &[u8]) -> String {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let line = if self.is_terminal { output::in_one_line(&line) } else { line.into_owned() };
        let before = if is_err { "stderr: " } else { "" };
        format!("{before}{line}")
    }

    fn compared<'a>(&self, is_err: bool, line: &'a [u8]) -> Compared<'a> {
        let Some(ignore) = &self.ignore else { return (is_err, Cow::Borrowed(line)) };
        let (text, end) = match line.strip_suffix(b"\n") {
            Some(text) => (text, &b"\n"[..]),
            None => (line, &b""[..]),
        };
        let lossy = String::from_utf8_lossy(text);
        let counts = ignore.replace_all(&lossy, "");
        // An expression is about text. What is none counts as it is.
        let other = text.utf8_chunks().flat_map(|chunk| chunk.invalid()).copied();
        let other: Vec<u8> = other.collect();
        (is_err, Cow::Owned([counts.as_bytes(), end, &other].concat()))
    }

    /// What is shown of a group that is not like the largest.
    fn difference(
        &self,
        (common, code): (&AnswerLines<'_>, u8),
        group: &[(usize, &FoldedAnswer)],
        until: Instant,
    ) -> Vec<String> {
        let answer = group[0].1;
        let exit = if answer.code == code { String::new() } else { exit_code(answer.code) };
        let verb = if group.len() == 1 { "differs" } else { "differ, alike among themselves" };
        let mut text = vec![format!("{} {verb}{exit}:", names(group))];
        let page = self.page(answer);
        let operations = similar::capture_diff_slices_deadline(
            Algorithm::Myers,
            &common.compared,
            &page.compared,
            Some(until),
        );
        for operation in operations.iter().filter(|one| !matches!(one, DiffOp::Equal { .. })) {
            let old = common.shown[operation.old_range()].iter();
            let new = page.shown[operation.new_range()].iter();
            text.extend(old.map(|line| format!("- {line}")));
            text.extend(new.map(|line| format!("+ {line}")));
        }
        if text.len() == 1 && answer.code == code {
            text.push("  … in what is not shown".to_owned());
        }
        text
    }
}

fn exit_code(code: u8) -> String {
    format!(" (exit code {code})")
}

/// Of `all` pods some may have no answer.
fn head((all, answered): (usize, usize), alike: usize, answer: &FoldedAnswer) -> String {
    let exit = if answer.code == 0 { String::new() } else { exit_code(answer.code) };
    let is_empty = answer.stdout.is_empty() && answer.stderr.is_empty();
    let end = if is_empty { ", without output" } else { ":" };
    let pods = if answered == all {
        format!("{all} pods")
    } else {
        format!("{answered} of {all} pods answered")
    };
    match (answered, alike) {
        (1, _) if all == 1 => format!("{}{exit}{end}", answer.name),
        (1, _) => format!("{pods}; {}{exit}{end}", answer.name),
        (_, 1) => format!("{pods}, no two alike; {}{exit}{end}", answer.name),
        _ if answered == alike => format!("{pods}, all alike{exit}{end}"),
        _ => format!("{pods}, {alike} alike{exit}{end}"),
    }
}

fn names(group: &[(usize, &FoldedAnswer)]) -> String {
    let names: Vec<_> = group.iter().take(NAMED).map(|(_, one)| one.name.as_str()).collect();
    match group.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// All lines with their ends, and whether they are of stderr.
fn lines(answer: &FoldedAnswer) -> impl Iterator<Item = (bool, &[u8])> {
    let of = |bytes, is_err| {
        <[u8]>::split_inclusive(bytes, |byte| *byte == b'\n').map(move |line| (is_err, line))
    };
    of(&answer.stdout[..], false).chain(of(&answer.stderr[..], true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str, code: u8, stdout: &str, stderr: &str) -> FoldedAnswer {
        let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        FoldedAnswer { name: name.to_owned(), code, stdout, stderr, ..FoldedAnswer::default() }
    }

    fn fold(ignore: Option<&str>, answers: &[FoldedAnswer]) -> String {
        let ignore = ignore.map(|text| Regex::new(text).expect("an expression"));
        Folding { ignore, is_terminal: true }.fold(answers.len(), answers)
    }

    #[test]
    fn equal_answers_are_shown_once_and_the_others_as_they_differ() {
        let same = "Total: 212\nTCP: 41\n";
        let folded = fold(
            None,
            &[
                answer("web-1", 0, "Total: 212\nTCP: 4127\n", ""),
                answer("web-2", 0, same, ""),
                answer("web-3", 0, same, ""),
                answer("web-4", 7, same, "no\n"),
            ],
        );
        let expected = "4 pods, 2 alike:\n  Total: 212\n  TCP: 41\n\
                        web-1 differs:\n- TCP: 41\n+ TCP: 4127\n\
                        web-4 differs (exit code 7):\n+ stderr: no\n";
        assert_eq!(folded, expected);
        assert_eq!(
            fold(None, &[answer("a", 0, "", ""), answer("b", 0, "", "")]),
            "2 pods, all alike, without output\n"
        );
    }

    #[test]
    fn what_is_ignored_makes_no_difference_and_is_shown() {
        let answers = [answer("a", 0, "pid 1 ok\n", ""), answer("b", 0, "pid 22 ok\n", "")];
        assert!(fold(None, &answers).contains("b differs:\n- pid 1 ok\n+ pid 22 ok\n"));
        assert_eq!(fold(Some("pid [0-9]+"), &answers), "2 pods, all alike:\n  pid 1 ok\n");
    }

    #[test]
    fn what_is_not_kept_is_compared_and_its_length_is_said() {
        let long = |name: &str, mark: u64| FoldedAnswer {
            left_out: 9,
            mark: [mark, 0],
            ..answer(name, 0, "x\n", "")
        };
        let alike = fold(None, &[long("a", 1), long("b", 1)]);
        assert_eq!(alike, "2 pods, all alike:\n  x\n  … 9 bytes more, which are not shown\n");
        assert!(fold(None, &[long("a", 1), long("b", 2)]).contains("no two alike"));
    }

    #[test]
    fn long_answers_are_equal_however_much_of_each_stream_is_kept() {
        let long = |name: &str, stdout: &str, stderr: &str| FoldedAnswer {
            left_out: 9,
            mark: [7, 8],
            ..answer(name, 0, stdout, stderr)
        };
        let folded = fold(None, &[long("a", "x\ny\n", ""), long("b", "x\n", "e\n")]);
        assert!(folded.starts_with("2 pods, all alike:\n"), "{folded}");
    }

    #[test]
    fn bytes_and_streams_are_compared_and_not_what_is_shown() {
        let one = |stdout: &[u8], stderr: &[u8]| FoldedAnswer {
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
            ..answer("a", 0, "", "")
        };
        for (first, second) in [
            (one(b"x\n", b""), one(b"x\r\n", b"")),
            (one(b"x\n", b""), one(b"x \n", b"")),
            (one(b"x\n", b""), one(b"x", b"")),
            (one(b"\xfe\n", b""), one(b"\xff\n", b"")),
            (one(b"stderr: x\n", b""), one(b"", b"x\n")),
        ] {
            for ignore in [None, Some("y")] {
                let folded = fold(ignore, &[first.clone(), second.clone()]);
                assert!(folded.starts_with("2 pods, no two alike;"), "{folded}");
                assert!(folded.contains("\n- ") && folded.contains("\n+ "), "{folded}");
            }
        }
    }

    #[test]
    fn pods_without_an_answer_are_not_said_to_differ() {
        let folding = Folding { ignore: None, is_terminal: true };
        let one = answer("a", 0, "x\n", "");
        assert_eq!(folding.fold(2, std::slice::from_ref(&one)), "1 of 2 pods answered; a:\n  x\n");
        let folded = folding.fold(3, &[one.clone(), one]);
        assert_eq!(folded, "2 of 3 pods answered, all alike:\n  x\n");
    }

    #[test]
    fn a_pod_writes_no_line_that_looks_like_ours() {
        let folded = fold(None, &[answer("a", 0, "x\r\u{1b}[1A3 pods, all alike:\n", "")]);
        assert_eq!(folded, "a:\n  x[1A3 pods, all alike:\n");
    }

    #[test]
    fn answers_that_differ_in_everything_are_compared_in_bounded_time() {
        let text = |seed: usize| {
            (0..40_000).map(|n| (n * seed % 65_521).to_string()).collect::<Vec<_>>().join("\n")
        };
        let folded = fold(None, &[answer("a", 0, &text(31), ""), answer("b", 0, &text(17), "")]);
        assert!(folded.contains("b differs:\n"), "it ends");
    }
}
