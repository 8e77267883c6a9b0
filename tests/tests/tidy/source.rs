//! A Rust file as the rules see it: its text, and the same text with comments and literals blanked out.
//!
//! Not a parser: words and lines are all that the rules ask for.

use std::path::{Path, PathBuf};

/// One file of the repository.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// As it is, line by line.
    pub(crate) lines: Vec<String>,
    /// Of the same length: only code is left, the rest is spaces.
    pub(crate) code: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &Path, text: &str) -> Self {
        let own = |text: &str| text.lines().map(str::to_owned).collect();
        Self { path: path.to_owned(), lines: own(text), code: own(&blank(text)) }
    }

    /// Lines with code on them, up to the tests at the end of the file.
    pub(crate) fn code_lines(&self) -> usize {
        self.before_tests().filter(|(_, code)| !code.trim().is_empty()).count()
    }

    pub(crate) fn before_tests(&self) -> impl Iterator<Item = (usize, &String)> {
        let tests = self.code.iter().position(|line| line.trim() == "#[cfg(test)]");
        self.code.iter().enumerate().take(tests.unwrap_or(self.code.len()))
    }
}

/// The words of a line of code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// `text` with every comment and literal replaced by spaces; line breaks stay.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = length_of_non_code(rest, code.chars().next_back());
        let taken = if skipped > 0 { skipped } else { next.len_utf8() };
        let (here, after) = rest.split_at(taken);
        let keep = |c: char| if skipped > 0 && c != '\n' { ' ' } else { c };
        code.extend(here.chars().map(keep));
        rest = after;
    }
    code
}

/// How many bytes at the start of `text` are a comment or a literal.
fn length_of_non_code(text: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |end| end + 2);
    }
    if !in_word && let Some(length) = raw_string(text) {
        return length;
    }
    match text.chars().next() {
        Some('"') => quoted(text, '"').unwrap_or(text.len()),
        // A lifetime has no closing quote.
        Some('\'') => character(text).unwrap_or(0),
        _ => 0,
    }
}

fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

fn character(text: &str) -> Option<usize> {
    let mut inner = text.chars().skip(1);
    let first = inner.next()?;
    (first == '\\' || inner.next() == Some('\'')).then(|| quoted(text, '\''))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        blank(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_code_is_left() {
        assert_eq!(code("a // unsafe\nb /* { */ c"), "a b c");
        assert_eq!(code(r#"f("} \" {", '{', '\'', b"x")"#), "f( , , , b )");
        assert_eq!(code("r#\"a \" } \"# b"), "b");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn tests_comments_and_empty_lines_are_no_code() {
        let text = "//! Idea.\n\nfn f() {}\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(Source::new(Path::new("x.rs"), text).code_lines(), 1);
    }
}
