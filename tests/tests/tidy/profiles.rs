//! The names of the profiles have one list, `wire::Profile`: no program has another, and no text a different one.

use std::path::Path;

use wire::Profile;

/// Where the list is, and this rule.
const OWN: [&str; 2] = ["wire/src/profile.rs", "tests/tests/tidy/profiles.rs"];

/// Lines of a program's code that list all profiles by name.
pub(crate) fn second_list(path: &Path, text: &str) -> Vec<String> {
    let lists = |line: &str| Profile::ALL.iter().all(|it| names(line).contains(it));
    let guilty = text.lines().enumerate().filter(|(_, line)| lists(line));
    let is_own = OWN.iter().any(|own| path.ends_with(own));
    let found = guilty.filter(|_| !is_own).map(|(line, _)| {
        format!("{}:{}: a list of profiles: take it from wire::Profile", path.display(), line + 1)
    });
    found.collect()
}

/// Lists of profiles in a text, by line or as the first column of a table, that are not the one there is.
pub(crate) fn other_list(path: &Path, text: &str) -> Vec<String> {
    let [first, .., last] = Profile::ALL;
    let shown = path.display();
    // `restricted` to `sysadmin` alone is a range.
    let is_list = |named: &[Profile]| {
        named.contains(&first)
            && named.contains(&last)
            && named.iter().any(|it| ![first, last].contains(it))
    };
    let lists = text.lines().map(lists).enumerate();
    let lists = lists.flat_map(|(line, lists)| lists.into_iter().map(move |list| (line, list)));
    let wrong = lists.filter(|(_, named)| is_list(named) && !all_in_order(named));
    let mut found: Vec<_> = wrong
        .map(|(line, _)| format!("{shown}:{}: profiles are {}", line + 1, Profile::names()))
        .collect();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let names = cells.map(|cell| cell.trim_end_matches(" (default)").trim_matches('`'));
    let rows: Vec<Profile> = names.filter_map(|name| name.parse().ok()).collect();
    if !rows.chunks(Profile::ALL.len()).all(|table| table == Profile::ALL) {
        found
            .push(format!("{shown}: a table of profiles has a row for each: {}", Profile::names()));
    }
    found
}

fn all_in_order(named: &[Profile]) -> bool {
    let mut first_time: Vec<Profile> = Vec::new();
    // A default stands before its list.
    for profile in named.iter().skip_while(|it| **it != Profile::ALL[0]) {
        if !first_time.contains(profile) {
            first_time.push(*profile);
        }
    }
    first_time == Profile::ALL
}

/// The profiles that `line` names, in its order.
fn names(line: &str) -> Vec<Profile> {
    words(line).filter_map(|word| word.parse().ok()).collect()
}

/// The same by list: a sentence has other words between the profiles that it is about.
fn lists(line: &str) -> Vec<Vec<Profile>> {
    let mut lists = vec![Vec::new()];
    for word in words(line).filter(|word| !["", "and", "or", "default"].contains(word)) {
        match (word.parse(), lists.last_mut()) {
            (Ok(profile), Some(list)) => list.push(profile),
            _ => lists.push(Vec::new()),
        }
    }
    lists
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
}

#[cfg(test)]
mod examples {
    use super::*;

    #[test]
    fn a_second_list_is_found_in_code() {
        let text = r#"const P: [&str; 5] = ["restricted", "baseline", "general", "netadmin", "sysadmin"];"#;
        assert!(
            second_list(Path::new("gateway/src/x.rs"), text)[0].starts_with("gateway/src/x.rs:1:")
        );
        assert!(second_list(Path::new("wire/src/profile.rs"), text).is_empty());
        assert!(
            second_list(Path::new("a.rs"), r#"for p in ["restricted", "general"] {"#).is_empty()
        );
    }

    #[test]
    fn a_sentence_about_several_profiles_is_no_list() {
        let text = "`restricted` is the target's user, `general` has more, and `sysadmin` is root";
        assert_eq!(other_list(Path::new("a.md"), text), [""; 0]);
        let list = "`restricted`, `general` and `sysadmin` are";
        assert!(other_list(Path::new("a.md"), list)[0].starts_with("a.md:1:"));
    }

    #[test]
    fn a_list_that_lacks_one_or_has_another_order_is_found_in_texts() {
        let found = |text: &str| !other_list(Path::new("README.md"), text).is_empty();
        assert!(!found("restricted, baseline, general, netadmin or sysadmin; not sysadmin"));
        assert!(found("restricted, baseline, general or sysadmin"));
        assert!(found("restricted, general, baseline, netadmin, sysadmin"));
        assert!(!found("below sysadmin") && !found("restricted to sysadmin"));
        assert!(!found("| `baseline` sees no tokens | a |\n"));
        assert!(found("| `restricted` | a |\n| `general` | b |\n"));
    }
}
