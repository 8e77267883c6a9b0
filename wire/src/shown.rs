//! Words of others as a person may be shown them: what clients, files and certificates say.

/// Characters of it that are shown: an answer need not repeat all of a client's words.
const LONGEST: usize = 128;

/// `text` without anything that a terminal would obey, and with `…` for what is too long.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut rest = text.chars();
    let mut shown: String = rest.by_ref().take(LONGEST).flat_map(char::escape_debug).collect();
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}\n猫"), "a\\u{1b}[2J\\u{202e}\\n猫");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let fits = "a".repeat(LONGEST);
        assert_eq!(shown(&fits), fits);
        assert_eq!(shown(&format!("{fits}b")), format!("{fits}…"));
    }
}
