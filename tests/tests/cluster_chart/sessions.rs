//! A session from a client to a tool: through kube-apiserver, a gateway's Service, and a connection that an agent dialled.

use harness::{Running, until, until_some};
use rustix::process::Signal;

use crate::stage::{SOON, cluster, field, installed, output, session, session_with};

#[test]
fn a_session_comes_through_the_api_server() {
    let Some(cluster) = installed() else { return };
    let ps = output(&session(&cluster, "shop/api", &["ps", "-ef"]));
    assert!(ps.contains("/target-app serve children=2"), "{ps}");
    assert!(!ps.contains("kubelet"), "{ps}");
    let failed = session(&cluster, "shop/api", &["sh", "-c", "exit 42"]).expect("a session");
    assert_eq!(failed.cause("ExitCode"), Some("42"));
    // The pod's files, through a clone that the agent makes from within its own pod.
    let keeper = ["cat", "/target/etc/os-release"];
    assert!(output(&session(&cluster, "vault/keeper", &keeper)).contains("distroless-like"));
}

#[test]
fn every_profile_can_be_had_in_an_agents_pod() {
    let Some(cluster) = cluster() else { return };
    cluster.install(&["maxProfile=netadmin", "netadminReachesNodeNetwork=true"]);
    let capabilities = ["grep", "CapEff", "/proc/self/status"];
    let mut seen = Vec::new();
    for profile in ["restricted", "baseline", "general", "netadmin"] {
        let said = session_with(&cluster, "shop/api", profile, &capabilities);
        seen.push(output(&said).trim().to_owned());
    }
    assert!(seen.windows(2).skip(1).all(|pair| pair[0] != pair[1]), "{seen:?}");
    let beyond = session_with(&cluster, "shop/api", "sysadmin", &capabilities);
    let answer = beyond.expect_err("agents give no more than `maxProfile`");
    assert!(answer.message().contains("netadmin"), "{answer:?}");
}

#[test]
fn a_session_is_bounded_by_groups_below_the_agents_own() {
    let Some(cluster) = installed() else { return };
    // By itself a tool sees none of it: its groups begin with its own.
    let own = output(&session(&cluster, "shop/api", &["cat", "/proc/self/cgroup"]));
    assert!(own.lines().all(|line| line.ends_with(":/")), "{own}");
    let mut plugin = cluster.plugin();
    let tool = Running::start(plugin.args(["-n", "shop", "api", "-i", "--", "sleep", "271828"]));
    let groups = until_some("the tool's groups", SOON, || {
        let numbers = std::fs::read_dir("/proc").expect("a /proc").flatten();
        let mut numbers = numbers.filter_map(|entry| entry.file_name().into_string().ok());
        let is_it = |number: &String| {
            let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            line == b"sleep\x00271828\0"
        };
        std::fs::read_to_string(format!("/proc/{}/cgroup", numbers.find(is_it)?)).ok()
    });
    tool.signal(Signal::INT);
    tool.finish();
    let pod = field(&cluster, &["pods", "-n", "nsdebug", "-l", AGENTS], "{.items[0].metadata.uid}");
    let memory = groups.lines().find(|line| line.contains(":memory:") || line.starts_with("0::"));
    let memory = memory.expect("a group that bounds memory");
    assert!(memory.contains(&pod) && memory.contains("/nsdebug/"), "{groups}");
}

const AGENTS: &str = "app.kubernetes.io/component=agent";

#[test]
fn discovery_shows_no_error_while_agents_are_away() {
    let Some(cluster) = installed() else { return };
    let nowhere = r#"{"spec":{"template":{"spec":{"nodeSelector":{"nsdebug.dev/none":"true"}}}}}"#;
    let agents = ["-n", "nsdebug", "daemonset/nsdebug-agent"];
    cluster.kubectl(&[&["patch"], &agents[..], &["-p", nowhere]].concat()).expect_success();
    let pods = ["get", "pods", "-n", "nsdebug", "-l", AGENTS, "-o", "name"];
    until("the agents to be gone", SOON, || {
        cluster.kubectl(&pods).expect_success().out().is_empty()
    });
    let (resources, refused) =
        (cluster.kubectl(&["api-resources"]), session(&cluster, "shop/api", &["true"]));
    // helm would leave what is not in its chart.
    let back = r#"{"spec":{"template":{"spec":{"nodeSelector":{"nsdebug.dev/none":null}}}}}"#;
    cluster.kubectl(&[&["patch"], &agents[..], &["-p", back]].concat()).expect_success();
    until("the agents to be back", SOON, || session(&cluster, "shop/api", &["true"]).is_ok());
    assert_eq!(resources.expect_success().err(), "");
    let answer = refused.expect_err("nobody could serve it");
    assert!(answer.code == 503 && answer.message().contains("node n1"), "{answer:?}");
}

#[test]
fn helm_test_opens_a_session_from_within_and_leaves_nothing() {
    let Some(cluster) = installed() else { return };
    let tested = cluster.test_installation();
    assert!(tested.status.success(), "{tested}\n{}", cluster.installation());
    let left = ["get", "pods,serviceaccounts,roles", "-n", "nsdebug", "-o", "name"];
    assert!(!cluster.kubectl(&left).expect_success().out().contains("nsdebug-test"));
}
