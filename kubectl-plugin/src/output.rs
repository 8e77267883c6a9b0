//! The only place that writes to the person: errors, hints and warnings, on stderr.
//!
//! Whatever is printed here may hold words of a server. So it loses all that a terminal would obey or
//! that moves what stands beside it, and only its first line begins as ours do. The tool's own output
//! does not pass here: see `stdio`.

use std::io::{self, Write};

pub(crate) fn error(message: &str) {
    say("error", message);
}

pub(crate) fn warning(message: &str) {
    say("warning", message);
}

/// What is good to know and nobody's fault.
pub(crate) fn note(message: &str) {
    say("note", message);
}

/// A line that the user asked for, on stdout.
pub(crate) fn line(text: &str) {
    // A reader that reads no further has seen enough.
    let _ = writeln!(io::stdout().lock(), "{}", in_one_line(text));
}

/// Words that are printed as they are, because users know them so.
pub(crate) fn plain(message: &str) {
    // Nothing is left to tell the user by when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{}", printable(message));
}

pub(crate) fn hint(message: &str) {
    say("hint", message);
}

fn say(kind: &str, message: &str) {
    // Nothing is left to tell the user by when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{kind}: {}", printable(message));
}

/// What each line but the first of foreign words begins with: else it could begin as `hint: ` does.
const CONTINUED: &str = "    | ";

/// `text` as it may be shown, its lines told apart from ours.
fn printable(text: &str) -> String {
    shown(text).replace('\n', &format!("\n{CONTINUED}"))
}

/// `text` as it may be shown where a line is an entry.
pub(crate) fn in_one_line(text: &str) -> String {
    shown(text).replace('\n', " ")
}

/// `text` without control characters (C0, DEL, C1) but lines and tabs, and with what is invisible, or
/// reorders or breaks lines, written out.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            _ if c.is_control() => {}
            _ if is_deceptive(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// `json` with what a terminal would obey, or not show as it is, escaped: the same JSON to a program.
pub(crate) fn json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || is_deceptive(c) {
            let units = &mut [0; 2];
            shown.extend(c.encode_utf16(units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Of Unicode's format characters and separators, those that change where others stand or are seen by
/// nobody: soft hyphen, joiners, marks and controls of direction, spaces without width, separators of
/// lines, annotations, selectors and tags.
fn is_deceptive(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}31mc\u{7f}\r\u{7}"), "a[2Jb31mc");
    }

    #[test]
    fn lines_tabs_and_other_scripts_stay() {
        assert_eq!(printable("é\tü 猫\nش"), "é\tü 猫\n    | ش");
    }

    #[test]
    fn only_the_first_of_foreign_lines_begins_as_ours_do() {
        let forged = printable("no\nhint: run this\r\n\u{85}error: that\u{2028}note: x\n\n");
        let lines: Vec<_> = forged.lines().collect();
        assert_eq!(lines, ["no", "    | hint: run this", "    | error: that\\u{2028}note: x"]);
        assert_eq!(in_one_line("a\nb\n"), "a b");
    }

    #[test]
    fn json_that_is_shown_is_the_same_and_nothing_acts_in_a_terminal() {
        let value = serde_json::json!({"line": "a\u{1b}[2J\u{9b}31m\u{202e}\u{e0041}\t猫\""});
        let shown = json(&value.to_string());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
        assert!(!shown.chars().any(|c| c.is_control() || is_deceptive(c)), "{shown}");
    }

    #[test]
    fn what_reorders_or_is_not_seen_is_written_out() {
        assert_eq!(printable("ps \u{202e}fr- mr\u{2066}"), "ps \\u{202e}fr- mr\\u{2066}");
        for range in ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'] {
            for c in range.chain(['\u{61c}', '\u{feff}', '\u{2060}', '\u{ad}', '\u{e0041}']) {
                let said = printable(&format!("a{c}b"));
                assert_eq!(said, format!("a{}b", c.escape_unicode()));
            }
        }
    }
}
