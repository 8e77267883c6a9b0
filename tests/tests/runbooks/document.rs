//! The commands of a runbook, and what it says to look for in their answers.
//!
//! A `sh` block is one script. The `text` block after it is part of the answer: each of its lines is one of the answer's, with
//! `…` for anything, and `[exit N]` the exit code. How many spaces are between two words is not looked at.

const ANYTHING: char = '…';

/// One script of a document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) script: String,
    pub(crate) code: i32,
    lines: Vec<String>,
}

impl Step {
    /// The lines of the document that no line of the answer is like.
    pub(crate) fn missing(&self, answer: &str) -> Vec<&str> {
        let answer: Vec<_> = answer.lines().map(squeezed).collect();
        let is_there = |line: &&String| !answer.iter().any(|given| is_like(line, given));
        self.lines.iter().filter(is_there).map(String::as_str).collect()
    }

    fn take(&mut self, line: &str) {
        let code = line.strip_prefix("[exit ").and_then(|rest| rest.strip_suffix(']'));
        match code {
            Some(code) => self.code = code.parse().expect("an exit code is a number"),
            None => self.lines.push(squeezed(line)),
        }
    }
}

/// The scripts of a document, in their order.
pub(crate) fn steps(document: &str) -> Vec<Step> {
    let (mut steps, mut lines) = (Vec::<Step>::new(), document.lines().map(str::trim));
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        match language {
            "sh" => steps.push(Step { script: block.join("\n"), ..Step::default() }),
            "text" => {
                let step = steps.last_mut().expect("an answer comes after its command");
                for line in block {
                    step.take(line);
                }
            }
            other => panic!("a block is `sh` or `text`, not `{other}`"),
        }
    }
    steps
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_like(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once(ANYTHING) else { return pattern == line };
    let Some(mut line) = line.strip_prefix(start) else { return false };
    let mut parts = rest.split(ANYTHING).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return line.ends_with(part);
        }
        let Some((_, after)) = line.split_once(part) else { return false };
        line = after;
    }
    true
}

#[test]
fn scripts_and_answers_are_told_apart() {
    let document = "1. Look.\n   ```sh\n   ps -ef\n   ```\n   ```text\n   PID …\n   [exit 3]\n   ```\n```sh\ntrue\n```\n";
    let steps = steps(document);
    assert_eq!((steps[0].script.as_str(), steps[0].code), ("ps -ef", 3));
    assert_eq!((steps[1].script.as_str(), steps[1].code), ("true", 0));
    assert_eq!(steps[0].missing("UID\nPID   TTY\n"), [""; 0]);
    assert_eq!(steps[0].missing("  UID\n"), ["PID …"]);
}

#[test]
fn a_line_is_like_its_pattern() {
    for (pattern, line) in
        [("a b", "a b"), ("… b", "a b"), ("a… c…", "a b c"), ("a …", "a b"), ("…b…", "b")]
    {
        assert!(is_like(pattern, line), "{pattern} and {line}");
    }
    for (pattern, line) in
        [("a", "a b"), ("…a", "a b"), ("b…", "a b"), ("a…c…b", "a b c"), ("ab…bc", "abc")]
    {
        assert!(!is_like(pattern, line), "{pattern} and {line}");
    }
}
