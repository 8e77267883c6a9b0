//! Credentials that a program makes (`users[].user.exec`): run once, and what it prints is used.
//!
//! The `kube` crate would run it for the token, again for the certificate and again for the expiry.

use std::io::{self, IsTerminal};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tracing::debug;

const KIND: &str = "ExecCredential";

#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("the kubeconfig names no command to get credentials from")]
    NoCommand,
    #[error(
        "the credential program `{command}` needs to ask for input, and stdin is not a terminal"
    )]
    NoTerminal { command: String },
    #[error("getting credentials: exec: executable {command} not found")]
    NotFound { command: String, install: Option<String> },
    #[error("getting credentials: cannot run {command}")]
    Run {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("getting credentials: executable {command} failed with {status}")]
    Failed { command: String, status: ExitStatus },
    #[error("getting credentials: {command} did not print an ExecCredential")]
    Output {
        command: String,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    #[error("getting credentials: {command} printed an ExecCredential of {given}, not of {wanted}")]
    Version { command: String, given: String, wanted: String },
    #[error(
        "getting credentials: {command} printed neither a token nor a certificate with its key"
    )]
    Empty { command: String },
}

impl CredentialError {
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { install, .. } => install.clone(),
            _ => None,
        }
    }
}

/// What the program is told, in `KUBERNETES_EXEC_INFO`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecInfo<'a> {
    kind: &'static str,
    api_version: &'a str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    interactive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ExecAuthCluster>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    status: Option<Made>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Replaces the program in `user` by what it prints.
pub(super) fn run(user: &mut AuthInfo) -> Result<(), CredentialError> {
    // Other credentials win, as they do in client-go.
    let given = user.token.is_some() || user.token_file.is_some() || user.username.is_some();
    let Some(exec) = user.exec.take().filter(|_| !given) else { return Ok(()) };
    let made = ask(&exec, io::stdin().is_terminal())?;
    let empty = || CredentialError::Empty { command: exec.command.clone().unwrap_or_default() };
    let certificate = made.client_certificate_data.zip(made.client_key_data);
    if made.token.is_none() && certificate.is_none() {
        return Err(empty());
    }
    user.token = made.token.map(SecretString::from);
    if let Some((certificate, key)) = certificate {
        user.client_certificate_data = Some(STANDARD.encode(certificate));
        user.client_key_data = Some(SecretString::from(STANDARD.encode(key)));
    }
    Ok(())
}

fn ask(exec: &ExecConfig, terminal: bool) -> Result<Made, CredentialError> {
    let program = exec.command.clone().ok_or(CredentialError::NoCommand)?;
    let interactive = match exec.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) if !terminal => {
            return Err(CredentialError::NoTerminal { command: program });
        }
        _ => terminal,
    };
    let began = Instant::now();
    let output = command(exec, &program, interactive).output().map_err(|source| {
        let command = program.clone();
        match source.kind() {
            io::ErrorKind::NotFound => {
                CredentialError::NotFound { command, install: exec.install_hint.clone() }
            }
            _ => CredentialError::Run { command, source },
        }
    })?;
    debug!(%program, ended = %output.status, took = ?began.elapsed(), "asked for credentials");
    if !output.status.success() {
        return Err(CredentialError::Failed { command: program, status: output.status });
    }
    // JSON is YAML, and some programs print YAML.
    let printed: Printed = serde_saphyr::from_slice(&output.stdout).map_err(|source| {
        CredentialError::Output { command: program.clone(), source: Box::new(source) }
    })?;
    let wanted = exec.api_version.clone().unwrap_or_default();
    if printed.api_version != wanted {
        let given = printed.api_version;
        return Err(CredentialError::Version { command: program, given, wanted });
    }
    Ok(printed.status.unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "the program of a kubeconfig, as kubectl starts it")]
fn command(exec: &ExecConfig, program: &str, interactive: bool) -> Command {
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let cluster = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info);
    let api_version = exec.api_version.as_deref().unwrap_or_default();
    let asked = ExecInfo { kind: KIND, api_version, spec: Spec { interactive, cluster } };
    // Texts and truth values always serialise.
    command.env("KUBERNETES_EXEC_INFO", serde_json::to_string(&asked).unwrap_or_default());
    // Its own words are for the person; our stdin is the tool's, unless a user sits there.
    let stdin = if interactive { Stdio::inherit() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

#[cfg(all(test, unix))]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn user(script: &str, mode: Option<ExecInteractiveMode>) -> AuthInfo {
        let exec = ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".to_owned()),
            command: Some("/bin/sh".to_owned()),
            args: Some(vec!["-c".to_owned(), script.to_owned()]),
            interactive_mode: mode,
            ..ExecConfig::default()
        };
        AuthInfo { exec: Some(exec), ..AuthInfo::default() }
    }

    fn printing(status: &str) -> String {
        format!(
            "echo '{{apiVersion: client.authentication.k8s.io/v1, kind: ExecCredential, status: {status}}}'"
        )
    }

    #[test]
    fn a_token_or_a_certificate_takes_the_program_s_place() {
        let mut made = user(&printing("{token: secret}"), None);
        run(&mut made).expect("a token");
        assert!(made.exec.is_none());
        assert_eq!(made.token.expect("a token").expose_secret(), "secret");
        let mut made = user(&printing("{clientCertificateData: cert, clientKeyData: key}"), None);
        run(&mut made).expect("a certificate");
        assert_eq!(made.client_certificate_data.as_deref(), Some("Y2VydA=="));
        assert_eq!(made.client_key_data.expect("a key").expose_secret(), "a2V5");
    }

    #[test]
    fn it_is_told_what_it_is_asked_for() {
        let script = "printf '%s' \"$KUBERNETES_EXEC_INFO\" | grep -q '\"interactive\":false' && ";
        let never = Some(ExecInteractiveMode::Never);
        let mut made = user(&format!("{script} {}", printing("{token: t}")), never);
        run(&mut made).expect("it was told");
    }

    #[test]
    fn it_is_not_run_where_there_are_other_credentials() {
        let mut made = user("exit 1", None);
        made.token = Some(SecretString::from("given"));
        run(&mut made).expect("nothing to run");
        assert_eq!(made.token.expect("a token").expose_secret(), "given");
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let error = |mut user: AuthInfo| run(&mut user).expect_err("an error").to_string();
        assert!(error(user("exit 3", None)).contains("/bin/sh failed with exit status: 3"));
        assert!(error(user("echo nonsense", None)).contains("did not print"));
        assert!(error(user(&printing("{}"), None)).contains("neither a token nor"));
        let other = printing("{token: t}").replace("k8s.io/v1", "k8s.io/v1beta1");
        assert!(error(user(&other, None)).contains("k8s.io/v1beta1, not of"));
        let mut missing = user("", None);
        let exec = missing.exec.as_mut().expect("a program");
        exec.command = Some("nsdebug-no-such-program".to_owned());
        exec.install_hint = Some("install it".to_owned());
        let missing = run(&mut missing).expect_err("no such program");
        assert!(missing.to_string().contains("executable nsdebug-no-such-program not found"));
        assert_eq!(missing.hint().as_deref(), Some("install it"));
        let always =
            ask(&user("", Some(ExecInteractiveMode::Always)).exec.expect("a program"), false);
        assert!(matches!(always, Err(CredentialError::NoTerminal { .. })));
    }
}
