//! Rules that a reader relies on and a compiler does not check, each with a message that says what to do.
//!
//! Every rule is a function from text to findings, tried on an example that breaks it; the last test of each
//! applies it to the files of this repository.

mod arrows;
mod circles;
mod environment;
mod lints;
mod names;
mod profiles;
mod proofs;
mod rules;
mod source;
mod words;

use std::path::{Path, PathBuf};

use source::Source;

/// The folder that holds every crate.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository")
}

/// Every file of the repository with one of `extensions`, by its path in the repository.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(repository(), &mut found);
    found.retain(|path| {
        path.extension()
            .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
    });
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the repository can be read").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.');
        if path.is_dir() && !hidden && name != "target" {
            collect(&path, found);
        } else if path.is_file() {
            let inside = path.strip_prefix(repository()).expect("it was found there");
            found.push(inside.to_owned());
        }
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(repository().join(path)).expect("the repository can be read")
}

/// Fail with every finding, not only the first.
fn assert_tidy(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// What `rule` finds in all Rust files.
fn in_rust_files(rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = files(&["rs"]).into_iter().map(|path| Source::new(&path, &text(&path)));
    sources.flat_map(|source| rule(&source)).collect()
}

#[test]
fn crates_know_only_whom_they_may_know() {
    let manifests = files(&["toml"]).into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let findings = manifests.flat_map(|path| arrows::findings(&path, &text(&path)));
    assert_tidy(&findings.collect::<Vec<_>>());
}

/// The crates that are shipped.
const SHIPPED: [&str; 6] = ["wire", "entry", "daemon", "agent", "gateway", "kubectl-plugin"];

/// What `rule` finds in each of `crates`, all of its files together.
fn in_crates(crates: &[&str], rule: impl Fn(&Path, &[Source]) -> Vec<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for crate_ in crates {
        let root = Path::new(crate_).join("src");
        let rust = files(&["rs"]).into_iter().filter(|path| path.starts_with(&root));
        let sources: Vec<_> = rust.map(|path| Source::new(&path, &text(&path))).collect();
        assert!(!sources.is_empty(), "{crate_} has no files");
        findings.extend(rule(&root, &sources));
    }
    findings
}

#[test]
fn no_files_import_in_a_circle() {
    assert_tidy(&in_crates(&SHIPPED, circles::findings));
}

#[test]
fn a_type_s_name_is_in_its_crate_once() {
    let all = [&SHIPPED[..], &["tests"]].concat();
    assert_tidy(&in_crates(&all, |_, sources| names::findings(sources)));
}

#[test]
fn unsafe_has_one_room() {
    let manifest = |folder: &str| text(&Path::new(folder).join("Cargo.toml"));
    let mut findings = lints::drift(&manifest(""), &manifest("entry"));
    for folder in arrows::folders().filter(|folder| *folder != "entry") {
        findings.extend(lints::apart(folder, &manifest(folder)));
    }
    findings.extend(in_rust_files(rules::unsafe_allowed_elsewhere));
    assert_tidy(&findings);
}

#[test]
fn files_are_short() {
    assert_tidy(&in_rust_files(rules::too_long));
}

#[test]
fn every_file_opens_with_its_idea() {
    assert_tidy(&in_rust_files(rules::no_opening));
}

#[test]
fn no_file_or_module_is_a_drawer_for_everything() {
    assert_tidy(&in_rust_files(rules::drawer));
}

#[test]
fn no_text_names_the_machine_it_was_written_on() {
    let texts = files(&["md", "rs", "toml", "sh", "yaml"]);
    let findings = texts.iter().flat_map(|path| rules::machine_path(path, &text(path)));
    assert_tidy(&findings.collect::<Vec<_>>());
}

#[test]
fn what_the_environment_tells_tests_is_explained() {
    let mut paths = files(&["rs"]);
    paths.extend(["Makefile", "tests/one", "tests/prerequisites"].map(PathBuf::from));
    paths.push(PathBuf::from("tests/cluster/programs/build"));
    let sources: Vec<_> = paths.iter().map(|path| text(path)).collect();
    assert_tidy(&environment::findings(&sources, &text(Path::new("CONTRIBUTING.md"))));
}

#[test]
fn profiles_have_one_list() {
    let code = files(&["rs"]);
    let findings = code.iter().flat_map(|path| profiles::second_list(path, &text(path)));
    assert_tidy(&findings.collect::<Vec<_>>());
    let texts = files(&["md", "yaml", "json", "tpl", "txt"]);
    let findings = texts.iter().flat_map(|path| profiles::other_list(path, &text(path)));
    assert_tidy(&findings.collect::<Vec<_>>());
}

#[test]
fn what_is_promised_has_its_test() {
    let rust = files(&["rs"]);
    let tests: Vec<_> = rust.iter().flat_map(|path| proofs::tests(path, &text(path))).collect();
    let promised = text(Path::new("SECURITY.md"));
    assert!(promised.contains("## What is tested"), "SECURITY.md names no tests");
    assert_tidy(&proofs::missing(&promised, &tests));
}

#[test]
fn words_that_are_not_used_are_in_no_text() {
    let unused = words::unused(&text(Path::new("STYLE.md")));
    assert!(!unused.is_empty(), "STYLE.md names no words");
    let mut texts = files(&["md", "rs", "toml", "yaml", "tpl", "txt", "json", "py", "packages"]);
    texts.push(PathBuf::from("Makefile"));
    texts.retain(|path| {
        !["STYLE.md", "tests/tests/tidy/words.rs"].contains(&&*path.to_string_lossy())
    });
    let findings = texts.iter().flat_map(|path| words::found(path, &text(path), &unused));
    assert_tidy(&findings.collect::<Vec<_>>());
}
