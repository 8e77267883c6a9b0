//! What the chart renders to, whatever it is told; and that nothing made of it has drifted.

use harness::{
    Finished, chart, helm, helm_requirement, may_skip, plain_manifest, plain_manifest_file, render,
    run,
};

use wire::Profile;

const CERT_MANAGER: [&str; 2] =
    ["certificate.source=certManager", "certificate.certManager.issuerRef.name=internal"];
const EXISTING: [&str; 3] = [
    "certificate.source=existingSecret",
    "certificate.existingSecret.name=gateway-tls",
    "certificate.existingSecret.caBundle=-----BEGIN CERTIFICATE-----",
];

fn rendered(values: &[&str]) -> String {
    render(&chart(), values).expect_success().out()
}

fn refused(values: &[&str]) -> String {
    let refused: Finished = render(&chart(), values);
    assert_ne!(refused.code(), 0, "{refused}");
    refused.err()
}

/// The document of this kind and name.
fn document<'a>(text: &'a str, kind: &str, name: &str) -> &'a str {
    let (kind, name) = (format!("\nkind: {kind}\n"), format!("\n  name: {name}\n"));
    let found = text.split("\n---").find(|one| one.contains(&kind) && one.contains(&name));
    found.unwrap_or_else(|| panic!("no{kind}with{name}in {text}"))
}

#[test]
fn it_renders_whatever_it_is_told() {
    if may_skip(helm_requirement()) {
        return;
    }
    let sources = [&["certificate.source=self"][..], &CERT_MANAGER, &EXISTING];
    for (source, more) in sources.into_iter().flat_map(|source| {
        ["true", "false"].map(|switch| {
            let switches = ["networkPolicy.enabled", "serviceMonitor.enabled", "exampleRoles"];
            let more = ["hostTargets", "createNamespace", "gateway.reviewCoreExec"];
            let all = switches.into_iter().chain(more);
            (source, all.map(|name| format!("{name}={switch}")).collect::<Vec<_>>())
        })
    }) {
        let more = more.iter().map(String::as_str);
        let values: Vec<&str> = source.iter().copied().chain(more).collect();
        let set = values.iter().flat_map(|value| ["--set", *value]);
        let lint = ["lint", "--strict", "--kube-version", "1.30.0"];
        run(helm().args(lint).args(set).arg(chart())).expect_success();
        let text = rendered(&values);
        document(&text, "APIService", "v1alpha1.nsdebug.dev");
        let monitored = text.contains("kind: ServiceMonitor");
        assert_eq!(monitored, values.contains(&"serviceMonitor.enabled=true"));
    }
}

#[test]
fn the_plain_manifest_is_that_of_the_chart() {
    if may_skip(helm_requirement()) {
        return;
    }
    let kept = std::fs::read_to_string(plain_manifest_file()).expect("a plain manifest");
    assert!(kept == plain_manifest(), "manifests/install.yaml has drifted: run `make manifests`");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    if may_skip(helm_requirement()) {
        return;
    }
    assert!(refused(&["agnet.maxSessions=1"]).contains("agnet"));
    assert!(refused(&["maxProfile=root"]).contains("maxProfile"));
    assert!(refused(&["gateway.replicas=0"]).contains("replicas"));
    assert!(rendered(&["session.limit=1d12h"]).contains("--session-limit=1d12h"));
    for limit in ["session.limit=0s", "session.idleLimit=1w", "session.privilegedLimit=1.5h"] {
        assert!(refused(&[limit]).contains("imit"), "{limit}");
    }
    let takes_all = refused(&["agent.maxSessionsPerUser=32"]);
    assert!(takes_all.contains("allSessions.pids must be at least 8704"), "{takes_all}");
    assert!(rendered(&["agent.maxSessionsPerUser=32", "allSessions.pids=8704"]).contains("8704"));
    assert!(refused(&EXISTING[..1]).contains("must name a Secret"));
    assert!(refused(&EXISTING[..2]).contains("must say who signed it"));
}

#[test]
fn nobody_gets_more_than_the_reviewed_rights() {
    if may_skip(helm_requirement()) {
        return;
    }
    for values in [&["maxProfile=sysadmin", "hostTargets=true"][..], &CERT_MANAGER, &EXISTING] {
        let text = rendered(values);
        for never in [
            "rbac.authorization.k8s.io/aggregate-to",
            "\"*\"",
            "'*'",
            "insecureSkipTLSVerify",
            "privileged: true",
        ] {
            assert!(!text.contains(never), "{never} with {values:?}");
        }
        // Agents ask the API server for nothing: no role is bound to them.
        let bindings = text.split("\n---").filter(|one| one.contains("Binding\nmetadata"));
        assert!(bindings.clone().count() >= 3);
        assert!(!bindings.into_iter().any(|one| one.contains("name: nsdebug-agent")));
        let agent = document(&text, "DaemonSet", "nsdebug-agent");
        assert!(
            agent.contains("automountServiceAccountToken: false") && agent.contains("drop: [ALL]")
        );
        assert!(!agent.contains("tls.key"));
    }
}

#[test]
fn with_cert_manager_nobody_else_is_signed_for_by_whom_agents_believe() {
    if may_skip(helm_requirement()) {
        return;
    }
    let own = rendered(&CERT_MANAGER[..1]);
    assert!(document(&own, "Certificate", "nsdebug-gateway").contains("name: nsdebug-gateway,"));
    assert!(document(&own, "Issuer", "nsdebug-gateway").contains("nsdebug-gateway-root"));
    let shared = rendered(&CERT_MANAGER);
    assert!(document(&shared, "Certificate", "nsdebug-gateway").contains("name: internal"));
    assert!(!shared.contains("kind: Issuer\n"));
}

#[test]
fn what_netadmin_gives_away_and_how_long_sessions_last_are_values() {
    if may_skip(helm_requirement()) {
        return;
    }
    let gateway = |values: &[&str]| {
        let text = rendered(values);
        document(&text, "Deployment", "nsdebug-gateway").to_owned()
    };
    let given_away = "--netadmin-reaches-node-network";
    let usual = gateway(&[]);
    assert!(!usual.contains(given_away));
    assert!(usual.contains("--max-session=28800") && usual.contains("--max-host-session=3600"));
    let value = "netadminReachesNodeNetwork=true";
    assert!(gateway(&[value]).contains(given_away));
    let shorter = gateway(&["gateway.maxSessionSeconds=60", "gateway.maxHostSessionSeconds=30"]);
    assert!(shorter.contains("--max-session=60") && shorter.contains("--max-host-session=30"));
}

#[test]
fn the_largest_profile_bounds_roles_agents_and_their_capabilities() {
    if may_skip(helm_requirement()) {
        return;
    }
    let roles = |text: &str| {
        let all = Profile::ALL.map(Profile::as_str);
        let has = |name: &&str| text.contains(&format!("\n  name: nsdebug-{name}\n"));
        all.into_iter().filter(has).collect::<Vec<_>>()
    };
    let text = rendered(&["maxProfile=general"]);
    for (index, largest) in Profile::ALL.into_iter().enumerate() {
        let up_to = roles(&rendered(&[&format!("maxProfile={largest}")]));
        assert_eq!(up_to, Profile::ALL[..=index].iter().map(|it| it.as_str()).collect::<Vec<_>>());
    }
    assert_eq!(roles(&text), ["restricted", "baseline", "general"]);
    assert!(document(&text, "DaemonSet", "nsdebug-agent").contains("--max-profile=general"));
    let usual = rendered(&[]);
    assert_eq!(roles(&usual).last(), Some(&"general"));
    assert!(document(&usual, "DaemonSet", "nsdebug-agent").contains("--max-profile=general"));
    // A right to nodes is a profile's only together with that profile's role.
    assert!(!document(&usual, "ClusterRole", "nsdebug-nodes").contains("profiles"));
    let gives = "--netadmin-reaches-node-network";
    assert!(!usual.contains(gives));
    let reaching = rendered(&["maxProfile=netadmin", "netadminReachesNodeNetwork=true"]);
    assert!(document(&reaching, "DaemonSet", "nsdebug-agent").contains(gives));
    assert!(!document(&usual, "DaemonSet", "nsdebug-agent").contains("- ALL"));
    let all = rendered(&["maxProfile=sysadmin"]);
    assert!(document(&all, "DaemonSet", "nsdebug-agent").contains("- ALL"));
    assert!(roles(&rendered(&["exampleRoles=false"])).is_empty());
}
