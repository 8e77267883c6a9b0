//! One command in many pods of a real cluster, of which some do not answer as the others do.

use std::collections::BTreeSet;

use harness::{Cluster, Running};
use rustix::process::{Pid, Signal, kill_process};

/// More than an agent gives one caller, and than are asked for at a time.
const CROWD: usize = 10;
const FEW: usize = 5;

fn workload(name: &str, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: many}}\nspec:\n  \
         replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      containers:\n      \
         - {{name: app, image: 'localhost/nsdebug/target-app:1', imagePullPolicy: Never, command: [/target-app], args: [serve]}}\n"
    )
}

/// The pods of a workload of so many, once all of them run.
fn started(cluster: &Cluster, name: &str, replicas: usize) -> Vec<String> {
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: many}\n");
    cluster.apply(&workload(name, replicas));
    let deployment = format!("deploy/{name}");
    let rolled = ["rollout", "status", "-n", "many", &deployment, "--timeout=120s"];
    cluster.kubectl(&rolled).expect_success();
    let selector = format!("app={name}");
    let pods = ["get", "pods", "-n", "many", "-l", &selector, "-o"];
    let names = "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}";
    let pods = cluster.kubectl(&[&pods[..], &[names]].concat()).expect_success().out();
    let pods: Vec<_> = pods.lines().map(str::to_owned).collect();
    assert_eq!(pods.len(), replicas, "{pods:?}");
    pods
}

/// What fiona needs to find the pods of a workload, and to enter `pods` of them.
fn rights(pods: &[String]) -> String {
    let names = pods.join(", ");
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: fiona, namespace: many}}\nrules:\n\
         - {{apiGroups: [apps], resources: [deployments], verbs: [get]}}\n\
         - {{apiGroups: [\"\"], resources: [pods], verbs: [list]}}\n\
         - {{apiGroups: [nsdebug.dev], resources: [pods/exec], resourceNames: [{names}], verbs: [get, create]}}\n\
         - {{apiGroups: [nsdebug.dev], resources: [profiles], resourceNames: [general], verbs: [use]}}\n\
         - {{apiGroups: [\"\"], resources: [pods/exec], resourceNames: [{names}], verbs: [create]}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: fiona, namespace: many}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: fiona}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: fiona}}]\n"
    )
}

#[test]
fn a_command_in_more_pods_than_there_are_places_for_has_the_answer_of_each() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let pods = started(&cluster, "crowd", CROWD);
    let expected: BTreeSet<_> = pods.iter().map(|pod| format!("{pod}: {pod}")).collect();
    let all = ["-n", "many", "deploy/crowd", "--all-pods", "--", "hostname"];
    let answers = |words: &[&str]| {
        let finished = cluster.nsdebug(&[words, &all[..]].concat()).expect_success();
        let lines: BTreeSet<_> = finished.out().lines().map(str::to_owned).collect();
        assert_eq!(lines, expected, "{finished}");
        finished.err()
    };
    let said = answers(&["--max-concurrent", "2"]);
    assert_eq!(said, format!("note: 2 of {CROWD} run; {} wait (--max-concurrent)\n", CROWD - 2));
    // All at once are more than the agent has places for, which no user is to notice.
    assert_eq!(answers(&[]), "");
    let few = cluster.nsdebug(&[&["--max-pods", "9"], &all[..]].concat()).expect_code(2);
    assert!(few.err().contains("10 pods are meant, and at most 9 are entered"), "{few}");
    assert_eq!(few.out(), "");
}

#[test]
fn a_pod_that_is_refused_deleted_or_stopped_changes_nothing_for_the_others() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let pods = started(&cluster, "few", FEW);
    let [refused, deleted, stopped, well @ ..] = &pods[..] else { panic!("{pods:?}") };
    let fiona = cluster.user("fiona", "dev");
    cluster.apply(&rights(&pods[1..]));
    let script = format!(
        "echo begun; if [ $(hostname) = {stopped} ]; then kill -STOP $$; fi; \
         trap 'echo told; exit 0' INT; echo waits; while :; do sleep 0.1; done"
    );
    let mut command = cluster.plugin();
    command.arg("--kubeconfig").arg(&fiona);
    command.args(["-n", "many", "deploy/few", "--all-pods", "--", "sh", "-c", &script]);
    let running = Running::start(&mut command);
    running.wait_for_stdout(&format!("{stopped}: begun\n"));
    running.wait_for_stderr(&format!("{refused}: error: Error from server (Forbidden): "));
    for pod in well.iter().chain([deleted]) {
        running.wait_for_stdout(&format!("{pod}: waits\n"));
    }
    cluster.kubectl(&["delete", "pod", "-n", "many", deleted, "--wait=false"]).expect_success();
    running.wait_for_stderr(&format!("{deleted}: error: "));
    assert!(!running.has_ended(), "{}", running.stderr());
    running.signal(Signal::INT);
    let ended = running.finish().expect_code(125);
    for pod in well {
        assert!(ended.out().contains(&format!("{pod}: told\n")), "{ended}");
    }
    assert!(!ended.out().contains(&format!("{stopped}: told\n")), "{ended}");
    let unheard = format!("{stopped}: error: the tool did not end within 5 s of SIGINT");
    assert!(ended.err().contains(&unheard), "{ended}");
    assert!(ended.err().contains("note: 5 pods: 2 exited with 0, "), "{ended}");
}

#[test]
fn pods_that_appear_restart_and_go_are_followed() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let pods = started(&cluster, "grown", 1);
    let first = &pods[0];
    let script = "trap 'echo told; exit 0' INT; echo begun; while :; do sleep 0.1; done";
    let mut command = cluster.plugin();
    let selected = ["-n", "many", "-l", "app=grown", "--follow"];
    command.args(selected).args(["--", "sh", "-c", script]);
    let running = Running::start(&mut command);
    running.wait_for_stdout(&format!("{first}: begun\n"));
    let scale = ["scale", "-n", "many", "deploy/grown", "--replicas", "2"];
    cluster.kubectl(&scale).expect_success();
    running.wait_for_stderr("note: the pod is new\n");
    let pid = cluster.pid_of("many", first, None);
    let pid = Pid::from_raw(pid.try_into().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::KILL).expect("the application is a process of this machine");
    running.wait_for_stdout(&format!("{first} (restart 1): begun\n"));
    cluster.kubectl(&["delete", "pod", "-n", "many", first, "--wait=false"]).expect_success();
    running.wait_for_stderr(&format!("{first} (restart 1): note: the pod is deleted\n"));
    running.signal(Signal::INT);
    let ended = running.finish();
    assert!(ended.out().contains(": told\n"), "{ended}");
}

#[test]
fn equal_answers_of_a_workload_are_one() {
    let Some(cluster) = Cluster::with_nsdebug() else { return };
    let pods = started(&cluster, "equal", 3);
    let all = ["-n", "many", "deploy/equal", "--all-pods", "-o", "fold"];
    let alike = cluster.nsdebug(&[&all[..], &["--", "ss", "-Hltn"]].concat()).expect_success();
    assert!(alike.out().starts_with("3 pods, all alike:\n"), "{alike}");
    let names = cluster.nsdebug(&[&all[..], &["--", "hostname"]].concat()).expect_success();
    assert!(names.out().starts_with("3 pods, no two alike; "), "{names}");
    let ignore = ["--ignore", "equal-.*", "--", "hostname"];
    let ignored = cluster.nsdebug(&[&all[..], &ignore].concat()).expect_success();
    assert_eq!(ignored.out(), format!("3 pods, all alike:\n  {}\n", pods[0]));
}
