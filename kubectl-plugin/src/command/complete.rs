//! Completion of a command line, as kubectl asks its plugins for it: the words so far, and then the
//! candidates, a line each, and a last line that says what the shell should make of them.
//!
//! Nothing is ever wrong here: what cannot be completed has no candidates.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, CommandFactory, Parser};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::Value;
use wire::{Label, Profile};

use crate::cli::{Arguments, CertificateFlags, ClusterFlags};
use crate::kubernetes::{self, Cluster, ClusterTarget};
use crate::target::{Target, Workload};
use crate::{output, runtime};

/// By this name kubectl looks for the program that completes our words.
const PROGRAM: &str = "kubectl_complete-nsdebug";
/// The same as a first word, for a script of that name.
const WORD: &str = "__complete";

/// Longer than that nobody waits for a key.
const PATIENCE: Duration = Duration::from_secs(3);

/// What cobra, kubectl's library, calls `ShellCompDirective`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directive {
    /// The shell may offer files.
    Default = 0,
    NoFiles = 4,
    /// No files, and no space after the word: it is only half of one.
    NoFilesNoSpace = 6,
}

/// What the word in question is.
#[derive(Debug, PartialEq, Eq)]
enum CompletedWord {
    Target,
    Flag,
    Container(Option<Target>),
    Namespace,
    Profile,
    /// A name of the kubeconfig: `contexts`, `clusters` or `users`.
    Configured(&'static str),
    Subcommand,
    /// A file, or something that only the person knows.
    Other,
}

/// The words to complete, if that is what the program was started for.
pub(crate) fn asked(mut words: impl Iterator<Item = OsString>) -> Option<Vec<String>> {
    let text = |word: OsString| word.to_string_lossy().into_owned();
    let program = words.next().map(text).unwrap_or_default();
    if Path::new(&program).file_stem().is_some_and(|stem| stem == PROGRAM) {
        return Some(words.map(text).collect());
    }
    let first = words.next().map(text)?;
    (first == WORD).then(|| words.map(text).collect())
}

pub(crate) fn run(words: &[String]) {
    let (before, word) = match words {
        [before @ .., word] => (before, word.as_str()),
        [] => (words, ""),
    };
    let (candidates, directive) = candidates(before, word);
    for candidate in candidates.iter().filter(|candidate| candidate.starts_with(word)) {
        output::line(candidate);
    }
    output::line(&format!(":{}", directive as u8));
}

fn candidates(before: &[String], word: &str) -> (Vec<String>, Directive) {
    let (asked, words) = understand(before, word);
    match asked {
        CompletedWord::Other => (Vec::new(), Directive::Default),
        CompletedWord::Flag => (flags(), Directive::NoFiles),
        CompletedWord::Profile => {
            (Profile::ALL.map(|it| it.to_string()).to_vec(), Directive::NoFiles)
        }
        CompletedWord::Subcommand => (Vec::new(), Directive::NoFiles),
        CompletedWord::Configured(list) => (configured(&words, list), Directive::NoFiles),
        asked => {
            let directive = match &asked {
                CompletedWord::Target if !word.contains('/') => Directive::NoFilesNoSpace,
                _ => Directive::NoFiles,
            };
            let found = runtime::run(async { Ok(of_cluster(&words, &asked, word).await) });
            let mut found = found.unwrap_or_default();
            if directive == Directive::NoFilesNoSpace && !found.is_empty() && !is_kind(word) {
                return (found, Directive::NoFiles);
            }
            if directive == Directive::NoFilesNoSpace {
                found.extend(kinds());
            }
            (found, directive)
        }
    }
}

/// Whether `word` is the beginning of a kind, which goes on with a slash.
fn is_kind(word: &str) -> bool {
    !word.is_empty() && kinds().any(|kind| kind.starts_with(word))
}

fn kinds() -> impl Iterator<Item = String> {
    let named = Workload::ALL.into_iter().map(|kind| kind.names()[0]);
    ["pod", "node"].into_iter().chain(named).map(|kind| format!("{kind}/"))
}

/// What `word` after the words `before` is, and those of them that say which cluster is meant.
fn understand(before: &[String], word: &str) -> (CompletedWord, Vec<String>) {
    let command = Arguments::command();
    let mut target: Option<Target> = None;
    let mut takes_one = false;
    let mut value_of: Option<&Arg> = None;
    for word in before {
        if value_of.take().is_some() {
            continue;
        }
        match word.as_str() {
            "--" => return (CompletedWord::Other, Vec::new()),
            "doctor" if target.is_none() => takes_one = true,
            "version" if target.is_none() => return (CompletedWord::Subcommand, Vec::new()),
            word if word.starts_with('-') => value_of = with_value(&command, word),
            word => target = word.parse().ok().or(target),
        }
    }
    let words = if value_of.is_some() { &before[..before.len() - 1] } else { before };
    let asked = match value_of.and_then(Arg::get_long) {
        Some("container") => CompletedWord::Container(target),
        Some("namespace") => CompletedWord::Namespace,
        Some("profile") => CompletedWord::Profile,
        Some("context") => CompletedWord::Configured("contexts"),
        Some("cluster") => CompletedWord::Configured("clusters"),
        Some("user") => CompletedWord::Configured("users"),
        Some(_) => CompletedWord::Other,
        None if word.starts_with('-') => CompletedWord::Flag,
        None if takes_one && target.is_some() => CompletedWord::Other,
        None => CompletedWord::Target,
    };
    (asked, words.to_vec())
}

/// The flag `word`, if its value is the word after it.
fn with_value<'a>(command: &'a clap::Command, word: &str) -> Option<&'a Arg> {
    let takes = |arg: &&Arg| arg.get_action().takes_values() && !arg.is_positional();
    match word.strip_prefix("--") {
        Some(long) => {
            command.get_arguments().filter(takes).find(|arg| arg.get_long() == Some(long))
        }
        // Of `-itc` it is the last.
        None => {
            command.get_arguments().filter(takes).find(|arg| arg.get_short() == word.chars().last())
        }
    }
}

fn flags() -> Vec<String> {
    let command = Arguments::command();
    let line = |arg: &Arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some(format!("--{}\t{}", arg.get_long()?, help.lines().next().unwrap_or_default()))
    };
    command.get_arguments().filter_map(line).collect()
}

/// What `words` say of the cluster.
fn settings(words: &[String]) -> Option<(ClusterFlags, CertificateFlags, Option<Label>)> {
    let doctor = words.iter().any(|word| word == "doctor");
    let mut line: Vec<&str> = vec![PROGRAM];
    line.extend(words.iter().map(String::as_str));
    let arguments = Arguments::try_parse_from(&line).or_else(|_| {
        if !doctor {
            line.push("any");
        }
        Arguments::try_parse_from(&line)
    });
    let Arguments { cluster, certificates, namespace, .. } = arguments.ok()?;
    Some((cluster, certificates, namespace))
}

fn configured(words: &[String], list: &str) -> Vec<String> {
    let flags = settings(words).map(|(flags, ..)| flags).unwrap_or_default();
    kubernetes::configured(&flags, list)
}

async fn of_cluster(words: &[String], asked: &CompletedWord, word: &str) -> Vec<String> {
    let looking = look(words, asked, word);
    tokio::time::timeout(PATIENCE, looking).await.ok().flatten().unwrap_or_default()
}

async fn look(words: &[String], asked: &CompletedWord, word: &str) -> Option<Vec<String>> {
    let (flags, certificates, namespace) = settings(words)?;
    let cluster = Cluster::open(&flags, &certificates).await.ok()?;
    let namespace = namespace.as_ref().map_or(cluster.default_namespace(), Label::as_str);
    match asked {
        CompletedWord::Namespace => {
            let all: List<Namespace> = cluster.get("/api/v1/namespaces").await.ok()?;
            Some(all.items.into_iter().filter_map(|one| one.metadata.name).collect())
        }
        CompletedWord::Container(Some(target)) => containers(&cluster, target, namespace).await,
        CompletedWord::Target => {
            let (kind, path) = match word.split_once('/') {
                None => (None, format!("/api/v1/namespaces/{namespace}/pods")),
                Some((kind, _)) => (Some(kind), path_of(kind, namespace)?),
            };
            let all: Value = cluster.get(&path).await.ok()?;
            let names = all["items"].as_array()?.iter();
            let names = names.filter_map(|item| item["metadata"]["name"].as_str());
            let named = |name| kind.map_or(String::from(name), |kind| format!("{kind}/{name}"));
            Some(names.map(named).collect())
        }
        _ => None,
    }
}

/// Where those of a kind are listed.
fn path_of(kind: &str, namespace: &str) -> Option<String> {
    match format!("{kind}/any").parse().ok()? {
        Target::Pod(_) => Some(format!("/api/v1/namespaces/{namespace}/pods")),
        Target::Node(_) => Some("/api/v1/nodes".to_owned()),
        Target::Workload { kind, .. } => Some(kind.path(namespace)),
        Target::Container(_) => None,
    }
}

async fn containers(cluster: &Cluster, target: &Target, namespace: &str) -> Option<Vec<String>> {
    let place = match target.clone() {
        Target::Pod(name) => ClusterTarget::Pod(name),
        Target::Workload { kind, name } => ClusterTarget::Workload { kind, name },
        Target::Node(_) | Target::Container(_) => return None,
    };
    let wire::ApiTarget::Pod { namespace, name } = cluster.resolve(&place, namespace).await.ok()?
    else {
        return None;
    };
    let pod: Pod =
        cluster.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).await.ok()?;
    let spec = pod.spec?;
    let plain = spec.containers.into_iter().map(|one| one.name);
    let init = spec.init_containers.into_iter().flatten().map(|one| one.name);
    let ephemeral = spec.ephemeral_containers.into_iter().flatten().map(|one| one.name);
    Some(plain.chain(init).chain(ephemeral).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn understood(line: &str) -> CompletedWord {
        let words = words(line);
        let (word, before) = words.split_last().expect("a word");
        understand(before, word).0
    }

    #[test]
    fn it_is_for_a_program_that_is_called_so() {
        let line = |line: &str| words(line).into_iter().map(OsString::from);
        assert_eq!(asked(line("/bin/kubectl_complete-nsdebug pod/ ")), Some(words("pod/ ")));
        assert_eq!(asked(line("kubectl-nsdebug __complete po")), Some(words("po")));
        assert_eq!(asked(line("kubectl-nsdebug pod/x")), None);
        assert_eq!(asked(line("kubectl-nsdebug")), None);
    }

    #[test]
    fn each_word_is_known_by_what_is_before_it() {
        let pod = |name: &str| Some(name.parse().expect("a target"));
        for (line, asked) in [
            ("po", CompletedWord::Target),
            ("-n shop ", CompletedWord::Target),
            ("doctor po", CompletedWord::Target),
            ("-n ", CompletedWord::Namespace),
            ("--namespace sh", CompletedWord::Namespace),
            ("web --pro", CompletedWord::Flag),
            ("web --profile ", CompletedWord::Profile),
            ("--context ", CompletedWord::Configured("contexts")),
            ("web -c ", CompletedWord::Container(pod("web"))),
            ("deploy/web -itc ", CompletedWord::Container(pod("deploy/web"))),
            ("web ", CompletedWord::Target),
            ("doctor web ", CompletedWord::Other),
            ("--kubeconfig ", CompletedWord::Other),
            ("web -- p", CompletedWord::Other),
        ] {
            assert_eq!(understood(line), asked, "{line}");
        }
    }

    #[test]
    fn what_says_which_cluster_is_meant_is_kept() {
        let (flags, _, namespace) =
            settings(&words("--context x -n shop")).expect("a command line");
        assert_eq!(flags.context.as_deref(), Some("x"));
        assert_eq!(namespace.map(|name| name.to_string()).as_deref(), Some("shop"));
        assert!(settings(&words("doctor --context x")).is_some());
    }

    #[test]
    fn kinds_go_on_with_a_slash_and_flags_have_their_help() {
        assert!(is_kind("dep") && is_kind("pod") && !is_kind("web") && !is_kind(""));
        assert!(kinds().any(|kind| kind == "sts/"));
        let flags = flags();
        assert!(flags.iter().any(|flag| flag.starts_with("--profile\tRights of the tool")));
    }
}
