//! In a crate a type's name is there once: who reads it need not look which of several it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::source::Source;

/// Words before the name of a type.
const KINDS: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// Files that are compiled in place of another, whose names they have for that.
const IN_PLACE_OF_ANOTHER: [&str; 1] = ["kubectl-plugin/src/terminal/other.rs"];

/// The names that several of `sources`, all files of one crate, give a type.
pub(crate) fn findings(sources: &[Source]) -> Vec<String> {
    let mut owners = BTreeMap::<String, Vec<PathBuf>>::new();
    for source in sources.iter().filter(|source| !is_in_place_of_another(source)) {
        for name in source.before_tests().filter_map(|(_, code)| declared(code)) {
            let files = owners.entry(name.to_owned()).or_default();
            // Of two in one file, each is compiled on systems of its own.
            if files.last() != Some(&source.path) {
                files.push(source.path.clone());
            }
        }
    }
    let ambiguous = owners.into_iter().filter(|(_, files)| files.len() > 1);
    let shown = |files: &[PathBuf]| {
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    ambiguous
        .map(|(name, files)| {
            format!("{}: each has a type `{name}`: name them by what they are", shown(&files))
        })
        .collect()
}

fn is_in_place_of_another(source: &Source) -> bool {
    IN_PLACE_OF_ANOTHER.iter().any(|file| source.path.ends_with(file))
}

/// The type that a line declares. What a trait has, or an implementation, is indented and has its owner's name.
fn declared(code: &str) -> Option<&str> {
    let code = code.strip_prefix("pub").map_or(code, |rest| {
        rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest)
    });
    let (kind, rest) = code.trim_start_matches(' ').split_once(' ')?;
    let is_indented = code.starts_with("  ");
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (KINDS.contains(&kind) && !is_indented).then(|| &rest[..end])
}

#[cfg(test)]
mod examples {
    use std::path::Path;

    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            files.iter().map(|(path, text)| Source::new(Path::new(path), text)).collect();
        findings(&sources)
    }

    #[test]
    fn a_name_that_two_files_give_a_type_is_found() {
        let files = [
            ("x/src/a.rs", "pub(crate) struct Place {\n}\n"),
            ("x/src/b.rs", "type Place = u8;\n"),
            ("x/src/c.rs", "pub enum Other<T> {\n}\n"),
        ];
        assert_eq!(
            found(&files),
            ["x/src/a.rs, x/src/b.rs: each has a type `Place`: name them by what they are"]
        );
    }

    #[test]
    fn tests_and_what_belongs_to_a_type_have_names_of_their_own() {
        let files = [
            ("x/src/a.rs", "struct Place;\nimpl T for Place {\n    type Error = u8;\n}\n"),
            (
                "x/src/b.rs",
                "impl T for Q {\n    type Error = u8;\n}\n#[cfg(test)]\nmod tests {\n}\nstruct Place;\n",
            ),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
