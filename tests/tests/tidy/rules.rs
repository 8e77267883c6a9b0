//! The rules about single files.

use std::path::Path;

use crate::source::{Source, words};

/// Past this a file holds more than one idea.
const FILE_CAP: usize = 400;
/// `main.rs` reads arguments, builds what it needs and goes.
const MAIN_CAP: usize = 60;
/// The one idea, and what is deliberately not there.
const OPENING_CAP: usize = 6;
/// Where `unsafe` is allowed; elsewhere the compiler finds it.
const UNSAFE_ROOM: &str = "entry/src/sys/mod.rs";
/// Names that keep nothing out.
const DRAWERS: [&str; 8] =
    ["utils", "util", "common", "helpers", "helper_functions", "manager", "misc", "shared"];
/// Where a person's checkout or account lies; spelled apart, so that this file does not break its own rule.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// The other crates cannot allow what their manifests forbid.
pub(crate) fn unsafe_allowed_elsewhere(source: &Source) -> Vec<String> {
    if source.path.ends_with(UNSAFE_ROOM) {
        return Vec::new();
    }
    let lines = source.code.iter().enumerate();
    let allowed = lines.filter(|(_, code)| words(code).any(|word| word == "unsafe_code"));
    let finding = |line| {
        format!("{}: `unsafe` is for entry/src/sys: add a function there", place(source, line + 1))
    };
    allowed.map(|(line, _)| finding(line)).collect()
}

pub(crate) fn too_long(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let is_main = source.path.ends_with("main.rs")
        && source.path.parent().is_some_and(|p| p.ends_with("src"));
    let (cap, lines) = (if is_main { MAIN_CAP } else { FILE_CAP }, source.code_lines());
    if lines > cap {
        let path = source.path.display();
        found.push(format!(
            "{path}: {lines} lines of code, at most {cap}: split it where its ideas part"
        ));
    }
    found
}

pub(crate) fn no_opening(source: &Source) -> Vec<String> {
    let opening: Vec<_> = source.lines.iter().take_while(|line| line.starts_with("//!")).collect();
    let first_paragraph = opening.iter().take_while(|line| line.as_str() != "//!").count();
    let is_crate_root = ["lib.rs", "main.rs"].iter().any(|name| source.path.ends_with(name));
    let place = place(source, 1);
    if first_paragraph == 0 {
        return vec![format!(
            "{place}: open with a `//!` of one to six lines: the one idea of this file"
        )];
    }
    if first_paragraph > OPENING_CAP && !is_crate_root {
        return vec![format!(
            "{place}: the first paragraph is longer than {OPENING_CAP} lines: one idea only"
        )];
    }
    Vec::new()
}

pub(crate) fn drawer(source: &Source) -> Vec<String> {
    let names = source
        .path
        .iter()
        .filter_map(|part| part.to_str())
        .map(|part| part.trim_end_matches(".rs"));
    let modules = source.code.iter().filter_map(|code| {
        let mut words = words(code).skip_while(|word| *word != "mod").skip(1);
        words.next()
    });
    let drawers = names.chain(modules).filter(|name| DRAWERS.contains(name));
    let path = source.path.display();
    drawers
        .map(|name| format!("{path}: `{name}` says nothing: name it after what is in it"))
        .collect()
}

pub(crate) fn machine_path(path: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let guilty = lines.filter_map(|(line, text)| {
        let named = MACHINE_PATHS.iter().find(|machine| mentions(text, machine))?;
        Some(format!(
            "{}:{}: `{named}…` is one machine's: say it in general",
            path.display(),
            line + 1
        ))
    });
    guilty.collect()
}

/// As the start of a path, not within one: `/var/x/…` may well have such a part.
fn mentions(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}*)".contains(c))
    })
}

fn place(source: &Source, line: usize) -> String {
    format!("{}:{line}", source.path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(Path::new(path), text)
    }

    #[test]
    fn what_allows_unsafe_is_found() {
        let text = "//! unsafe_code\n#![allow(unsafe_code)]\n";
        let found = unsafe_allowed_elsewhere(&source("entry/src/lib.rs", text));
        assert!(found.len() == 1 && found[0].starts_with("entry/src/lib.rs:2: "), "{found:?}");
        assert!(unsafe_allowed_elsewhere(&source(UNSAFE_ROOM, text)).is_empty());
    }

    #[test]
    fn long_files_are_found() {
        let many = "fn f() {}\n".repeat(401);
        assert!(too_long(&source("agent/src/x.rs", &many))[0].contains("401 lines of code"));
        assert!(too_long(&source("agent/src/main.rs", &many))[0].contains("at most 60"));
    }

    #[test]
    fn a_file_without_its_idea_is_found() {
        assert!(no_opening(&source("agent/src/x.rs", "use std::fs;\n"))[0].contains("open with"));
        let long = "//! and\n".repeat(7);
        assert!(no_opening(&source("agent/src/x.rs", &long))[0].contains("longer than 6"));
        assert!(no_opening(&source("agent/src/lib.rs", &long)).is_empty());
        assert!(no_opening(&source("agent/src/x.rs", "//! One idea.\n")).is_empty());
    }

    #[test]
    fn drawers_are_found_as_files_folders_and_modules() {
        for (path, text) in
            [("a/src/utils.rs", ""), ("a/common/x.rs", ""), ("a/x.rs", "mod helpers {}\n")]
        {
            assert_eq!(drawer(&source(path, text)).len(), 1, "{path}");
        }
        assert!(drawer(&source("entry/src/helper.rs", "mod target;\n")).is_empty());
    }

    #[test]
    fn machine_paths_are_found() {
        let text = format!("see {}x/y\n", MACHINE_PATHS[0]);
        assert!(machine_path(Path::new("README.md"), &text)[0].starts_with("README.md:1: "));
        let inner = format!("see /var{}x/y\n", MACHINE_PATHS[0]);
        assert!(machine_path(Path::new("README.md"), &inner).is_empty());
    }
}
