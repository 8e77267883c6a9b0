//! Filters in containerd's own language, from names that cannot break out of them.
//!
//! `wire`'s name types allow no quote, backslash or comma; quoting them all the same keeps a dot or
//! a dash from being read as syntax.

use wire::{ContainerPrefix, Label, ObjectName};

pub(super) const KIND: &str = "io.cri-containerd.kind";
pub(super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(super) const POD_NAME: &str = "io.kubernetes.pod.name";

/// Containers whose ID begins with `prefix`. `[.]` is a dot to the regular expression and needs no
/// backslash, which the quoted string would take for itself.
pub(super) fn id_begins(prefix: &ContainerPrefix) -> String {
    format!("id~=\"^{}\"", prefix.as_str().replace('.', "[.]"))
}

/// Everything that belongs to pods of this name: sandboxes and containers, of every attempt.
pub(super) fn of_pod(namespace: &Label, name: &ObjectName) -> String {
    format!("{},{}", label(POD_NAMESPACE, namespace.as_str()), label(POD_NAME, name.as_str()))
}

/// The same for names that containerd itself reported: `None` where those cannot be quoted.
pub(super) fn of_reported_pod(namespace: &str, name: &str) -> Option<String> {
    let (namespace, name): (Label, ObjectName) = (namespace.parse().ok()?, name.parse().ok()?);
    Some(of_pod(&namespace, &name))
}

/// The sandboxes of all pods of a namespace.
pub(super) fn sandboxes_of(namespace: &Label) -> String {
    format!("{},{}", label(KIND, "sandbox"), label(POD_NAMESPACE, namespace.as_str()))
}

fn label(name: &str, value: &str) -> String {
    format!("labels.\"{name}\"==\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_an_id_is_a_dot_and_not_any_character() {
        let prefix = "web.1_a-b".parse().expect("an ID");
        assert_eq!(id_begins(&prefix), r#"id~="^web[.]1_a-b""#);
    }

    #[test]
    fn a_pod_is_found_by_both_of_its_names() {
        let (namespace, name) =
            ("shop".parse().expect("a label"), "web.1".parse().expect("a name"));
        assert_eq!(
            of_pod(&namespace, &name),
            r#"labels."io.kubernetes.pod.namespace"=="shop",labels."io.kubernetes.pod.name"=="web.1""#
        );
    }

    #[test]
    fn a_reported_name_that_is_none_is_not_asked_for() {
        assert_eq!(of_reported_pod("shop", "a\",id~=\".*"), None);
    }
}
