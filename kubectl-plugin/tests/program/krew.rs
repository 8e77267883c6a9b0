//! The manifest for krew: rendered as at a release, it is one that krew takes.

use serde_json::Value;

/// What krew-release-bot makes of the template for `tag`, with sums that are none.
fn rendered(template: &str, tag: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix("{{addURIAndSha \"") {
        None => line.replace("{{ .TagName }}", tag),
        Some(rest) => {
            let indent = &line[..line.len() - line.trim_start().len()];
            let (url, end) = rest.split_once("\" .TagName }}").expect("the end of the call");
            assert_eq!(end, "");
            let url = url.replace("{{ .TagName }}", tag);
            format!("{indent}uri: {url}\n{indent}sha256: {}", "ab".repeat(32))
        }
    };
    template.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_manifest_names_a_program_for_every_platform() {
    let tag = concat!("v", env!("CARGO_PKG_VERSION"));
    let text = rendered(include_str!("../../../manifests/krew.yaml"), tag);
    let manifest: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(manifest["metadata"]["name"], "nsdebug");
    assert_eq!(manifest["spec"]["version"], tag);
    let short = manifest["spec"]["shortDescription"].as_str().expect("a description");
    assert!(short.len() <= 60, "krew's index wants it short: {short}");
    let platforms = manifest["spec"]["platforms"].as_array().expect("platforms");
    let mut seen = Vec::new();
    for platform in platforms {
        let labels = &platform["selector"]["matchLabels"];
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let (os, arch) = (text(&labels["os"]), text(&labels["arch"]));
        let uri = text(&platform["uri"]);
        assert!(uri.contains(&format!("/{tag}/kubectl-nsdebug_{os}_{arch}.")), "{uri}");
        assert_eq!(platform["sha256"].as_str().map(str::len), Some(64));
        let program = if os == "windows" { "kubectl-nsdebug.exe" } else { "kubectl-nsdebug" };
        assert_eq!(platform["bin"], program);
        seen.push(format!("{os}/{arch}"));
    }
    for platform in ["linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"]
    {
        assert!(seen.iter().any(|one| one == platform), "{platform} in {seen:?}");
    }
}
