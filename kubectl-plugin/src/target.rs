//! What a person names as the thing to enter, as kubectl names it.
//!
//! Which pod a workload comes to is found out in `kubernetes::pods`.

use std::fmt;
use std::str::FromStr;

use wire::{BadName, ContainerPrefix, ObjectName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Container(ContainerPrefix),
    Pod(ObjectName),
    Node(ObjectName),
    Workload { kind: Workload, name: ObjectName },
}

/// What has pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    Service,
}

/// Words that are commands, or will be: none of them is a pod, so that no later version takes a pod's name away.
const RESERVED: [&str; 14] = [
    "capture",
    "cp",
    "doctor",
    "kill",
    "play",
    "profile",
    "record",
    "recordings",
    "report",
    "sessions",
    "stacks",
    "top",
    "version",
    "watch",
];

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTarget {
    #[error(
        "`{word}` is a reserved word: a command comes first, and a pod of this name is written `pod/{word}`"
    )]
    Reserved { word: &'static str },
    #[error(transparent)]
    Name(#[from] BadName),
    #[error(
        "a target is POD, pod/NAME, deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME, svc/NAME, \
         node/NAME or container/ID; nothing of the kind `{kind}` can be entered"
    )]
    Kind { kind: String },
}

impl Workload {
    pub(crate) const ALL: [Self; 6] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::Service,
    ];

    /// Where the API server has those of `namespace`.
    pub(crate) fn path(self, namespace: &str) -> String {
        let api = match self {
            Self::Job => "/apis/batch/v1",
            Self::Service => "/api/v1",
            _ => "/apis/apps/v1",
        };
        format!("{api}/namespaces/{namespace}/{}", self.plural())
    }

    /// The names that kubectl knows it by, the shortest first; the last is the plural.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => &["deploy", "deployment", "deployments"],
            Self::StatefulSet => &["sts", "statefulset", "statefulsets"],
            Self::DaemonSet => &["ds", "daemonset", "daemonsets"],
            Self::ReplicaSet => &["rs", "replicaset", "replicasets"],
            Self::Job => &["job", "jobs"],
            Self::Service => &["svc", "service", "services"],
        }
    }

    fn plural(self) -> &'static str {
        self.names().last().copied().unwrap_or_default()
    }

    /// With or without its API group, as in `deployment.apps/web`.
    fn named(kind: &str) -> Option<Self> {
        let is = |workload: &Self| {
            let group = match workload {
                Self::Job => ".batch",
                Self::Service => "",
                _ => ".apps",
            };
            let bare = kind.strip_suffix(group).unwrap_or(kind);
            workload.names().contains(&bare)
        };
        Self::ALL.into_iter().find(is)
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let Some((kind, name)) = text.split_once('/') else {
            return match RESERVED.into_iter().find(|word| *word == text) {
                Some(word) => Err(BadTarget::Reserved { word }),
                None => Ok(Self::Pod(text.parse()?)),
            };
        };
        match kind {
            "pod" | "pods" | "po" => Ok(Self::Pod(name.parse()?)),
            "node" | "nodes" | "no" => Ok(Self::Node(name.parse()?)),
            "container" => Ok(Self::Container(name.parse()?)),
            // As `kubectl get pod -o yaml` shows it; the ID's own parser knows the scheme.
            "containerd:" => Ok(Self::Container(text.parse()?)),
            kind => match Workload::named(kind) {
                Some(kind) => Ok(Self::Workload { kind, name: name.parse()? }),
                None => Err(BadTarget::Kind { kind: kind.to_owned() }),
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(id) => write!(f, "container/{id}"),
            Self::Pod(name) => write!(f, "pod/{name}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Workload { kind, name } => write!(f, "{}/{name}", kind.names()[0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Target>().expect(text).to_string()
    }

    #[test]
    fn pods_and_nodes_are_named_as_kubectl_names_them() {
        for text in ["web-0", "pod/web-0", "pods/web-0", "po/web-0"] {
            assert_eq!(shown(text), "pod/web-0");
        }
        for text in ["node/n1.example", "nodes/n1.example", "no/n1.example"] {
            assert_eq!(shown(text), "node/n1.example");
        }
    }

    #[test]
    fn what_has_pods_is_named_with_or_without_its_group() {
        for (text, path) in [
            ("deploy/web", "/apis/apps/v1/namespaces/shop/deployments"),
            ("deployment.apps/web", "/apis/apps/v1/namespaces/shop/deployments"),
            ("statefulset/web", "/apis/apps/v1/namespaces/shop/statefulsets"),
            ("ds/web", "/apis/apps/v1/namespaces/shop/daemonsets"),
            ("rs/web", "/apis/apps/v1/namespaces/shop/replicasets"),
            ("jobs.batch/web", "/apis/batch/v1/namespaces/shop/jobs"),
            ("svc/web", "/api/v1/namespaces/shop/services"),
        ] {
            let Ok(Target::Workload { kind, name }) = text.parse() else { panic!("{text}") };
            assert_eq!((kind.path("shop").as_str(), name.as_str()), (path, "web"));
        }
    }

    #[test]
    fn a_container_is_named_by_its_id() {
        for text in
            ["container/0123abcd", "container/containerd://0123abcd", "containerd://0123abcd"]
        {
            assert_eq!(shown(text), "container/0123abcd");
        }
    }

    #[test]
    fn a_kind_that_cannot_be_entered_is_named() {
        for kind in ["secret", "svc.apps", "deploy.batch"] {
            let error = format!("{kind}/web").parse::<Target>().expect_err(kind);
            assert!(error.to_string().contains(&format!("`{kind}`")), "{error}");
        }
    }

    #[test]
    fn a_reserved_word_is_no_pod_and_says_how_to_name_one() {
        for word in RESERVED {
            let error = word.parse::<Target>().expect_err(word).to_string();
            assert!(error.contains(&format!("`pod/{word}`")), "{error}");
            assert_eq!(shown(&format!("pod/{word}")), format!("pod/{word}"));
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in ["", "pod/", "pod/Web", "pod/a/b", "container/", "container/abc", "/", "../x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
