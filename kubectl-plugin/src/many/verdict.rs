//! What many sessions come to: one exit code, and a line that says of which pods it is.
//!
//! Pure.

/// The exit codes of the tools differ, as with xargs(1).
const DIFFER: u8 = 123;
/// At least one session failed, was incomplete or did not begin.
const FAILED: u8 = 125;
/// Pods that are named in a line; of more only the number is said.
const NAMED: usize = 5;

/// What became of one pod's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Exited(u8),
    /// Refused, incomplete or cut.
    Failed,
    /// The command was ended while it waited.
    NotBegun,
    /// Ended by this program, because of another pod: it says nothing of its tool.
    Ended,
}

/// The exit code of all.
pub(crate) fn code(fates: impl Iterator<Item = Fate>) -> u8 {
    let mut common = None;
    let mut differ = false;
    for fate in fates {
        match fate {
            Fate::Failed | Fate::NotBegun => return FAILED,
            Fate::Ended => {}
            Fate::Exited(code) => differ |= *common.get_or_insert(code) != code,
        }
    }
    if differ { DIFFER } else { common.unwrap_or(0) }
}

/// Why there is no exit code, where no session says it.
pub(crate) fn reason(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::NotBegun => Some("the command was ended before this session began"),
        Fate::Ended => Some("ended because another pod failed (--fail-fast)"),
        Fate::Exited(_) | Fate::Failed => None,
    }
}

/// `3 pods: 2 exited with 0, 1 failed (web-3)`: of the larger groups the number, of the others the names too.
pub(crate) fn summary(fates: &[(String, Fate)]) -> String {
    let mut groups: Vec<(Fate, Vec<&str>)> = Vec::new();
    for (name, fate) in fates {
        match groups.iter_mut().find(|(of, _)| of == fate) {
            Some((_, names)) => names.push(name),
            None => groups.push((*fate, vec![name])),
        }
    }
    groups.sort_by_key(|(fate, names)| (std::cmp::Reverse(names.len()), *fate));
    let said = groups.iter().enumerate().map(|(place, (fate, names))| {
        let words = match fate {
            Fate::Exited(code) => format!("exited with {code}"),
            Fate::Failed => "failed".to_owned(),
            Fate::NotBegun => "not begun".to_owned(),
            Fate::Ended => "ended".to_owned(),
        };
        let list = if place == 0 { String::new() } else { list(names) };
        format!("{} {words}{list}", names.len())
    });
    format!("{} pods: {}", fates.len(), said.collect::<Vec<_>>().join(", "))
}

fn list(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => format!(" ({shown})"),
        more => format!(" ({shown} and {more} more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::Fate::{Ended, Exited, Failed, NotBegun};
    use super::*;

    fn of(fates: &[Fate]) -> u8 {
        code(fates.iter().copied())
    }

    #[test]
    fn the_exit_code_is_the_common_one() {
        assert_eq!(of(&[Exited(0), Exited(0)]), 0);
        assert_eq!(of(&[Exited(7), Exited(7)]), 7);
        assert_eq!(of(&[Exited(0), Exited(7)]), 123);
        assert_eq!(of(&[Exited(0), Exited(7), Failed]), 125);
        assert_eq!(of(&[Exited(0), NotBegun]), 125);
        assert_eq!(of(&[Ended, Exited(3), Ended]), 3);
    }

    #[test]
    fn the_odd_ones_are_named() {
        let of = |fates: &[Fate]| {
            let named = |(n, fate): (usize, &Fate)| (format!("web-{n}"), *fate);
            summary(&fates.iter().enumerate().map(named).collect::<Vec<_>>())
        };
        assert_eq!(
            of(&[Exited(0), Exited(0), Failed, Exited(7)]),
            "4 pods: 2 exited with 0, 1 exited with 7 (web-3), 1 failed (web-2)"
        );
        let many = of(&[[Exited(0); 9].as_slice(), &[Failed; 7]].concat());
        assert!(
            many.ends_with("7 failed (web-9, web-10, web-11, web-12, web-13 and 2 more)"),
            "{many}"
        );
    }
}
