//! `kubectl nsdebug TARGET... -- COMMAND`: from the command line to sessions in many pods.
//!
//! One pod that is named is not looked for here: its session is `command::run`'s, at the cost of one request.

use std::io::IsTerminal;

use super::run::{self, Purpose, Terminals};
use crate::cli::{Arguments, ManyFlags, SelectionFlags, UsageError, When};
use crate::error::Failure;
use crate::kubernetes::{Cluster, PodQuery};
use crate::many::member::Member;
use crate::many::naming::Naming;
use crate::many::one::Shared;
use crate::many::run::Order;
use crate::many::select::{Wish, select};
use crate::many::speaker::Style;
use crate::outcome::Outcome;
use crate::runtime;
use crate::target::Target;

/// Whether `arguments` may be about more than one pod.
pub(super) fn is_meant(arguments: &Arguments) -> bool {
    let Arguments { targets, selection, direct, .. } = arguments;
    direct.agent.is_none() && (targets.len() > 1 || selection.given().is_some())
}

/// Refuses flags of many pods for a command that is about one session.
pub(super) fn is_not_meant(arguments: &Arguments, command: &'static str) -> Result<(), UsageError> {
    let SelectionFlags { all_namespaces, all_pods, .. } = arguments.selection;
    let given = [("--all-namespaces", all_namespaces), ("--all-pods", all_pods)];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(UsageError::OneSession { flag, command }),
        None => Ok(()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let wish = wish(arguments)?;
    runtime::run(async {
        let Arguments { cluster, certificates, .. } = arguments;
        let cluster = Cluster::open(cluster, certificates).await?;
        let members = select(&cluster, &wish).await?;
        if let [only] = &members[..] {
            return run::in_pod(&cluster, &only.target, arguments).await;
        }
        crate::many::run::run(cluster, order(arguments, members)?).await
    })
}

fn wish(arguments: &Arguments) -> Result<Wish, UsageError> {
    let Arguments { targets, selection, container, namespace, direct, .. } = arguments;
    let SelectionFlags { selector, field_selector, all_namespaces, all_pods, max_pods, .. } =
        selection;
    if direct.containerd_namespace.is_some() {
        return Err(UsageError::ContainerdNamespace);
    }
    if *all_namespaces && !selection.selects() {
        return Err(UsageError::EveryPod);
    }
    if *all_namespaces && namespace.is_some() {
        return Err(UsageError::TwoNamespaces);
    }
    let is_workload = |target: &Target| matches!(target, Target::Workload { .. });
    if *all_pods && !targets.iter().any(is_workload) {
        return Err(UsageError::NoWorkload);
    }
    let query = PodQuery { labels: selector.clone(), fields: field_selector.clone() };
    Ok(Wish {
        targets: targets.clone(),
        query: selection.selects().then_some(query),
        all_namespaces: *all_namespaces,
        all_pods: *all_pods,
        container: container.clone(),
        namespace: namespace.clone(),
        most: *max_pods,
        detailed: false,
    })
}

/// What is run in several `members`, who have one terminal and one stdin between them.
fn order(arguments: &Arguments, members: Vec<Member>) -> Result<Order, UsageError> {
    let found = members.len();
    if arguments.command.is_empty() {
        return Err(UsageError::ManyShells { found });
    }
    if arguments.tty {
        return Err(UsageError::ManyTerminals { found });
    }
    if arguments.stdin {
        return Err(UsageError::ManyReaders { found });
    }
    let none = Terminals { stdin: false, stdout: false, stderr: false };
    let (words, _) = run::words(arguments, none, None, Purpose::Session)?;
    let ManyFlags { prefix, color, fail_fast } = arguments.many;
    let is_terminal = std::io::stdout().is_terminal();
    Ok(Order {
        naming: Naming::of(prefix, &members, is_coloured(color, is_terminal)),
        members,
        shared: Shared { query: words.query, limit: words.limit },
        style: Style { is_terminal, is_shared: found > 1 },
        most_at_once: arguments.selection.max_concurrent.get().into(),
        fail_fast,
        quiet: words.quiet,
    })
}

/// By the convention of <https://no-color.org>.
fn is_coloured(when: When, is_terminal: bool) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => is_terminal && !is_set("NO_COLOR"),
    }
}
