//! Which of several containers is meant: the rules, without asking anybody.

use wire::ContainerPrefix;

use super::error::LocateError;
use super::located::PodIdentity;
use super::record::{ContainerRecord, Role};
use super::task::TaskState;

/// The containerd namespace of the CRI plugin.
pub(super) const KUBERNETES: &str = "k8s.io";

/// Where containers mostly are: Kubernetes, Docker, `ctr` and nerdctl. Asked while the list of
/// namespaces is on its way, which saves a round trip in almost every case.
pub(super) const USUAL: [&str; 3] = [KUBERNETES, "moby", "default"];

/// Where a container may be that has `id` as its whole ID.
pub(super) fn likely_namespaces(id: &ContainerPrefix) -> Vec<&'static str> {
    /// Hexadecimal digits of an ID of the CRI plugin, Docker and nerdctl.
    const GENERATED: usize = 64;
    let id = id.as_str();
    match (id.bytes().all(|byte| byte.is_ascii_hexdigit()), id.len()) {
        (true, GENERATED) => USUAL.to_vec(),
        // The beginning of one.
        (true, _) => Vec::new(),
        // A name that a user chose, which only `ctr` takes.
        (false, _) => vec!["default"],
    }
}

/// The one container that `prefix` means. A whole ID wins over longer ones that begin with it.
pub(super) fn by_id(
    prefix: &str,
    searched: &[String],
    records: Vec<ContainerRecord>,
) -> Result<ContainerRecord, LocateError> {
    let (exact, longer): (Vec<ContainerRecord>, Vec<ContainerRecord>) =
        records.into_iter().partition(|record| record.id == prefix);
    let mut candidates = if exact.is_empty() { longer } else { exact };
    match (candidates.pop(), candidates.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            candidates.push(last);
            let candidates = candidates.iter().map(ContainerRecord::to_string).collect();
            Err(LocateError::Ambiguous { prefix: prefix.to_owned(), candidates })
        }
        (None, _) => {
            let searched = searched.iter().cloned().collect();
            Err(LocateError::NotFound { prefix: prefix.to_owned(), searched })
        }
    }
}

/// The containers of the newest pod among `records`, oldest first; the pod's name may have been
/// another pod's before, whose containers can still be lying about.
pub(super) fn of_newest_pod(records: Vec<ContainerRecord>) -> Vec<(ContainerRecord, PodIdentity)> {
    let pods = records.iter().filter_map(|record| Some((record.created, record.role.pod()?)));
    let Some((_, newest)) = pods.max_by_key(|(created, _)| *created) else {
        return Vec::new();
    };
    let uid = newest.uid.clone();
    let mut members: Vec<_> = records
        .into_iter()
        .filter_map(|record| match &record.role {
            Role::Member(pod) if pod.uid == uid => {
                let pod = pod.clone();
                Some((record, pod))
            }
            Role::Member(_) | Role::Sandbox(_) | Role::Alone => None,
        })
        .collect();
    members.sort_by_key(|(record, _)| record.created);
    members
}

/// The newest sandbox of the pod with this `uid`: the kubelet makes a new one when it has died.
pub(super) fn sandbox_of(uid: &str, records: &[ContainerRecord]) -> Option<ContainerRecord> {
    let sandboxes = records
        .iter()
        .filter(|record| matches!(&record.role, Role::Sandbox(pod) if pod.uid == uid));
    sandboxes.max_by_key(|record| record.created).cloned()
}

/// The uid of the newest pod among `records`.
pub(super) fn newest_pod(records: &[ContainerRecord]) -> Option<String> {
    let pods = records.iter().filter_map(|record| Some((record.created, record.role.pod()?)));
    pods.max_by_key(|(created, _)| *created).map(|(_, pod)| pod.uid.clone())
}

/// The attempt to enter, of attempts that are sorted by age: of the name that was created first
/// among those that run, the newest one that runs.
///
/// Where none runs, the newest of all: the older ones are mostly init containers, whose end is no
/// news to anybody.
pub(super) fn attempt(
    attempts: Vec<(ContainerRecord, TaskState)>,
) -> Option<(ContainerRecord, TaskState)> {
    let running =
        |(_, state): &(ContainerRecord, TaskState)| matches!(state, TaskState::Running { .. });
    let name = |(record, _): &(ContainerRecord, TaskState)| {
        record.role.pod().map(|pod| pod.container.clone()).unwrap_or_default()
    };
    let alive: Vec<String> = attempts.iter().filter(|a| running(a)).map(name).collect();
    // By the first attempt of a name: a restart does not move a container behind its neighbours.
    let first = attempts.iter().map(name).find(|name| alive.contains(name));
    let mut newest_first = attempts.into_iter().rev();
    match first {
        Some(first) => newest_first.find(|a| running(a) && name(a) == first),
        None => newest_first.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{pod, record};
    use super::*;

    const RUNNING: TaskState = TaskState::Running { pid: 7 };
    const STOPPED: TaskState = TaskState::Stopped { code: 0 };

    fn alone(id: &str) -> ContainerRecord {
        record(id, Role::Alone, 0)
    }

    fn member(id: &str, name: &str, created: i64) -> ContainerRecord {
        record(id, Role::Member(pod("1", name)), created)
    }

    fn chosen(attempts: Vec<(ContainerRecord, TaskState)>) -> String {
        attempt(attempts).expect("an attempt").0.id
    }

    #[test]
    fn only_what_can_be_a_whole_id_is_asked_for_as_one() {
        let likely = |id: &str| likely_namespaces(&id.parse().expect("an ID"));
        assert_eq!(likely(&"5f".repeat(32)), USUAL);
        assert_eq!(likely("5f5f5f5f5f5f"), [""; 0]);
        assert_eq!(likely("web-1"), ["default"]);
    }

    #[test]
    fn a_whole_id_wins_over_those_that_begin_with_it() {
        let found = by_id("web1", &[], vec![alone("web10"), alone("web1"), alone("web11")]);
        assert_eq!(found.expect("a container").id, "web1");
    }

    #[test]
    fn the_same_id_in_two_namespaces_is_ambiguous_and_both_are_listed() {
        let mut elsewhere = alone("web1");
        elsewhere.namespace = "moby".to_owned();
        let error = by_id("web1", &[], vec![alone("web1"), elsewhere]).expect_err("two");
        assert!(error.to_string().ends_with("k8s.io/web1, moby/web1"), "{error}");
    }

    #[test]
    fn what_is_not_found_says_where_it_was_looked_for() {
        let searched = ["default".to_owned(), "moby".to_owned()];
        let error = by_id("feed", &searched, Vec::new()).expect_err("nothing");
        assert!(error.to_string().contains("`feed`"), "{error}");
        assert!(error.to_string().contains("default, moby"), "{error}");
    }

    #[test]
    fn the_first_container_is_the_first_created_that_runs() {
        let attempts = vec![
            (member("init", "setup", 1), STOPPED),
            (member("app", "app", 2), RUNNING),
            (member("proxy", "proxy", 3), RUNNING),
        ];
        assert_eq!(chosen(attempts), "app");
    }

    #[test]
    fn a_restarted_container_stays_the_first_and_its_newest_attempt_is_entered() {
        let attempts = vec![
            (member("app-0", "app", 1), STOPPED),
            (member("proxy", "proxy", 2), RUNNING),
            (member("app-1", "app", 3), RUNNING),
        ];
        assert_eq!(chosen(attempts), "app-1");
    }

    #[test]
    fn where_none_runs_the_newest_is_the_one_that_is_reported() {
        let attempts =
            vec![(member("init", "setup", 1), STOPPED), (member("app", "app", 2), STOPPED)];
        assert_eq!(chosen(attempts), "app");
    }

    #[test]
    fn containers_of_an_earlier_pod_of_that_name_do_not_count() {
        let before = record("old", Role::Member(pod("0", "app")), 1);
        let sandbox = record("sandbox", Role::Sandbox(pod("1", "")), 2);
        let ids: Vec<String> =
            of_newest_pod(vec![member("new", "app", 3), before.clone(), sandbox.clone()])
                .into_iter()
                .map(|(record, _)| record.id)
                .collect();
        assert_eq!(ids, ["new"]);
        // The new pod's container does not exist yet: the old one must not stand in for it.
        assert!(of_newest_pod(vec![before, sandbox]).is_empty());
    }

    #[test]
    fn the_sandbox_of_a_pod_is_its_newest_and_nobody_else_s() {
        let sandbox = |id, uid, created| record(id, Role::Sandbox(pod(uid, "")), created);
        let records = [
            sandbox("died", "1", 1),
            sandbox("lives", "1", 2),
            member("app", "app", 3),
            sandbox("other", "0", 4),
        ];
        assert_eq!(sandbox_of("1", &records).expect("a sandbox").id, "lives");
        assert_eq!(sandbox_of("2", &records), None);
    }
}
