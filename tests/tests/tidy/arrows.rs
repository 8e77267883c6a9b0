//! Which crate may depend on which: the arrows of ARCHITECTURE.md, read from the manifests.

use std::path::Path;

/// What one crate may and must not have among its dependencies.
struct Room {
    folder: &'static str,
    /// Crates of this workspace it may know.
    knows: &'static [&'static str],
    /// Foreign crates, or families of them, that do not belong there.
    refuses: &'static [&'static str],
}

const ROOMS: [Room; 8] = [
    Room {
        folder: "wire",
        knows: &[],
        refuses: &["tokio", "kube", "containerd-client", "hyper", "nix", "rustix", "time", "tonic"],
    },
    Room {
        folder: "entry",
        knows: &[],
        refuses: &["tokio", "kube", "containerd-client", "hyper", "tonic"],
    },
    Room {
        folder: "daemon",
        knows: &[],
        refuses: &[
            "kube",
            "k8s-openapi",
            "containerd-client",
            "axum",
            "http",
            "hyper",
            "tonic",
            "nix",
        ],
    },
    Room {
        folder: "capture",
        knows: &[],
        refuses: &["tokio", "kube", "containerd-client", "hyper", "nix", "rustix", "time", "tonic"],
    },
    Room {
        folder: "agent",
        knows: &["nsdebug-wire", "nsdebug-entry", "nsdebug-daemon"],
        refuses: &["kube"],
    },
    Room {
        folder: "gateway",
        knows: &["nsdebug-wire", "nsdebug-daemon"],
        refuses: &["containerd-client", "nix"],
    },
    Room {
        folder: "kubectl-plugin",
        knows: &["nsdebug-wire", "nsdebug-capture"],
        refuses: &["containerd-client"],
    },
    Room {
        folder: "tests",
        knows: &[
            "nsdebug-wire",
            "nsdebug-entry",
            "nsdebug-daemon",
            "nsdebug-agent",
            "nsdebug-capture",
            "nsdebug-gateway",
        ],
        refuses: &[],
    },
];

/// The folders of the crates.
pub(crate) fn folders() -> impl Iterator<Item = &'static str> {
    ROOMS.iter().map(|room| room.folder)
}

/// Dependencies that `manifest`, found at `path`, has and may not have.
pub(crate) fn findings(path: &Path, manifest: &str) -> Vec<String> {
    let Some(folder) = path.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty())
    else {
        return Vec::new();
    };
    let shown = path.display();
    let Some(room) = ROOMS.iter().find(|room| room.folder == folder) else {
        return vec![format!(
            "{shown}: say in tests/tests/tidy/arrows.rs what this crate may know"
        )];
    };
    let mut found = Vec::new();
    for dependency in dependencies(manifest) {
        let own = dependency.starts_with("nsdebug-") || dependency == "kubectl-nsdebug";
        if own && !room.knows.contains(&dependency.as_str()) {
            found.push(format!(
                "{shown}: {folder} must not know {dependency}: let a crate that knows both translate"
            ));
        }
        let family = |refused: &&str| {
            dependency == **refused || dependency.starts_with(&format!("{refused}-"))
        };
        if room.refuses.iter().any(family) {
            found.push(format!(
                "{shown}: {folder} does without {dependency}: move what needs it to a crate that has it"
            ));
        }
    }
    found
}

/// The names in every table of dependencies, for whatever platform or purpose.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies");
            // `[dependencies.name]` is a table of its own.
            if let Some((_, name)) = table.rsplit_once("dependencies.") {
                names.push(name.to_owned());
            }
        } else if inside && !line.starts_with('#') && line.contains('=') {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            names.push(line[..end].trim_matches('"').to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &str, manifest: &str) -> Vec<String> {
        findings(&Path::new(folder).join("Cargo.toml"), manifest)
    }

    #[test]
    fn a_forbidden_arrow_is_found_in_any_table() {
        let tables =
            ["[dependencies]", "[dev-dependencies]", "[target.'cfg(unix)'.build-dependencies]"];
        for table in tables {
            let manifest =
                format!("[package]\nname = \"x\"\n{table}\nnsdebug-entry.workspace = true\n");
            assert!(
                found("wire", &manifest)[0].contains("wire must not know nsdebug-entry"),
                "{table}"
            );
        }
    }

    #[test]
    fn a_crate_that_does_not_belong_is_found() {
        assert!(found("entry", "[dependencies]\ntokio = \"1\"\n")[0].contains("without tokio"));
        assert!(
            found("entry", "[dependencies.tokio-util]\nversion = \"1\"\n")[0]
                .contains("tokio-util")
        );
        assert!(
            found("agent", "[dependencies]\nkube.workspace = true\n")[0].contains("without kube")
        );
    }

    #[test]
    fn an_allowed_arrow_is_not_found() {
        assert_eq!(found("agent", "[dependencies]\nnsdebug-wire.workspace = true\n"), [""; 0]);
        assert_eq!(found("", "[workspace.dependencies]\ntokio = \"1\"\n"), [""; 0]);
    }

    #[test]
    fn a_new_crate_has_to_be_placed() {
        assert!(
            found("helpers", "[dependencies]\n")[0].contains("say in tests/tests/tidy/arrows.rs")
        );
    }
}
