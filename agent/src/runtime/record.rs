//! One container of containerd, read once: what it is, whose it is, and how its task is.
//!
//! Pod identity is believed only of containers that the CRI plugin made: it overwrites its own
//! labels, where other clients of containerd let anybody write them.

use std::collections::HashMap;
use std::fmt;

use containerd_client::services::v1::Container;
use containerd_client::services::v1::container::Runtime;
use entry::{Declared, Moment};
use prost::Message;

use super::declared::Spec;
use super::filter::{KIND, POD_NAME, POD_NAMESPACE};
use super::located::{Located, PodIdentity};

const POD_UID: &str = "io.kubernetes.pod.uid";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// What a container is to Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: Docker, nerdctl or `ctr` made it.
    Alone,
    /// What holds a pod's namespaces; its `container` is empty.
    Sandbox(PodIdentity),
    Member(PodIdentity),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainerRecord {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) role: Role,
    /// Seconds and nanoseconds since 1970.
    pub(super) created: (i64, i32),
    runtime: String,
    program: Option<String>,
    cgroup: Option<String>,
    declared: Option<Declared>,
}

impl ContainerRecord {
    pub(super) fn read(namespace: &str, container: Container) -> Self {
        let Container { id, labels, runtime, spec, created_at, .. } = container;
        let spec = spec.and_then(|any| serde_json::from_slice::<Spec>(&any.value).ok());
        Self {
            id,
            namespace: namespace.to_owned(),
            role: Role::read(&labels),
            created: created_at.map(|at| (at.seconds, at.nanos)).unwrap_or_default(),
            program: runtime.as_ref().and_then(program),
            runtime: runtime.map(|runtime| runtime.name).unwrap_or_default(),
            cgroup: spec.as_ref().and_then(Spec::cgroups_path),
            declared: spec.as_ref().map(Spec::declared),
        }
    }

    pub(super) fn running_as(self, pid: u32) -> Located {
        let Self { id, namespace, role, created: _, runtime, program, cgroup, declared } = self;
        let pod = match role {
            Role::Member(pod) | Role::Sandbox(pod) => Some(pod),
            Role::Alone => None,
        };
        let asked = Moment::default(); // a caller that knows better says so
        let stands_in_for = None;
        Located {
            id,
            namespace,
            pid,
            asked,
            cgroup,
            declared,
            runtime,
            program,
            pod,
            stands_in_for,
        }
    }

    /// The sandbox of a pod in the place of `container`, of which `what` says why.
    pub(super) fn standing_in(self, pid: u32, container: String, what: String) -> Located {
        let mut located = self.running_as(pid);
        if let Some(pod) = &mut located.pod {
            pod.container = container;
        }
        Located { stands_in_for: Some(what), ..located }
    }
}

/// `containerd.runc.v1.Options`, as far as it matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct RuncOptions {
    #[prost(string, tag = "6")]
    binary_name: String,
}

/// The program that the shim was told to use.
fn program(runtime: &Runtime) -> Option<String> {
    let options = runtime.options.as_ref()?;
    if !options.type_url.ends_with("runc.v1.Options") {
        return None;
    }
    let options = RuncOptions::decode(options.value.as_slice()).ok()?;
    Some(options.binary_name).filter(|name| !name.is_empty())
}

impl fmt::Display for ContainerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, namespace, role, .. } = self;
        write!(f, "{namespace}/{id}")?;
        match role {
            Role::Alone => Ok(()),
            Role::Sandbox(pod) => write!(f, " (sandbox of pod {pod})"),
            Role::Member(pod) => {
                write!(f, " (pod {pod}, container {})", pod.container.escape_debug())
            }
        }
    }
}

impl Role {
    fn read(labels: &HashMap<String, String>) -> Self {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let pod = || PodIdentity {
            namespace: label(POD_NAMESPACE),
            name: label(POD_NAME),
            uid: label(POD_UID),
            container: label(CONTAINER_NAME),
        };
        match labels.get(KIND).map(String::as_str) {
            Some("container") => Self::Member(pod()),
            Some("sandbox") => Self::Sandbox(PodIdentity { container: String::new(), ..pod() }),
            _ => Self::Alone,
        }
    }

    pub(super) fn pod(&self) -> Option<&PodIdentity> {
        match self {
            Self::Alone => None,
            Self::Sandbox(pod) | Self::Member(pod) => Some(pod),
        }
    }
}

#[cfg(test)]
pub(super) fn record(id: &str, role: Role, created: i64) -> ContainerRecord {
    ContainerRecord {
        id: id.to_owned(),
        namespace: "k8s.io".to_owned(),
        role,
        created: (created, 0),
        runtime: "io.containerd.runc.v2".to_owned(),
        program: None,
        cgroup: None,
        declared: None,
    }
}

#[cfg(test)]
pub(super) fn pod(uid: &str, container: &str) -> PodIdentity {
    let [namespace, name, uid, container] = ["shop", "web", uid, container].map(str::to_owned);
    PodIdentity { namespace, name, uid, container }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_of_a_pod_count_only_where_the_cri_plugin_wrote_its_own() {
        let claimed = [(POD_NAME, "web"), (POD_NAMESPACE, "kube-system")];
        assert_eq!(Role::read(&labels(&claimed)), Role::Alone);
        let made = [claimed[0], claimed[1], (KIND, "container"), (CONTAINER_NAME, "app")];
        let Role::Member(pod) = Role::read(&labels(&made)) else { panic!("a member of a pod") };
        assert_eq!((pod.to_string(), pod.container), ("kube-system/web".into(), "app".into()));
    }

    #[test]
    fn a_candidate_is_shown_with_its_pod_and_without_terminal_escapes() {
        let member = record("abcd1234", Role::Member(pod("1", "a\u{1b}[2Jp")), 0).to_string();
        assert_eq!(member, "k8s.io/abcd1234 (pod shop/web, container a\\u{1b}[2Jp)");
        assert_eq!(record("abcd", Role::Alone, 0).to_string(), "k8s.io/abcd");
    }

    #[test]
    fn the_program_of_a_shim_is_read_from_its_own_options_only() {
        let options = RuncOptions { binary_name: "/opt/bin/runsc".to_owned() }.encode_to_vec();
        let read = |type_url: &str| {
            let mut runtime = Runtime::default();
            let any = runtime.options.get_or_insert_default();
            (any.type_url, any.value) = (type_url.to_owned(), options.clone());
            program(&runtime)
        };
        assert_eq!(read("containerd.runc.v1.Options").as_deref(), Some("/opt/bin/runsc"));
        assert_eq!(read("runtimeoptions.v1.Options"), None);
    }

    #[test]
    fn the_cgroup_is_read_from_the_spec_and_a_strange_spec_is_no_failure() {
        let read = |spec: &str| {
            let mut container = Container::default();
            container.spec.get_or_insert_default().value = spec.as_bytes().to_vec();
            ContainerRecord::read("k8s.io", container).cgroup
        };
        assert_eq!(read(r#"{"linux":{"cgroupsPath":"/a/b"}}"#).as_deref(), Some("/a/b"));
        assert_eq!(read(r#"{"windows":{}}"#), None);
        assert_eq!(read("not JSON"), None);
    }
}
