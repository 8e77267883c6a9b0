//! What a person names as the thing to enter.
//!
//! Deployments, services and selectors need the Kubernetes API and are not known here.

use std::str::FromStr;

use wire::{BadName, ContainerPrefix, Label, ObjectName, SessionTarget};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Container(ContainerPrefix),
    Pod(ObjectName),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTarget {
    #[error(transparent)]
    Name(#[from] BadName),
    #[error(
        "a target is `pod/NAME`, `POD` or `container/ID`; nothing of the kind `{kind}` can be entered"
    )]
    Kind { kind: String },
}

impl Target {
    pub(crate) fn in_namespace(self, namespace: Label) -> SessionTarget {
        match self {
            Self::Container(id) => SessionTarget::Container(id),
            Self::Pod(name) => SessionTarget::Pod { namespace, name },
        }
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        match text.split_once('/') {
            None => Ok(Self::Pod(text.parse()?)),
            Some(("pod" | "pods" | "po", name)) => Ok(Self::Pod(name.parse()?)),
            Some(("container", id)) => Ok(Self::Container(id.parse()?)),
            // As `kubectl get pod -o yaml` shows it; the ID's own parser knows the scheme.
            Some(("containerd:", _)) => Ok(Self::Container(text.parse()?)),
            Some((kind, _)) => Err(BadTarget::Kind { kind: kind.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> String {
        let target: Target = text.parse().expect(text);
        target.in_namespace("shop".parse().expect("a label")).path()
    }

    #[test]
    fn pods_are_named_as_kubectl_names_them() {
        for text in ["web-0", "pod/web-0", "pods/web-0", "po/web-0"] {
            assert_eq!(path(text), "/v1/namespaces/shop/pods/web-0/exec");
        }
    }

    #[test]
    fn a_container_is_named_by_its_id() {
        for text in
            ["container/0123abcd", "container/containerd://0123abcd", "containerd://0123abcd"]
        {
            assert_eq!(path(text), "/v1/containers/0123abcd/exec");
        }
    }

    #[test]
    fn a_kind_that_cannot_be_entered_is_named() {
        let error = "deploy/web".parse::<Target>().expect_err("a deployment");
        assert!(error.to_string().contains("`deploy`"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in ["", "pod/", "pod/Web", "pod/a/b", "container/", "container/abc", "/", "../x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
