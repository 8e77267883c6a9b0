//! `sessions` and `kill`: what an agent of this node is running, and the end of one of it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use daemon::{OWN_FAILURE, failed};
use hyper::{Method, StatusCode};
use wire::SessionInfo;

use super::ask::{AskError, ask};
use crate::config::{BadAddress, ListenAddress};

/// Which agent.
#[derive(Clone, Debug, clap::Args)]
struct AgentArgs {
    /// The agent's socket, as given to `serve --listen`
    #[arg(
        long,
        env = "NSDEBUG_AGENT",
        value_name = "unix:PATH",
        default_value = "unix:/run/nsdebug/agent.sock",
        value_parser = socket
    )]
    agent: PathBuf,
}

/// List the sessions that an agent on this node serves.
#[derive(Clone, Debug, clap::Args)]
pub struct SessionsArgs {
    #[command(flatten)]
    agent: AgentArgs,

    /// Output format
    #[arg(short = 'o', long, env = "NSDEBUG_OUTPUT", value_enum, default_value = "table")]
    output: OutputFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Table,
    Json,
}

/// End a session.
#[derive(Clone, Debug, clap::Args)]
pub struct KillArgs {
    #[command(flatten)]
    agent: AgentArgs,

    /// The session's ID, or a unique beginning of it
    #[arg(value_name = "ID", value_parser = id)]
    id: String,
}

/// Only what an ID can be becomes part of a path.
fn id(text: &str) -> Result<String, &'static str> {
    let hexadecimal = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !text.is_empty() && hexadecimal {
        Ok(text.to_owned())
    } else {
        Err("the ID of a session is made of 0-9 and a-f, as `nsdebug-agent sessions` shows it")
    }
}

fn socket(text: &str) -> Result<PathBuf, BadAddress> {
    match text.strip_prefix("unix:").map(|_| text.parse()) {
        Some(Ok(ListenAddress::Unix(path))) => Ok(path),
        Some(Err(error)) => Err(error),
        _ => Err(BadAddress::RelativePath),
    }
}

#[must_use]
pub fn list(args: &SessionsArgs) -> ExitCode {
    let SessionsArgs { agent: AgentArgs { agent }, output } = args;
    match ask::<Vec<SessionInfo>>(agent, Method::GET, SessionInfo::LIST_ROUTE) {
        Ok((_, sessions)) => {
            let text = match output {
                OutputFormat::Table => table(&sessions),
                OutputFormat::Json => json(&sessions),
            };
            // Nothing to do where stdout is closed.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => unanswered(&error),
    }
}

#[must_use]
pub fn kill(args: &KillArgs) -> ExitCode {
    let KillArgs { agent: AgentArgs { agent }, id } = args;
    match ask::<SessionInfo>(agent, Method::DELETE, &SessionInfo::path(id)) {
        Ok((code, session)) => {
            let how = if code == StatusCode::ACCEPTED { "is ending" } else { "ended" };
            let _ = writeln!(io::stdout(), "session {} {how}", session.id);
            ExitCode::SUCCESS
        }
        Err(error) => unanswered(&error),
    }
}

fn unanswered(error: &AskError) -> ExitCode {
    let code = failed(&wire::chain(error), OWN_FAILURE);
    if let AskError::Reach { .. } = error {
        daemon::hint("start `nsdebug-agent serve`, or give its socket with --agent");
    }
    code
}

fn json(sessions: &[SessionInfo]) -> String {
    // Strings and numbers always serialise.
    let text = serde_json::to_string_pretty(sessions).unwrap_or_default();
    let mut text = daemon::printable_json(&text);
    text.push('\n');
    text
}

/// Columns as wide as what is in them; the last may be of any length.
fn table(sessions: &[SessionInfo]) -> String {
    let mut rows = vec![["ID", "TARGET", "PROFILE", "CALLER", "AGE", "COMMAND"].map(str::to_owned)];
    rows.extend(sessions.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..5).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   "));
        format!("{}{}\n", cells.collect::<String>(), row[5])
    };
    rows.iter().map(line).collect()
}

fn row(session: &SessionInfo) -> [String; 6] {
    let SessionInfo { id, container, pod, command, caller, profile, seconds, .. } = session;
    let words = command.iter().map(|word| shown(word));
    [
        id.clone(),
        shown(pod.as_ref().unwrap_or(&container.chars().take(12).collect())),
        profile.clone().unwrap_or_else(|| "-".to_owned()),
        shown(caller),
        age(*seconds),
        words.collect::<Vec<_>>().join(" "),
    ]
}

fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// As kubectl shows it: two units at most.
fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(pod: Option<&str>, command: &[&str]) -> SessionInfo {
        SessionInfo {
            id: "00ff".to_owned(),
            container: "0123456789abcdef".to_owned(),
            pod: pod.map(str::to_owned),
            pid: 7,
            command: command.iter().map(|&word| word.to_owned()).collect(),
            caller: "root (process 9)".to_owned(),
            profile: None,
            started: String::new(),
            seconds: 125,
            stdin_bytes: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
        }
    }

    #[test]
    fn the_table_is_aligned_and_obeys_no_escape() {
        let sessions =
            [session(Some("shop/web/app"), &["sh", "-c", "\u{1b}[2J"]), session(None, &["ps"])];
        let text = table(&sessions);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "ID     TARGET         PROFILE   CALLER             AGE    COMMAND",
                "00ff   shop/web/app   -         root (process 9)   2m5s   sh -c \\u{1b}[2J",
                "00ff   0123456789ab   -         root (process 9)   2m5s   ps",
            ]
        );
    }

    #[test]
    fn json_is_as_printable() {
        let text = json(&[session(None, &["a\u{7f}\u{9b}2J\u{202e}b"])]);
        assert!(text.contains(r#""a\u007f\u009b2J\u202eb""#), "{text}");
    }

    #[test]
    fn an_age_has_two_units_at_most() {
        let ages = [5, 119, 125, 7199, 7200, 90_061].map(age);
        assert_eq!(ages, ["5s", "119s", "2m5s", "119m59s", "2h0m", "25h1m"]);
    }

    #[test]
    fn only_a_socket_and_only_an_id_are_taken() {
        assert_eq!(socket("unix:/a.sock").expect("a socket"), PathBuf::from("/a.sock"));
        assert!(socket("127.0.0.1:7443").is_err() && socket("unix:a").is_err());
        assert!(id("00ff").is_ok());
        for bad in ["", "../healthz", "FF", "0 0", "0?x"] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }
}
