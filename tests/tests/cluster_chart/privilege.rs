//! Every privilege of the agent's pod is needed: without any one of them something fails that users have.
//!
//! SECURITY.md has the table; this is what it was made with, and a privilege that has become idle fails here.

use std::fmt::Write;
use std::time::Duration;

use harness::{Cluster, until_some};
use serde_json::{Value, json};

use crate::stage::{cluster, field, session_with};

/// A pod ends and another one starts, or does not and says why.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(90);
const AGENTS: [&str; 3] = ["-n", "nsdebug", "daemonset/nsdebug-agent"];
/// Which template the pods of it are labelled with.
const TEMPLATE: &str = "{.metadata.annotations.deprecated\\.daemonset\\.template\\.generation}";
const SELECTOR: &str = "app.kubernetes.io/component=agent";

/// What users have: a name, pod, profile, command.
const USES: [(&str, &str, &str, &[&str]); 10] = [
    ("general", "shop/api", "general", &["ps", "-ef"]),
    ("capture", "shop/api", "general", &["sh", "-c", CAPTURE]),
    ("netadmin", "shop/api", "netadmin", &["ip", "link", "set", "lo", "up"]),
    ("baseline", "shop/api", "baseline", &["id"]),
    ("restricted", "vault/keeper", "restricted", &["id"]),
    ("files", "vault/keeper", "general", &["cat", "/target/etc/os-release"]),
    ("open files", "shop/api", "general", &["readlink", "/proc/1/exe"]),
    (
        "signal",
        "vault/keeper",
        "general",
        &["bash", "-c", "grep -q ^CapPrm.*[2367abef].$ /proc/self/status && kill -0 1"],
    ),
    ("strace", "shop/api", "general", &["sh", "-c", STRACE]),
    ("end", "shop/api", "general", &["sh", "-c", LEFT_BEHIND]),
];
const CAPTURE: &str = "timeout 5 tcpdump -U -i lo -c 1 -w /tmp/seen & while kill -0 $!; do curl -s 127.0.0.1:8080; done; wait $!";
const STRACE: &str = "timeout 1 strace -f -p 1; [ $? = 124 ]";
const LEFT_BEHIND: &str = "setsid sleep 1000 &";

/// One privilege, and the change to the container that takes it away.
struct Privilege {
    name: String,
    patch: Value,
}

fn privileges(cluster: &Cluster) -> Vec<Privilege> {
    let get = [&["get"], &AGENTS[..], &["-o", "json"]].concat();
    let agents: Value =
        serde_json::from_str(&cluster.kubectl(&get).expect_success().out()).expect("JSON");
    let container = &agents["spec"]["template"]["spec"]["containers"][0];
    let all = container["securityContext"]["capabilities"]["add"]
        .as_array()
        .expect("capabilities")
        .clone();
    let of = "/spec/template/spec/containers/0/securityContext";
    let mut found: Vec<_> = all
        .iter()
        .map(|one| {
            let rest: Vec<_> = all.iter().filter(|other| *other != one).collect();
            let patch =
                json!([{"op": "replace", "path": format!("{of}/capabilities/add"), "value": rest}]);
            Privilege { name: one.as_str().expect("a name").to_owned(), patch }
        })
        .collect();
    let change = |name: &str, patch| Privilege { name: name.to_owned(), patch };
    let filter = json!([{"op": "replace", "path": format!("{of}/seccompProfile/type"), "value": "RuntimeDefault"}]);
    let pids = json!([{"op": "remove", "path": "/spec/template/spec/hostPID"}]);
    found.push(change("seccompProfile Unconfined", filter));
    found.push(change("hostPID", pids));
    found
}

fn patch(cluster: &Cluster, patch: &Value) {
    let patch = patch.to_string();
    let patch = [&["patch"], &AGENTS[..], &["--type=json", "-p", &patch]].concat();
    cluster.kubectl(&patch).expect_success();
}

/// Wait for the one agent of the current template: nothing when it runs and has come to the gateways, or why it does not.
fn settled(cluster: &Cluster) -> Option<String> {
    let generation = field(cluster, &AGENTS, TEMPLATE);
    until_some("an agent of the new template", ROLLOUT_LIMIT, || {
        let pods = ["get", "pods", "-n", "nsdebug", "-l", SELECTOR, "-o", "json"];
        let pods: Value =
            serde_json::from_str(&cluster.kubectl(&pods).expect_success().out()).ok()?;
        let pods = pods["items"].as_array()?;
        let new = |pod: &&Value| {
            pod["metadata"]["labels"]["pod-template-generation"] == generation.as_str()
        };
        let pod = pods.iter().find(new).filter(|_| pods.len() == 1)?;
        let status = &pod["status"]["containerStatuses"][0];
        if status["started"] == true {
            return Some(None);
        }
        let name = pod["metadata"]["name"].as_str()?;
        let ended = status["restartCount"].as_u64()? > 0;
        ended.then(|| {
            let logs = cluster.kubectl(&["logs", "-n", "nsdebug", name, "--tail=1"]);
            Some(format!("does not start: {}", logs.out().trim()))
        })
    })
}

/// What fails, in the words that users and operators get.
fn failures(cluster: &Cluster) -> Vec<String> {
    if let Some(why) = settled(cluster) {
        return vec![why];
    }
    let tried = USES.map(|(name, pod, profile, command)| {
        match session_with(cluster, pod, profile, command) {
            Err(answer) => Some(format!("{name}: {}", answer.message())),
            Ok(heard) => match heard.status {
                Some(status) if status["status"] == "Success" => None,
                _ => Some(format!("{name}: {}", String::from_utf8_lossy(&heard.stderr).trim())),
            },
        }
    });
    tried.into_iter().flatten().collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn without_any_one_privilege_something_fails() {
    let Some(cluster) = cluster() else { return };
    // No session is to be waited for.
    let values = ["maxProfile=netadmin", "netadminReachesNodeNetwork=true", "agent.graceSeconds=0"];
    cluster.install(&values);
    assert_eq!(failures(&cluster), [""; 0], "with all of them");
    let (mut table, mut idle) = (String::new(), Vec::new());
    for Privilege { name, patch: change } in privileges(&cluster) {
        patch(&cluster, &change);
        let failed = failures(&cluster);
        let line = format!("{name}: {}", failed.join(" | "));
        println!("{line}");
        writeln!(table, "{line}").expect("a string takes everything");
        if failed.is_empty() {
            idle.push(name);
        }
        undo(&cluster);
    }
    settled(&cluster);
    assert_eq!(idle, [""; 0], "nothing fails without these:\n{table}");
}

/// The template that was there before.
fn undo(cluster: &Cluster) {
    cluster.kubectl(&[&["rollout", "undo"], &AGENTS[..]].concat()).expect_success();
}
