//! CONTRIBUTING.md names what the environment tells tests and tasks. What a flag reads as well is in that program's help.

use std::collections::BTreeSet;

/// What every name of ours begins with; spelled apart, so that this file names none.
const PREFIX: &str = concat!("NSDEBUG", "_");

/// Names in `sources` that no flag reads and `guide` does not explain, and those it explains that nothing reads.
pub(crate) fn findings(sources: &[String], guide: &str) -> Vec<String> {
    let used: BTreeSet<_> = sources.iter().flat_map(|text| names(text)).collect();
    let flags: BTreeSet<_> = sources.iter().flat_map(|text| of_flags(text)).collect();
    let told: BTreeSet<_> = names(guide).collect();
    let untold = used.iter().filter(|name| !flags.contains(*name) && !told.contains(*name));
    let idle = told.iter().filter(|name| !used.contains(*name));
    let untold = untold.map(|name| format!("CONTRIBUTING.md: say what {name} is"));
    untold.chain(idle.map(|name| format!("CONTRIBUTING.md: nothing reads {name}"))).collect()
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(PREFIX).filter_map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let name = &rest[..end.unwrap_or(rest.len())];
        (name.len() > PREFIX.len()).then_some(name)
    })
}

/// As clap is told them.
fn of_flags(text: &str) -> impl Iterator<Item = &str> {
    text.split("env = \"")
        .skip(1)
        .filter_map(|rest| names(rest).next().filter(|name| rest.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_explanation_and_an_explanation_without_use_are_found() {
        let name = |rest: &str| format!("{PREFIX}{rest}");
        let source = format!(
            "#[arg(long, env = \"{}\")] var(\"{}\") var(\"{}\")",
            name("FLAG"),
            name("TOLD"),
            name("UNTOLD_2")
        );
        let guide = format!("`{}` and `{}` and `{}…`", name("TOLD"), name("GONE"), PREFIX);
        let found = findings(&[source], &guide);
        let wanted = [
            format!("CONTRIBUTING.md: say what {} is", name("UNTOLD_2")),
            format!("CONTRIBUTING.md: nothing reads {}", name("GONE")),
        ];
        assert_eq!(found, wanted);
    }
}
