//! Every crate is held to the workspace's lints; entry to the same, but that one room of it may have `unsafe`.

/// What the lints of entry, which has a list of its own, and those of the workspace differ in.
pub(crate) fn drift(workspace: &str, entry: &str) -> Vec<String> {
    let ours = lints(workspace, "[workspace.lints.");
    let own = lints(entry, "[lints.");
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|lint| !those.contains(lint)).cloned().collect()
    };
    let mut found = Vec::new();
    if only(&ours, &own) != ["rust: unsafe_code = \"forbid\""] {
        found.push(format!("entry/Cargo.toml lacks lints: {:?}", only(&ours, &own)));
    }
    if only(&own, &ours) != ["rust: unsafe_code = \"deny\""] {
        found.push(format!("Cargo.toml lacks lints of entry: {:?}", only(&own, &ours)));
    }
    found
}

/// Says so if another crate has a list of its own.
pub(crate) fn apart(folder: &str, manifest: &str) -> Option<String> {
    let shared = manifest.contains("\n[lints]\nworkspace = true\n");
    (!shared).then(|| format!("{folder}/Cargo.toml: take the lints of the workspace"))
}

/// The lines of the tables whose names begin with `table`, each behind the rest of that name.
fn lints(manifest: &str, table: &str) -> Vec<String> {
    let mut kind = None;
    let mut found = Vec::new();
    for line in manifest.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if line.starts_with('[') {
            kind = line.strip_prefix(table).map(|rest| rest.trim_end_matches(']'));
        } else if let Some(kind) = kind {
            found.push(format!("{kind}: {line}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str =
        "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nx = \"warn\"\n[profile.dev]\n";

    #[test]
    fn entry_differs_in_unsafe_and_nothing_else() {
        let entry = "[lints.rust]\nunsafe_code = \"deny\"\nx = \"warn\"\n";
        assert_eq!(drift(WORKSPACE, entry), [""; 0]);
        let laxer = entry.replace("x = \"warn\"", "# x");
        assert!(drift(WORKSPACE, &laxer)[0].contains("lacks lints: "), "{laxer}");
        assert_eq!(drift(WORKSPACE, &entry.replace("deny", "allow")).len(), 1);
        assert_eq!(drift(&WORKSPACE.replace("forbid", "deny"), entry).len(), 2);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        assert_eq!(apart("wire", "[package]\n\n[lints]\nworkspace = true\n"), None);
        let found = apart("wire", "[package]\n\n[lints.rust]\nx = \"warn\"\n").expect("a finding");
        assert!(found.starts_with("wire/Cargo.toml: "), "{found}");
    }
}
