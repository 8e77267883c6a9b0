//! `-o table`: a row for each pod, with its last line.
//!
//! Pure.

use std::time::Duration;

use super::verdict::Fate;
use crate::output;

/// Characters of a last line: a row is to be one on a screen.
const LONGEST: usize = 160;

const HEAD: [&str; 5] = ["POD", "NODE", "EXIT", "TIME", "OUTPUT"];

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) node: Option<String>,
    pub(crate) fate: Fate,
    pub(crate) took: Duration,
    /// The last line, or why there is none.
    pub(crate) words: String,
}

pub(crate) fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 5]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 5]| {
        let columns = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", columns.collect::<Vec<_>>().join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}

impl Row {
    fn cells(&self) -> [String; 5] {
        let unknown = || "-".to_owned();
        let exit = match self.fate {
            Fate::Exited(code) => code.to_string(),
            Fate::Failed | Fate::NotBegun | Fate::Ended => unknown(),
        };
        let took = format!("{}ms", self.took.as_millis());
        let node = self.node.clone().unwrap_or_else(unknown);
        [self.name.clone(), node, exit, took, shortened(&self.words)]
    }
}

fn shortened(words: &str) -> String {
    let words = output::in_one_line(words).replace('\t', " ");
    let mut rest = words.chars();
    let mut short: String = rest.by_ref().take(LONGEST).collect();
    if rest.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, fate: Fate, words: &str) -> Row {
        let node = Some("n1".to_owned()).filter(|_| fate != Fate::Failed);
        let took = Duration::from_millis(41);
        Row { name: name.to_owned(), node, fate, took, words: words.to_owned() }
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [
            row("web-1", Fate::Exited(0), "ListenDrops 0"),
            row("web-long-2", Fate::Failed, "Error\u{1b}[2J from\nserver"),
        ];
        let expected = "POD         NODE  EXIT  TIME  OUTPUT\n\
                        web-1       n1    0     41ms  ListenDrops 0\n\
                        web-long-2  -     -     41ms  Error[2J from server\n";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let long = table(&[row("a", Fate::Exited(0), &"x".repeat(10_000))]);
        assert!(long.len() < 400 && long.ends_with("x…\n"), "{long}");
    }
}
