//! What a guest said of its tests, and whether that is a pass: every expected one, once, and an end.

use std::collections::BTreeMap;

/// Before the name of a test that passed, of one that did not, and around all of them.
pub const OK: &str = "ok ";
pub const NOT_OK: &str = "not ok ";
pub const END: &str = "end";

/// The lines of a guest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By name: why it failed, or nothing; several where it ran more than once.
    results: BTreeMap<String, Vec<Option<String>>>,
    ended: bool,
}

impl Report {
    pub fn parse(lines: &str) -> Self {
        let mut report = Self::default();
        for line in lines.lines().map(str::trim_end) {
            if let Some(name) = line.strip_prefix(OK) {
                report.add(name, None);
            } else if let Some(rest) = line.strip_prefix(NOT_OK) {
                let (name, why) = rest.split_once(": ").unwrap_or((rest, "for no reason"));
                report.add(name, Some(why.to_owned()));
            } else if line == END {
                report.ended = true;
            }
        }
        report
    }

    fn add(&mut self, name: &str, failure: Option<String>) {
        self.results.entry(name.to_owned()).or_default().push(failure);
    }

    pub fn passed(&self) -> usize {
        self.results.values().filter(|results| matches!(results[..], [None])).count()
    }

    /// Everything that keeps this from being a pass of exactly `expected`, a line each.
    pub fn faults(&self, expected: &[&str]) -> Vec<String> {
        let mut faults = Vec::new();
        for name in expected {
            match self.results.get(*name).map(Vec::as_slice) {
                None => faults.push(format!("{name}: did not run")),
                Some([None]) => {}
                Some([Some(why)]) => faults.push(format!("{name}: {why}")),
                Some(many) => faults.push(format!("{name}: ran {} times", many.len())),
            }
        }
        let unknown = self.results.keys().filter(|name| !expected.contains(&name.as_str()));
        faults.extend(unknown.map(|name| format!("{name}: is not expected")));
        if !self.ended {
            faults.push("the guest did not come to its end".to_owned());
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_once_and_an_end_is_a_pass() {
        let report = Report::parse("ok one\r\nok two\r\nend\r\n");
        assert_eq!(report.faults(&["one", "two"]), [""; 0]);
        assert_eq!(report.passed(), 2);
    }

    #[test]
    fn anything_else_is_a_fault_with_its_name() {
        let said = "ok one\nok one\nnot ok two: left: 1, right: 2\nok three";
        let report = Report::parse(said);
        let faults = report.faults(&["one", "two", "four"]);
        let expected = [
            "one: ran 2 times",
            "two: left: 1, right: 2",
            "four: did not run",
            "three: is not expected",
            "the guest did not come to its end",
        ];
        assert_eq!(faults, expected);
    }
}
