//! The query of a session's request: what to run and how to wire it.
//!
//! The names are those of core `pods/exec`, so that any Kubernetes exec client can ask. Values are
//! bytes: a command line need not be UTF-8.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::dry_run;
use crate::limits;
use crate::name::{BadName, Label};
use crate::profile::{NoSuchProfile, Profile};
use crate::shown::shown;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// One session as its client asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one parameter of the exec protocol")]
pub struct ExecRequest {
    /// Which container of a pod; without it, the pod's first.
    pub container: Option<Label>,
    /// The tool and its arguments; never empty, no element holds a NUL.
    pub command: Vec<Vec<u8>>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
    /// Comma-separated namespace kinds to join; without it, all that the target has of its own.
    pub namespaces: Option<String>,
    /// The containerd namespace to look in; without it, as the agent decides.
    pub containerd_namespace: Option<String>,
    /// `TERM` of a session with a terminal.
    pub term: Option<String>,
    /// The profile to run under; without it, the agent's default.
    pub profile: Option<Profile>,
    /// `UID`, `UID:GID` or `target`; without it, as the profile says.
    pub run_as: Option<String>,
    /// Mount `/target` writable.
    pub write: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Only judge the request: see [`crate::dry_run`].
    pub dry_run: bool,
}

/// Why a query is not a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("unknown parameter `{name}` in the query")]
    Unknown { name: String },
    #[error("parameter `{name}` is given more than once")]
    Repeated { name: &'static str },
    #[error("parameter `{name}` is `{given}`: use true or false")]
    Boolean { name: &'static str, given: String },
    #[error(
        "invalid {}: use 1 to {most} letters, digits and characters of `{also}`",
        as_typed(name)
    )]
    Word { name: &'static str, most: usize, also: String },
    #[error("parameter `{name}` is `{given}`: use `{all}`", name = dry_run::PARAMETER, all = dry_run::ALL)]
    DryRun { given: String },
    #[error(
        "invalid {}: use one line of printable characters, at most {most} bytes",
        as_typed(name)
    )]
    Line { name: &'static str, most: usize },
    #[error("parameter `container`")]
    Container(#[source] BadName),
    #[error(transparent)]
    Profile(#[from] NoSuchProfile),
    #[error("no command is given")]
    NoCommand,
    #[error("argument {index} of the command holds a NUL byte, which no program can be given")]
    Nul { index: usize },
    #[error(
        "the command line is {bytes} bytes when encoded and at most {most} fit a request; pass long input through stdin",
        most = limits::QUERY
    )]
    TooLong { bytes: usize },
}

impl ExecRequest {
    /// The query string, without `?`.
    ///
    /// # Errors
    /// What [`Self::from_query`] would refuse: no command, a NUL in it, or too many bytes.
    pub fn to_query(&self) -> Result<String, BadRequest> {
        check_command(&self.command)?;
        let mut query = String::new();
        let mut push = |name: &str, value: &[u8]| {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            query.extend(percent_encode(value, RESERVED));
        };
        if let Some(container) = &self.container {
            push("container", container.as_str().as_bytes());
        }
        for argument in &self.command {
            push("command", argument);
        }
        let Self { stdin, stdout, stderr, tty, write, .. } = *self;
        for (name, value) in [
            ("stdin", stdin),
            ("stdout", stdout),
            ("stderr", stderr),
            ("tty", tty),
            ("write", write),
        ] {
            if value {
                push(name, b"true");
            }
        }
        let texts = [
            ("namespaces", &self.namespaces),
            ("containerd-namespace", &self.containerd_namespace),
            ("term", &self.term),
            ("run-as", &self.run_as),
            ("reason", &self.reason),
        ];
        let profile = self.profile.map(|profile| ("profile", profile.as_str()));
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        for (name, value) in profile.into_iter().chain(texts) {
            push(name, value.as_bytes());
        }
        check_length(&query)?;
        if self.dry_run {
            query.push_str(dry_run::SUFFIX);
        }
        Ok(query)
    }

    /// Reads a query string, without `?`. `+` is a space, as in every HTML form.
    pub fn from_query(query: &str) -> Result<Self, BadRequest> {
        // A session that just fits can be asked about.
        check_length(query.strip_suffix(dry_run::SUFFIX).unwrap_or(query))?;
        let mut request = Self::default();
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            request.set(&decoded_text(name), &decoded(value), &mut seen)?;
        }
        check_command(&request.command)?;
        Ok(request)
    }

    fn set(
        &mut self,
        name: &str,
        value: &[u8],
        seen: &mut Vec<&'static str>,
    ) -> Result<(), BadRequest> {
        if name == "command" {
            self.command.push(value.to_vec());
            return Ok(());
        }
        let name = SINGLE
            .into_iter()
            .find(|known| *known == name)
            .ok_or_else(|| BadRequest::Unknown { name: shown(name) })?;
        if seen.contains(&name) {
            return Err(BadRequest::Repeated { name });
        }
        seen.push(name);
        match name {
            "container" if value.is_empty() => {} // as kubectl sends "the default one"
            "container" => {
                let label =
                    String::from_utf8_lossy(value).parse().map_err(BadRequest::Container)?;
                self.container = Some(label);
            }
            "stdin" => self.stdin = boolean(name, value)?,
            "stdout" => self.stdout = boolean(name, value)?,
            "stderr" => self.stderr = boolean(name, value)?,
            "tty" => self.tty = boolean(name, value)?,
            "namespaces" => self.namespaces = Some(word(name, value, b",")?),
            "containerd-namespace" => self.containerd_namespace = Some(word(name, value, b"._-")?),
            "term" => self.term = Some(word(name, value, b"._-+")?),
            "profile" => self.profile = Some(String::from_utf8_lossy(value).parse()?),
            "run-as" => self.run_as = Some(word(name, value, b":")?),
            "write" => self.write = boolean(name, value)?,
            dry_run::PARAMETER if value == dry_run::ALL.as_bytes() => self.dry_run = true,
            dry_run::PARAMETER => {
                return Err(BadRequest::DryRun { given: shown(&String::from_utf8_lossy(value)) });
            }
            _ => self.reason = Some(line(name, value)?),
        }
        Ok(())
    }
}

/// A parameter as people give it: by the flag of this name, or by the environment.
fn as_typed(name: &str) -> String {
    if name == "term" { "TERM (parameter `term`)".to_owned() } else { format!("--{name}") }
}

/// Parameters that may be given once; `command` is the only other one.
const SINGLE: [&str; 13] = [
    "container",
    "stdin",
    "stdout",
    "stderr",
    "tty",
    "namespaces",
    "containerd-namespace",
    "term",
    "profile",
    "run-as",
    "write",
    "reason",
    dry_run::PARAMETER,
];

fn check_command(command: &[Vec<u8>]) -> Result<(), BadRequest> {
    if command.first().is_none_or(Vec::is_empty) {
        return Err(BadRequest::NoCommand);
    }
    match command.iter().position(|argument| argument.contains(&0)) {
        Some(index) => Err(BadRequest::Nul { index }),
        None => Ok(()),
    }
}

fn check_length(query: &str) -> Result<(), BadRequest> {
    if query.len() > limits::QUERY {
        return Err(BadRequest::TooLong { bytes: query.len() });
    }
    Ok(())
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

fn decoded_text(text: &str) -> String {
    String::from_utf8_lossy(&decoded(text)).into_owned()
}

/// Go's `strconv.ParseBool`, the spellings that Kubernetes clients use.
fn boolean(name: &'static str, value: &[u8]) -> Result<bool, BadRequest> {
    match value {
        b"1" | b"t" | b"true" | b"True" | b"TRUE" => Ok(true),
        b"" | b"0" | b"f" | b"false" | b"False" | b"FALSE" => Ok(false),
        other => Err(BadRequest::Boolean { name, given: shown(&String::from_utf8_lossy(other)) }),
    }
}

/// A short text of ASCII letters, digits and `also`.
fn word(name: &'static str, value: &[u8], also: &[u8]) -> Result<String, BadRequest> {
    const LONGEST: usize = 76;
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || also.contains(b);
    if value.is_empty() || value.len() > LONGEST || !value.iter().all(allowed) {
        let also = String::from_utf8_lossy(also).into_owned();
        return Err(BadRequest::Word { name, most: LONGEST, also });
    }
    Ok(value.iter().map(|&b| char::from(b)).collect())
}

/// One line of printable text, for people.
fn line(name: &'static str, value: &[u8]) -> Result<String, BadRequest> {
    const LONGEST: usize = 512;
    match std::str::from_utf8(value) {
        Ok(text) if text.len() <= LONGEST && !text.chars().any(char::is_control) => {
            Ok(text.to_owned())
        }
        _ => Err(BadRequest::Line { name, most: LONGEST }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(command: &[&[u8]]) -> ExecRequest {
        ExecRequest {
            command: command.iter().map(|a| a.to_vec()).collect(),
            ..ExecRequest::default()
        }
    }

    #[test]
    fn a_request_survives_its_own_query() {
        let request = ExecRequest {
            container: Some("app".parse().expect("a label")),
            stdin: true,
            stdout: true,
            tty: true,
            namespaces: Some("pid,net".to_owned()),
            containerd_namespace: Some("moby".to_owned()),
            term: Some("xterm-256color".to_owned()),
            profile: Some(Profile::Netadmin),
            run_as: Some("1000:1000".to_owned()),
            write: true,
            reason: Some("INC-42: no route".to_owned()),
            dry_run: true,
            ..asking(&[b"sh", b"-c", b"echo a&b=c+d%20 \xff\xfe\n", b""])
        };
        let query = request.to_query().expect("a query");
        assert_eq!(ExecRequest::from_query(&query), Ok(request));
    }

    #[test]
    fn a_query_of_kubectl_is_understood() {
        let request = ExecRequest::from_query(
            "command=sh&command=-c&command=echo+hi%21&container=&stderr=true&stdin=true&stdout=true&tty=false",
        )
        .expect("a request");
        assert_eq!(request.command, [&b"sh"[..], b"-c", b"echo hi!"]);
        assert!(request.stdin && request.stdout && request.stderr && !request.tty);
        assert_eq!(request.container, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refusal = |query: &str| ExecRequest::from_query(query).expect_err(query).to_string();
        assert!(refusal("command=ps&colour=red").contains("`colour`"));
        assert!(refusal("command=ps&tty=true&tty=false").contains("`tty`"));
        assert!(refusal("command=ps&tty=maybe").contains("`maybe`"));
        assert!(refusal("command=ps&profile=genral").contains("no profile `genral`; profiles are"));
        assert!(refusal("command=ps&term=%1b%5b2J").contains("`term`"));
        for bad in ["", "all", "true"] {
            assert!(refusal(&format!("command=ps&dryRun={bad}")).contains("use `All`"));
        }
        assert!(refusal("command=ps&reason=a%0Ab").contains("--reason"));
        assert!(refusal("command=ps&command=a%00b").contains("argument 1"));
        assert!(refusal("tty=true").contains("no command"));
        assert!(refusal("command=").contains("no command"));
    }

    #[test]
    fn a_command_line_too_long_for_a_request_is_refused_by_both_sides() {
        let long = asking(&[b"echo", &vec![b'a'; limits::QUERY]]);
        assert!(matches!(long.to_query(), Err(BadRequest::TooLong { .. })));
        let fits = asking(&[&vec![b'a'; limits::QUERY - "command=".len()]]);
        for request in [fits.clone(), ExecRequest { dry_run: true, ..fits }] {
            let query = request.to_query().expect("it just fits");
            assert_eq!(ExecRequest::from_query(&query), Ok(request));
        }
        let query = format!("command={}", "a".repeat(limits::QUERY));
        assert!(matches!(ExecRequest::from_query(&query), Err(BadRequest::TooLong { .. })));
    }
}
