//! Words that no text of ours has: the last table of STYLE.md.

use std::path::Path;

/// The words in the first column of the last table of `style`, in lower case.
pub(crate) fn unused(style: &str) -> Vec<String> {
    let (_, table) = style.rsplit_once("## Words that are not used").unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let first = rows.filter_map(|row| row.split('|').nth(1));
    first.flat_map(|words| words.split(',')).map(|word| word.trim().to_lowercase()).collect()
}

/// Where `text` has one of `words`, as a whole word, in capitals or not.
pub(crate) fn found(path: &Path, text: &str, words: &[String]) -> Vec<String> {
    let lines = text.lines().enumerate();
    let guilty = lines.flat_map(|(line, text)| {
        let text = text.to_lowercase();
        let named: Vec<_> = words.iter().filter(|word| has(&text, word)).cloned().collect();
        let place = format!("{}:{}", path.display(), line + 1);
        named.into_iter().map(move |word| format!("{place}: `{word}`: see the table of STYLE.md"))
    });
    guilty.collect()
}

fn has(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let is_of_a_word = |c: char| c.is_alphanumeric();
        !before.is_some_and(is_of_a_word) && !after.is_some_and(is_of_a_word)
    })
}

#[cfg(test)]
mod examples {
    use super::*;

    #[test]
    fn a_word_of_the_table_is_found_wherever_it_stands() {
        let style = "| term | means |\n\n## Words that are not used\n\n| word | write |\n|---|---|\n\
                     | anew, hung up | again |\n";
        let words = unused(style);
        assert_eq!(words, ["anew", "hung up"]);
        let text = "made again\nAnew, it\nmade_anew\nit hung up.\nanewer\n";
        assert_eq!(
            found(Path::new("x.rs"), text, &words),
            [
                "x.rs:2: `anew`: see the table of STYLE.md",
                "x.rs:3: `anew`: see the table of STYLE.md",
                "x.rs:4: `hung up`: see the table of STYLE.md",
            ]
        );
    }
}
