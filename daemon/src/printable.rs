//! JSON that people look at in a terminal: nothing in it acts there or moves what stands beside it.

use std::fmt::Write;

/// Letters and signs that have a width and nothing to be seen: Hangul fillers and the empty braille pattern.
const BLANK: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// `json` with all that is not to be seen written out as `\u` escapes: DEL, C1 controls, marks and controls
/// of direction, what has no width. To a program it says the same.
#[must_use]
pub fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for c in json.chars() {
        // Of ASCII, JSON writes out all controls but DEL in its strings; around those it has lines.
        if c == '\u{7f}' || BLANK.contains(&c) || (!c.is_ascii() && c.escape_debug().len() > 1) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A String takes everything.
                let _ = write!(printable, "\\u{unit:04x}");
            }
        } else {
            printable.push(c);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_or_not_show_is_written_out() {
        for c in ['\u{7f}', '\u{80}', '\u{9b}', '\u{9f}', '\u{85}', '\u{ad}', '\u{61c}', '\u{feff}']
            .into_iter()
            .chain('\u{200b}'..='\u{200f}')
            .chain('\u{2028}'..='\u{202e}')
            .chain('\u{2060}'..='\u{206f}')
            .chain(BLANK)
        {
            let json = serde_json::to_string(&format!("a{c}b")).expect("a string");
            assert_eq!(printable_json(&json), format!("\"a\\u{:04x}b\"", u32::from(c)));
        }
        assert_eq!(printable_json("\u{e0041}"), r"\udb40\udc41");
    }

    #[test]
    fn to_a_program_it_is_the_same() {
        let text = "é\tü 猫\nش \u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{e0041} 🐈 \\ \" '";
        for json in [serde_json::to_string(text), serde_json::to_string_pretty(&[text, "x"])] {
            let json = json.expect("a string");
            let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            let printable = printable_json(&json);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&printable).expect("JSON"), value);
        }
    }

    #[test]
    fn what_is_seen_stays() {
        let json = "[\n  \"é ü 猫 ش 🐈 it's\"\n]";
        assert_eq!(printable_json(json), json);
    }
}
