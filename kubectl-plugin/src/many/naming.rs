//! What stands before the lines of a pod, and in which colour.

use std::collections::HashMap;

use clap::ValueEnum;

use super::member::Member;
use super::streams::ByStream;

/// By place in its workload, so that the first replicas never look alike: a hash of the name gives two of them one
/// colour in every sixth case.
const COLOURS: [&str; 6] = ["36", "33", "32", "35", "34", "31"];

/// What stands before a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Prefix {
    /// The pod, with its namespace if there are several
    #[default]
    Auto,
    /// The pod and its namespace
    Pod,
    /// The pod, its namespace and the container
    Container,
    /// Nothing
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Colour(&'static str);

#[derive(Debug)]
pub(crate) struct Naming {
    prefix: Prefix,
    with_namespace: bool,
    is_coloured: ByStream<bool>,
    /// Pods of each workload so far.
    seen: HashMap<Option<String>, usize>,
}

impl Naming {
    pub(crate) fn of(prefix: Prefix, members: &[Member], is_coloured: ByStream<bool>) -> Self {
        let mut namespaces = members.iter().filter_map(Member::namespace);
        let first = namespaces.next();
        let differ = namespaces.any(|namespace| Some(namespace) != first);
        let with_namespace = match prefix {
            Prefix::Auto | Prefix::None => differ,
            Prefix::Pod | Prefix::Container => true,
        };
        Self { prefix, with_namespace, is_coloured, seen: HashMap::new() }
    }

    /// With namespaces in any case: of pods that are still to come, they may differ.
    pub(crate) fn with_namespaces(mut self, are_needed: bool) -> Self {
        self.with_namespace |= are_needed;
        self
    }

    /// The name of `member` among the others.
    pub(crate) fn name(&self, member: &Member) -> String {
        let mut name = match member.namespace() {
            Some(namespace) if self.with_namespace => format!("{namespace}/{member}"),
            _ => member.to_string(),
        };
        if self.prefix == Prefix::Container
            && let Some(container) = &member.container
        {
            name = format!("{name}/{container}");
        }
        name
    }

    /// The colour of `member`, which has not been here before.
    pub(crate) fn colour(&mut self, member: &Member) -> Colour {
        let place = self.seen.entry(member.workload.clone()).or_default();
        let colour = COLOURS[*place % COLOURS.len()];
        *place += 1;
        Colour(colour)
    }

    /// What stands before the lines of the pod with this name.
    pub(crate) fn prefix(&self, name: &str, Colour(colour): Colour) -> ByStream<String> {
        self.is_coloured.map(|is_coloured| match self.prefix {
            Prefix::None => String::new(),
            _ if *is_coloured => format!("\u{1b}[{colour}m{name}\u{1b}[0m: "),
            _ => format!("{name}: "),
        })
    }
}

#[cfg(test)]
mod tests {
    use wire::ApiTarget;

    use super::*;

    fn member(namespace: &str, name: &str, workload: &str) -> Member {
        let (namespace, name) =
            (namespace.parse().expect("a label"), name.parse().expect("a name"));
        let mut member = Member::named(ApiTarget::Pod { namespace, name }, None);
        member.workload = Some(workload.to_owned());
        member.container = Some("app".to_owned());
        member
    }

    #[test]
    fn a_pod_has_its_namespace_where_there_are_several() {
        let (one, other) = (member("shop", "web-1", "web"), member("shop", "web-2", "web"));
        let far = member("test", "web-1", "web");
        let prefix = |prefix, members: &[Member]| {
            let mut naming = Naming::of(prefix, members, ByStream::default());
            let (name, colour) = (naming.name(&members[0]), naming.colour(&members[0]));
            naming.prefix(&name, colour).stdout
        };
        assert_eq!(prefix(Prefix::Auto, &[one.clone(), other.clone()]), "web-1: ");
        assert_eq!(prefix(Prefix::Auto, &[one.clone(), far]), "shop/web-1: ");
        assert_eq!(prefix(Prefix::Pod, &[one.clone(), other.clone()]), "shop/web-1: ");
        assert_eq!(prefix(Prefix::Container, &[one.clone(), other.clone()]), "shop/web-1/app: ");
        assert_eq!(prefix(Prefix::None, &[one, other]), "");
    }

    #[test]
    fn replicas_of_one_workload_differ_in_colour() {
        let replicas: Vec<_> = (0..6).map(|n| member("shop", &format!("web-{n}"), "web")).collect();
        let mut naming = Naming::of(Prefix::Auto, &replicas, ByStream::default());
        let mut colours: Vec<_> = replicas.iter().map(|one| naming.colour(one)).collect();
        colours.sort_unstable();
        colours.dedup();
        assert_eq!(colours.len(), 6);
        let other = member("shop", "db-0", "db");
        let first = naming.colour(&other);
        assert_eq!(first, Naming::of(Prefix::Auto, &[], ByStream::default()).colour(&other));
    }

    #[test]
    fn names_have_colours_only_on_the_stream_that_shows_them() {
        let is_coloured = ByStream { stdout: false, stderr: true };
        let naming = Naming::of(Prefix::Auto, &[], is_coloured);
        let prefix = naming.prefix("m", Colour("36"));
        assert_eq!((&prefix.stdout[..], &prefix.stderr[..]), ("m: ", "\u{1b}[36mm\u{1b}[0m: "));
        let again = naming.prefix("m (restart 3)", Colour("36"));
        assert_eq!(again.stderr, "\u{1b}[36mm (restart 3)\u{1b}[0m: ");
    }
}
