//! `kubectl nsdebug TARGET -- COMMAND`: from the command line to one session.
//!
//! Deciding what is wanted (pure) is apart from doing it.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::time::Instant;
use wire::{BadRequest, ExecRequest};

use crate::cli::{Arguments, Choice};
use crate::connect::{self, Address, ConnectError, Credentials};
use crate::error::Failure;
use crate::outcome::Outcome;
use crate::output;
use crate::session::{self, Wiring};
use crate::target::Target;

/// What is started where no command is given; every root that a session can have holds it.
const SHELL: &str = "sh";

/// As many bytes as the agent takes for `TERM`.
const LONGEST_TERM: usize = 76;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("this version can only talk to one agent directly, and --agent is not given")]
    NoAgent,
    #[error("no COMMAND is given, and a shell needs a terminal on stdin, stdout and stderr")]
    NoTerminalForShell,
    #[error("--container names a container of a pod, but the target is a container already")]
    ContainerOfContainer,
    #[cfg_attr(unix, expect(dead_code, reason = "arguments are bytes here"))]
    #[error("argument {index} of the command is not valid Unicode")]
    NotUnicode { index: usize },
    #[error(transparent)]
    Request(#[from] BadRequest),
    #[error(
        "an agent behind https is trusted by its certificate, and --certificate-authority is not given"
    )]
    NoAuthority,
}

impl UsageError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoAgent => Some(
                "give --agent unix:PATH or --agent https://HOST:PORT, or set NSDEBUG_AGENT; \
                 on a node it is usually unix:/run/nsdebug/agent.sock",
            ),
            Self::NoTerminalForShell => {
                Some("give a command after `--`, or -i to feed a shell from stdin")
            }
            _ => None,
        }
    }
}

/// Which of our standard streams are terminals.
#[derive(Clone, Copy, Debug)]
struct Terminals {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Terminals {
    fn look() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        }
    }
}

/// A session, decided.
#[derive(Debug)]
struct Wanted {
    address: Address,
    credentials: Credentials,
    path_and_query: String,
    wiring: Wiring,
    limit: Option<Duration>,
}

pub(crate) fn run(arguments: Arguments) -> Result<Outcome, Failure> {
    let term = std::env::var("TERM").ok();
    let (wanted, warning) = decide(arguments, Terminals::look(), term)?;
    if let Some(warning) = warning {
        output::warning(warning);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(stream(wanted));
    // A look-up of a name may still be on its way, and nobody waits for it.
    runtime.shutdown_background();
    result
}

async fn stream(wanted: Wanted) -> Result<Outcome, Failure> {
    let Wanted { address, credentials, path_and_query, wiring, limit } = wanted;
    // A limit past the end of the clock is no limit.
    let deadline = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
    let connecting = connect::connect(&address, &credentials, &path_and_query);
    let connection = match deadline {
        None => connecting.await?,
        Some((at, limit)) => tokio::time::timeout_at(at, connecting)
            .await
            .map_err(|_| ConnectError::TimedOut { address: address.clone(), limit })??,
    };
    if let Some(note) = &connection.note {
        output::note(note);
    }
    Ok(session::run(connection, wiring, deadline).await?)
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
) -> Result<(Wanted, Option<&'static str>), UsageError> {
    let Arguments {
        target,
        command,
        agent,
        namespace,
        container,
        stdin,
        tty,
        namespaces,
        containerd_namespace,
        timeout,
        choice,
        certificate_authority,
        client_certificate,
        client_key,
        tls_server_name,
    } = arguments;
    if container.is_some() && matches!(target, Target::Container(_)) {
        return Err(UsageError::ContainerOfContainer);
    }
    let (wiring, warning) = wire_up(Wiring { stdin, tty }, command.is_empty(), terminals)?;
    let Choice { profile, run_as, write, reason } = choice;
    let request = ExecRequest {
        container,
        command: if command.is_empty() { vec![SHELL.into()] } else { as_bytes(command)? },
        stdin: wiring.stdin,
        stdout: true,
        stderr: !wiring.tty, // a terminal has one output
        tty: wiring.tty,
        namespaces,
        containerd_namespace,
        term: term.filter(|term| wiring.tty && is_term(term)),
        profile,
        run_as,
        write,
        reason,
    };
    let query = query(&request)?;
    let address = agent.ok_or(UsageError::NoAgent)?;
    if matches!(address, Address::Https { .. }) && certificate_authority.is_none() {
        return Err(UsageError::NoAuthority);
    }
    let wanted = Wanted {
        address,
        credentials: Credentials {
            authority: certificate_authority,
            client: client_certificate.zip(client_key),
            server_name: tls_server_name,
        },
        path_and_query: format!("{}?{query}", target.in_namespace(namespace).path()),
        wiring,
        limit: timeout.and_then(|limit| limit.0),
    };
    Ok((wanted, warning))
}

/// How the streams go: a shell takes the terminal there is, `-t` needs one on stdin.
fn wire_up(
    asked: Wiring,
    is_shell: bool,
    terminals: Terminals,
) -> Result<(Wiring, Option<&'static str>), UsageError> {
    let all = terminals.stdin && terminals.stdout && terminals.stderr;
    match asked {
        Wiring { tty: true, .. } if terminals.stdin => {
            Ok((Wiring { stdin: true, tty: true }, None))
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
fn as_bytes(command: Vec<OsString>) -> Result<Vec<Vec<u8>>, UsageError> {
    use std::os::unix::ffi::OsStringExt;
    Ok(command.into_iter().map(OsString::into_vec).collect())
}

#[cfg(not(unix))]
fn as_bytes(command: Vec<OsString>) -> Result<Vec<Vec<u8>>, UsageError> {
    let bytes = |(index, argument): (usize, OsString)| match argument.into_string() {
        Ok(text) => Ok(text.into_bytes()),
        Err(_) => Err(UsageError::NotUnicode { index }),
    };
    command.into_iter().enumerate().map(bytes).collect()
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
        decide(arguments, terminals, Some("xterm".to_owned())).map(|(wanted, _)| wanted)
    }

    #[test]
    fn a_shell_takes_the_terminal_that_is_there() {
        let wanted = decided(&["web"], ALL).expect("a session");
        assert_eq!(
            wanted.path_and_query,
            "/v1/namespaces/default/pods/web/exec?command=sh&stdin=true&stdout=true&tty=true&term=xterm"
        );
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
        assert_eq!(wanted.wiring, Wiring { stdin: false, tty: false });
        assert!(wanted.path_and_query.ends_with("?command=ps&command=-ef&stdout=true&stderr=true"));
    }

    #[test]
    fn a_terminal_that_is_asked_for_and_missing_is_done_without() {
        let asked = Wiring { stdin: true, tty: true };
        let (wiring, warning) = wire_up(asked, false, NONE).expect("a wiring");
        assert_eq!(wiring, Wiring { stdin: true, tty: false });
        assert!(warning.is_some_and(|w| w.contains("not a terminal; going on without one")));
    }

    #[test]
    fn a_container_of_a_container_is_refused() {
        let words = ["container/0123abcd", "-c", "app", "--", "ps"];
        assert!(matches!(decided(&words, NONE), Err(UsageError::ContainerOfContainer)));
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
        let error = decide(arguments, NONE, None).expect_err("no authority");
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
