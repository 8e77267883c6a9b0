//! What SECURITY.md promises has a test by name, and the test is there.

use std::path::Path;

/// A test of the repository: the file it is in, and its name.
pub(crate) type Test = (String, String);

/// The tests in the text of a file.
pub(crate) fn tests(path: &Path, text: &str) -> Vec<Test> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) = function(line) {
            if is_test {
                found.push((path.display().to_string(), name.to_owned()));
            }
            is_test = false;
        }
    }
    found
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split_once('(').map(|(name, _)| name)
}

/// The names that `text` gives as proof, `FILE::TEST` between backticks, of which there is no test.
pub(crate) fn missing(text: &str, tests: &[Test]) -> Vec<String> {
    let named = text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::"));
    let tells = |(file, test): &(&str, &str)| {
        // A path of the language's own, or of a crate's, is no proof.
        !file.contains("wire") && test.contains('_')
    };
    let is_there = |(file, test): &(&str, &str)| {
        let wanted = [format!("/{file}.rs"), format!("/{file}/"), format!("{file}/src/")];
        tests.iter().any(|(path, name)| {
            let path = format!("/{path}");
            name == test && wanted.iter().any(|wanted| path.contains(wanted))
        })
    };
    let missing = named.filter(tells).filter(|named| !is_there(named));
    missing.map(|(file, test)| format!("SECURITY.md: there is no test {file}::{test}")).collect()
}

#[cfg(test)]
mod examples {
    use super::*;

    #[test]
    fn a_proof_that_is_not_there_is_found() {
        let text = "#[test]\nfn it_holds() {}\nfn no_test_at_all() {}\n";
        let tests = tests(Path::new("tests/tests/agent_rules/audit.rs"), text);
        let named =
            "As `audit::it_holds` says, and `audit::no_test_at_all`, and `limits::it_holds`.";
        assert_eq!(
            missing(named, &tests),
            [
                "SECURITY.md: there is no test audit::no_test_at_all",
                "SECURITY.md: there is no test limits::it_holds"
            ]
        );
    }
}
