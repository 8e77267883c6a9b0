//! Which container of a pod a session enters if its request names none: the one that kubectl would take.

use std::collections::BTreeMap;

/// kubectl's own annotation.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The container that is taken, and why it is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultContainer<'p> {
    pub name: &'p str,
    /// Its pod names it; without that it is the first.
    pub is_annotated: bool,
}

impl<'p> DefaultContainer<'p> {
    /// Of a pod with these annotations and plain `containers`, in their order; none if it has no container. An
    /// annotation that names none of them does not count.
    pub fn of(
        annotations: Option<&BTreeMap<String, String>>,
        containers: impl IntoIterator<Item = &'p str>,
    ) -> Option<Self> {
        let annotated = annotations.and_then(|all| all.get(DEFAULT_CONTAINER));
        let mut containers = containers.into_iter();
        let first = containers.next()?;
        let mut all = std::iter::once(first).chain(containers);
        let annotated = all.find(|name| annotated.is_some_and(|annotated| annotated == name));
        let is_annotated = annotated.is_some();
        Some(Self { name: annotated.unwrap_or(first), is_annotated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(annotated: Option<&str>, containers: &[&'static str]) -> Option<(&'static str, bool)> {
        let annotated = annotated.map(|name| (DEFAULT_CONTAINER.to_owned(), name.to_owned()));
        let annotations = BTreeMap::from_iter(annotated);
        let taken = DefaultContainer::of(Some(&annotations), containers.iter().copied())?;
        Some((taken.name, taken.is_annotated))
    }

    #[test]
    fn it_is_the_annotated_one_if_the_pod_has_it_and_else_the_first() {
        let both = ["app", "proxy"];
        assert_eq!(taken(None, &both), Some(("app", false)));
        assert_eq!(taken(Some("proxy"), &both), Some(("proxy", true)));
        assert_eq!(taken(Some("app"), &both), Some(("app", true)));
        assert_eq!(taken(Some("gone"), &both), Some(("app", false)));
        assert_eq!(taken(Some("app"), &[]), None);
        let unannotated = DefaultContainer::of(None, both).map(|taken| taken.name);
        assert_eq!(unannotated, Some("app"));
    }
}
