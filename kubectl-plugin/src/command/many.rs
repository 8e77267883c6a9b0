//! `kubectl nsdebug TARGET... -- COMMAND`: from the command line to sessions in many pods.
//!
//! One pod that is named is not looked for here: its session is `command::run`'s, at the cost of one request.

use std::io::IsTerminal;
use std::sync::Arc;

use super::run::{self, Purpose};
use crate::cli::{Arguments, ManyFlags, SelectionFlags, UsageError, When};
use crate::error::Failure;
use crate::kubernetes::{Cluster, PodQuery};
use crate::many::copy;
use crate::many::files;
use crate::many::form::{Form, Showing};
use crate::many::member::Member;
use crate::many::naming::{Naming, Prefix};
use crate::many::one::Shared;
use crate::many::run::Order;
use crate::many::select::{Followed, Wish, select};
use crate::many::streams::ByStream;
use crate::outcome::Outcome;
use crate::runtime;
use crate::session::Wiring;
use crate::target::Target;

/// Whether `arguments` may be about more than one pod.
pub(super) fn is_meant(arguments: &Arguments) -> bool {
    let Arguments { targets, selection, many, direct, .. } = arguments;
    let given = selection.given().or(many.given());
    direct.agent.is_none() && (targets.len() > 1 || given.is_some())
}

/// Refuses flags of many pods for a command that is about one session.
pub(super) fn is_not_meant(arguments: &Arguments, command: &'static str) -> Result<(), UsageError> {
    let SelectionFlags { all_namespaces, all_pods, .. } = arguments.selection;
    let given = [("--all-namespaces", all_namespaces), ("--all-pods", all_pods)];
    let given = given.into_iter().find_map(|(flag, given)| given.then_some(flag));
    match given.or(arguments.many.given()) {
        Some(flag) => Err(UsageError::OneSession { flag, command }),
        None => Ok(()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let wish = wish(arguments)?;
    if arguments.targets.len() > 1 || arguments.many.given().is_some() {
        fits_many(arguments)?;
    }
    let stdin = arguments.many.stdin_copy.then(copy::read).transpose()?;
    runtime::run(async {
        let Arguments { cluster, certificates, .. } = arguments;
        let cluster = Cluster::open(cluster, certificates).await?;
        let (members, followed) = select(&cluster, &wish).await?;
        if let [only] = &members[..]
            && arguments.many.given().is_none()
        {
            return run::in_pod(&cluster, &only.target, arguments).await;
        }
        crate::many::run::run(cluster, order(arguments, members, followed, stdin)?).await
    })
}

pub(super) fn wish(arguments: &Arguments) -> Result<Wish, UsageError> {
    let Arguments { targets, selection, many, container, namespace, direct, .. } = arguments;
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
    // What is followed is found again by a selector.
    let is_followed = selection.selects() || (*all_pods && targets.iter().all(is_workload));
    if many.follow && !is_followed {
        return Err(UsageError::NothingToFollow);
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
        // Nodes are columns, and containers are in names.
        detailed: matches!(many.output, Some(Form::Table | Form::Json))
            || many.output_dir.is_some()
            || many.prefix == Prefix::Container,
    })
}

/// Refuses what one pod can have and several cannot.
fn fits_many(arguments: &Arguments) -> Result<(), UsageError> {
    if arguments.command.is_empty() {
        return Err(UsageError::ManyShells);
    }
    if arguments.tty {
        return Err(UsageError::ManyTerminals);
    }
    if arguments.stdin {
        return Err(UsageError::ManyReaders);
    }
    Ok(())
}

/// What is run in several `members`, who have one terminal and one stdin between them.
fn order(
    arguments: &Arguments,
    members: Vec<Member>,
    followed: Vec<Followed>,
    stdin: Option<Arc<[u8]>>,
) -> Result<Order, Failure> {
    fits_many(arguments)?;
    let wiring = Wiring { stdin: stdin.is_some(), tty: false };
    let words = run::words_of(arguments, wiring, None, Purpose::Session)?;
    let ManyFlags { prefix, color, fail_fast, .. } = arguments.many;
    let is_terminal = ByStream {
        stdout: std::io::stdout().is_terminal(),
        stderr: std::io::stderr().is_terminal(),
    };
    let is_coloured = is_terminal.map(|is_terminal| is_coloured(color, *is_terminal));
    Ok(Order {
        naming: Naming::of(prefix, &members, is_coloured)
            .with_namespaces(arguments.selection.all_namespaces && arguments.many.follow),
        members,
        shared: Shared { query: words.query, limit: words.limit },
        stdin,
        followed: if arguments.many.follow { followed } else { Vec::new() },
        most: arguments.selection.max_pods.get().into(),
        container: arguments.container.clone(),
        showing: showing(&arguments.many, is_terminal.stdout)?,
        is_terminal,
        most_at_once: arguments.selection.max_concurrent.get().into(),
        fail_fast,
        quiet: words.quiet,
    })
}

fn showing(flags: &ManyFlags, is_terminal: bool) -> Result<Showing, Failure> {
    if flags.follow {
        return match flags.output {
            None | Some(Form::Text) => Ok(Showing::Text),
            Some(Form::Json) => Ok(Showing::Json),
            Some(Form::Table) => Err(UsageError::EndlessForm { form: "table" }.into()),
            Some(Form::Fold) => Err(UsageError::EndlessForm { form: "fold" }.into()),
        };
    }
    if let Some(folder) = &flags.output_dir {
        files::folder(folder)?;
        return Ok(Showing::Files(folder.clone()));
    }
    Ok(match flags.output {
        Some(Form::Table) => Showing::Table,
        Some(Form::Json) => Showing::Json,
        Some(Form::Fold) => Showing::fold(flags.ignore.clone(), false),
        None if is_terminal => Showing::fold(flags.ignore.clone(), true),
        Some(Form::Text) | None => Showing::Text,
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
