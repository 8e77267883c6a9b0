//! `kubectl nsdebug TARGET -- COMMAND`: from the command line to one session.
//!
//! Deciding what is wanted (pure) is apart from doing it.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::time::Duration;

use wire::{ApiTarget, BadRequest, ExecRequest, Label, SessionTarget, TimeSpan};

use crate::cli::{Arguments, CertificateFlags, Choice, ClusterFlags, SelectionFlags, UsageError};
use crate::connect::{self, Address, ConnectError, Connection, Credentials};
use crate::error::Failure;
use crate::kubernetes::error::ClusterError;
use crate::kubernetes::{Cluster, ClusterTarget, PodQuery};
use crate::many;
use crate::many::session::Deadline;
use crate::outcome::Outcome;
use crate::output;
use crate::runtime;
use crate::session::{self, Wiring};
use crate::target::Target;

/// What is started where no command is given; every root that a session can have holds it.
const SHELL: &str = "sh";

/// Where an agent looks for a pod that is named without one.
const NAMESPACE: &str = "default";

/// As many bytes as the agent takes for `TERM`.
const LONGEST_TERM: usize = 76;

/// Which of our standard streams are terminals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminals {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Terminals {
    pub(super) fn look() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        }
    }
}

/// What a session is decided for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Session,
    DryRun,
}

/// A session, decided.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) way: Way,
    pub(super) words: Words,
}

/// What a session is, wherever it is.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) query: String,
    pub(super) wiring: Wiring,
    pub(super) limit: Option<Duration>,
    pub(super) quiet: bool,
}

/// How the session is reached; from there on they are all alike.
#[derive(Debug)]
pub(super) enum Way {
    Agent { address: Address, credentials: Credentials, target: SessionTarget },
    Cluster(Box<InCluster>),
}

#[derive(Debug)]
pub(super) struct InCluster {
    pub(super) place: ClusterTarget,
    pub(super) namespace: Option<Label>,
    pub(super) flags: ClusterFlags,
    pub(super) certificates: CertificateFlags,
}

pub(crate) fn run(arguments: Arguments) -> Result<Outcome, Failure> {
    let term = std::env::var("TERM").ok();
    let (wanted, warning) = decide(arguments, Terminals::look(), term, Purpose::Session)?;
    warn(warning, &wanted.words);
    runtime::run(stream(wanted))
}

/// The session of `arguments` in a pod that was found already.
pub(super) async fn in_pod(
    cluster: &Cluster,
    target: &ApiTarget,
    arguments: &Arguments,
) -> Result<Outcome, Failure> {
    let term = std::env::var("TERM").ok();
    let (words, warning) = words(arguments, Terminals::look(), term, Purpose::Session)?;
    warn(warning, &words);
    let deadline = many::session::deadline(words.limit);
    using(target, words.quiet);
    let connection = many::session::open(cluster, target, &words.query, deadline).await?;
    begin(connection, &words, deadline).await
}

fn warn(warning: Option<&str>, words: &Words) {
    if let Some(warning) = warning.filter(|_| !words.quiet) {
        output::warning(warning);
    }
}

/// Says which of many pods was taken, before anything can be refused: it may be about this pod only.
fn using(target: &ApiTarget, quiet: bool) {
    if let ApiTarget::Pod { name, .. } = target
        && !quiet
    {
        output::plain(&format!("using pod/{name}"));
    }
}

/// The same session, to be judged and not begun. Which terminals there are now says nothing of it.
pub(super) fn judged(arguments: Arguments) -> Result<Wanted, UsageError> {
    let terminals = Terminals { stdin: true, stdout: true, stderr: true };
    decide(arguments, terminals, None, Purpose::DryRun).map(|(wanted, _)| wanted)
}

async fn stream(wanted: Wanted) -> Result<Outcome, Failure> {
    let Wanted { way, words } = wanted;
    let deadline = many::session::deadline(words.limit);
    let connection = connect(way, &words.query, words.quiet, deadline).await?;
    begin(connection, &words, deadline).await
}

async fn begin(
    connection: Connection,
    words: &Words,
    deadline: Deadline,
) -> Result<Outcome, Failure> {
    if !words.quiet {
        tell(&connection);
    }
    Ok(session::run(connection, words.wiring, deadline).await?)
}

async fn connect(
    way: Way,
    query: &str,
    quiet: bool,
    deadline: Deadline,
) -> Result<Connection, Failure> {
    match way {
        Way::Agent { address, credentials, target } => {
            let path_and_query = format!("{}?{query}", target.path());
            let connecting = connect::connect(&address, &credentials, &path_and_query);
            let late = |limit| ConnectError::TimedOut { address: address.clone(), limit }.into();
            before(deadline, connecting, late).await
        }
        Way::Cluster(wanted) => {
            let late = |limit| ClusterError::TimedOut { limit }.into();
            before(deadline, wanted.connect(query, quiet), late).await
        }
    }
}

/// `connecting`, or `late` when the time of the whole session is over before it began.
async fn before<E: Into<Failure>>(
    deadline: Deadline,
    connecting: impl Future<Output = Result<Connection, E>>,
    late: impl Fn(Duration) -> Failure,
) -> Result<Connection, Failure> {
    match deadline {
        None => connecting.await.map_err(E::into),
        Some((at, limit)) => {
            let connected = tokio::time::timeout_at(at, connecting).await;
            connected.map_err(|_| late(limit))?.map_err(E::into)
        }
    }
}

impl InCluster {
    async fn connect(&self, query: &str, quiet: bool) -> Result<Connection, ClusterError> {
        let cluster = Cluster::open(&self.flags, &self.certificates).await?;
        let namespace = self.namespace.as_ref().map_or(cluster.default_namespace(), Label::as_str);
        let target = cluster.resolve(&self.place, namespace).await?;
        if self.place.has_pods() {
            using(&target, quiet);
        }
        cluster.session(&target, query).await
    }
}

/// What the person should know before the tool says something.
fn tell(connection: &Connection) {
    if let Some((container, all)) =
        connection.defaulted.as_ref().and_then(|defaulted| defaulted.split_once("; "))
    {
        output::plain(&format!("Defaulted container \"{container}\" out of: {all}"));
    }
    if let Some(note) = &connection.note {
        output::note(note);
    }
}

/// The query of `request`, once the agent's own judgement found nothing wrong with it.
fn query(request: &ExecRequest) -> Result<String, BadRequest> {
    let query = request.to_query()?;
    ExecRequest::from_query(&query)?;
    Ok(query)
}

/// What `arguments` ask for, and what the person should know about it.
fn decide(
    arguments: Arguments,
    terminals: Terminals,
    term: Option<String>,
    purpose: Purpose,
) -> Result<(Wanted, Option<&'static str>), UsageError> {
    let (words, warning) = words(&arguments, terminals, term, purpose)?;
    Ok((Wanted { way: way(arguments)?, words }, warning))
}

/// What the session of `arguments` is, and what the person should know about it.
pub(super) fn words(
    arguments: &Arguments,
    terminals: Terminals,
    term: Option<String>,
    purpose: Purpose,
) -> Result<(Words, Option<&'static str>), UsageError> {
    let asked = Wiring { stdin: arguments.stdin, tty: arguments.tty };
    let (wiring, warning) = wire_up(asked, arguments.command.is_empty(), terminals)?;
    Ok((words_of(arguments, wiring, term, purpose)?, warning))
}

/// What the session of `arguments` is with these streams.
pub(super) fn words_of(
    arguments: &Arguments,
    wiring: Wiring,
    term: Option<String>,
    purpose: Purpose,
) -> Result<Words, UsageError> {
    let Arguments { choice, timeout, quiet, namespaces, container, .. } = arguments;
    let Choice { profile, run_as, write, reason } = choice;
    let request = ExecRequest {
        container: container.clone(),
        command: match arguments.command.as_slice() {
            [] => vec![SHELL.into()],
            command => as_bytes(command)?,
        },
        stdin: wiring.stdin,
        stdout: true,
        stderr: !wiring.tty, // a terminal has one output
        tty: wiring.tty,
        namespaces: namespaces.clone(),
        containerd_namespace: arguments.direct.containerd_namespace.clone(),
        term: term.filter(|term| wiring.tty && is_term(term)),
        profile: *profile,
        run_as: run_as.clone(),
        write: *write,
        reason: reason.clone(),
        dry_run: purpose == Purpose::DryRun,
    };
    let (query, limit, quiet) = (
        query(&request)?,
        timeout.map(TimeSpan::duration).filter(|limit| !limit.is_zero()),
        *quiet,
    );
    Ok(Words { query, wiring, limit, quiet })
}

/// Where `arguments` lead: to one agent if one is named, else into a cluster.
fn way(arguments: Arguments) -> Result<Way, UsageError> {
    let Arguments {
        targets,
        selection,
        many,
        container,
        namespace,
        cluster: flags,
        certificates,
        direct,
        ..
    } = arguments;
    let Some(address) = direct.agent else {
        if direct.containerd_namespace.is_some() {
            return Err(UsageError::ContainerdNamespace);
        }
        let place = place(targets.into_iter().next(), selection)?;
        if container.is_some() && matches!(place, ClusterTarget::Node(_)) {
            return Err(UsageError::ContainerOfNoPod);
        }
        return Ok(Way::Cluster(Box::new(InCluster { place, namespace, flags, certificates })));
    };
    if let Some(flag) = flags.given().or(selection.given()).or(many.given()) {
        return Err(UsageError::TwoWays { flag });
    }
    let mut targets = targets.into_iter();
    let target = targets.next().ok_or(UsageError::NoTarget)?;
    if targets.next().is_some() {
        return Err(UsageError::ManyOfAgent);
    }
    if container.is_some() && matches!(target, Target::Container(_)) {
        return Err(UsageError::ContainerOfNoPod);
    }
    let target = of_agent(target, namespace)?;
    let credentials = credentials(&address, certificates)?;
    Ok(Way::Agent { address, credentials, target })
}

/// How the agent at `address` is known, and how it knows us.
pub(super) fn credentials(
    address: &Address,
    certificates: CertificateFlags,
) -> Result<Credentials, UsageError> {
    if matches!(address, Address::Https { .. }) && certificates.certificate_authority.is_none() {
        return Err(UsageError::NoAuthority);
    }
    Ok(Credentials {
        authority: certificates.certificate_authority,
        client: certificates.client_certificate.zip(certificates.client_key),
        server_name: certificates.tls_server_name,
    })
}

/// Where in a cluster a session is to be.
fn place(target: Option<Target>, selection: SelectionFlags) -> Result<ClusterTarget, UsageError> {
    let selects = selection.selects();
    match target {
        _ if selects => {
            let (labels, fields) = (selection.selector, selection.field_selector);
            Ok(ClusterTarget::Selected(PodQuery { labels, fields }))
        }
        None => Err(UsageError::NoTarget),
        Some(Target::Pod(name)) => Ok(ClusterTarget::Pod(name)),
        Some(Target::Node(name)) => Ok(ClusterTarget::Node(name)),
        Some(Target::Workload { kind, name }) => Ok(ClusterTarget::Workload { kind, name }),
        Some(target @ Target::Container(_)) => {
            Err(UsageError::NotOfCluster { target: target.to_string() })
        }
    }
}

pub(super) fn of_agent(
    target: Target,
    namespace: Option<Label>,
) -> Result<SessionTarget, UsageError> {
    match target {
        Target::Container(id) => Ok(SessionTarget::Container(id)),
        Target::Pod(name) => {
            let namespace = match namespace {
                Some(namespace) => namespace,
                None => NAMESPACE.parse().map_err(BadRequest::Container)?,
            };
            Ok(SessionTarget::Pod { namespace, name })
        }
        Target::Node(_) => Err(UsageError::NotOfAgent { kind: "node" }),
        Target::Workload { kind, .. } => Err(UsageError::NotOfAgent { kind: kind.names()[0] }),
    }
}

/// What the tool's terminal does to output that goes to a file or a program.
const LINES_CHANGE: &str = "-t is given, but stdout is not a terminal; the tool's terminal ends each line with \\r\\n \
                            and merges stderr into stdout; without -t, stdout has the tool's own bytes";

/// How the streams go: a shell takes the terminal there is, `-t` needs one on stdin.
fn wire_up(
    asked: Wiring,
    is_shell: bool,
    terminals: Terminals,
) -> Result<(Wiring, Option<&'static str>), UsageError> {
    let all = terminals.stdin && terminals.stdout && terminals.stderr;
    match asked {
        Wiring { tty: true, .. } if terminals.stdin => {
            let warning = (!terminals.stdout).then_some(LINES_CHANGE);
            Ok((Wiring { stdin: true, tty: true }, warning))
        }
        Wiring { tty: true, stdin } => {
            let warning = "-t is given, but stdin is not a terminal; going on without one";
            Ok((Wiring { stdin, tty: false }, Some(warning)))
        }
        Wiring { .. } if is_shell && all => Ok((Wiring { stdin: true, tty: true }, None)),
        Wiring { stdin: false, .. } if is_shell => Err(UsageError::NoTerminalForShell),
        asked => Ok((asked, None)),
    }
}

/// A `TERM` that the agent takes; any other is left out, for it names no known terminal.
fn is_term(term: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
    !term.is_empty() && term.len() <= LONGEST_TERM && term.bytes().all(allowed)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere arguments are not bytes")]
fn as_bytes(command: &[OsString]) -> Result<Vec<Vec<u8>>, UsageError> {
    use std::os::unix::ffi::OsStrExt;
    Ok(command.iter().map(|argument| argument.as_bytes().to_vec()).collect())
}

#[cfg(not(unix))]
fn as_bytes(command: &[OsString]) -> Result<Vec<Vec<u8>>, UsageError> {
    let bytes = |(index, argument): (usize, &OsString)| match argument.to_str() {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(UsageError::NotUnicode { index }),
    };
    command.iter().enumerate().map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const ALL: Terminals = Terminals { stdin: true, stdout: true, stderr: true };
    const NONE: Terminals = Terminals { stdin: false, stdout: false, stderr: false };

    fn decided(words: &[&str], terminals: Terminals) -> Result<Wanted, UsageError> {
        let line = ["kubectl-nsdebug", "--agent", "unix:/a"].iter().chain(words);
        let arguments = Arguments::try_parse_from(line).expect("a command line");
        decide(arguments, terminals, Some("xterm".to_owned()), Purpose::Session)
            .map(|(wanted, _)| wanted)
    }

    #[test]
    fn a_shell_takes_the_terminal_that_is_there() {
        let wanted = decided(&["web"], ALL).expect("a session");
        assert_eq!(wanted.words.query, "command=sh&stdin=true&stdout=true&tty=true&term=xterm");
        let Way::Agent { target, .. } = wanted.way else { panic!("{:?}", wanted.way) };
        assert_eq!(target.path(), "/v1/namespaces/default/pods/web/exec");
    }

    #[test]
    fn a_shell_without_a_terminal_or_stdin_is_refused() {
        let half = Terminals { stdout: false, ..ALL };
        for terminals in [NONE, half] {
            assert!(matches!(decided(&["web"], terminals), Err(UsageError::NoTerminalForShell)));
            assert!(decided(&["-i", "web"], terminals).is_ok());
        }
    }

    #[test]
    fn a_command_gets_only_the_streams_that_are_asked_for() {
        let wanted = decided(&["web", "--", "ps", "-ef"], ALL).expect("a session");
        assert_eq!(wanted.words.wiring, Wiring { stdin: false, tty: false });
        assert!(wanted.words.query.ends_with("command=ps&command=-ef&stdout=true&stderr=true"));
    }

    #[test]
    fn a_terminal_that_is_asked_for_and_missing_is_done_without() {
        let asked = Wiring { stdin: true, tty: true };
        let (wiring, warning) = wire_up(asked, false, NONE).expect("a wiring");
        assert_eq!(wiring, Wiring { stdin: true, tty: false });
        assert!(warning.is_some_and(|w| w.contains("not a terminal; going on without one")));
    }

    #[test]
    fn a_terminal_whose_output_goes_elsewhere_is_warned_of() {
        let asked = Wiring { stdin: false, tty: true };
        let to_file = Terminals { stdout: false, ..ALL };
        let (wiring, warning) = wire_up(asked, false, to_file).expect("a wiring");
        assert_eq!(wiring, Wiring { stdin: true, tty: true });
        assert!(warning.is_some_and(|w| w.contains(r"ends each line with \r\n")), "{warning:?}");
        assert_eq!(wire_up(asked, false, ALL).expect("a wiring").1, None);
        let without = Wiring { stdin: false, tty: false };
        assert_eq!(wire_up(without, false, to_file).expect("a wiring").1, None);
    }

    #[test]
    fn a_container_of_a_container_is_refused() {
        let words = ["container/0123abcd", "-c", "app", "--", "ps"];
        assert!(matches!(decided(&words, NONE), Err(UsageError::ContainerOfNoPod)));
    }

    #[test]
    fn what_the_agent_would_refuse_is_refused_here() {
        for words in [&["web", "--namespaces", "pid net", "--", "ps"][..], &["web", "--", ""]] {
            assert!(matches!(decided(words, NONE), Err(UsageError::Request(_))), "{words:?}");
        }
    }

    #[test]
    fn an_agent_behind_https_needs_an_authority() {
        let words = ["--agent", "https://node:7777", "web", "--", "ps"];
        let line = ["kubectl-nsdebug"].iter().chain(&words);
        let arguments = Arguments::try_parse_from(line).expect("a command line");
        let error = decide(arguments, NONE, None, Purpose::Session).expect_err("no authority");
        assert!(matches!(error, UsageError::NoAuthority));
    }

    #[test]
    fn only_a_term_that_the_agent_takes_is_sent() {
        assert!(is_term("xterm-256color"));
        for term in ["", "a b", "x\u{1b}[2J", &"x".repeat(77)] {
            assert!(!is_term(term), "{term:?}");
        }
    }
}
