//! `-v`: what is asked, of which host and how long that took, and nothing that is secret.

use std::fs;

use wire::Exit;

use crate::api::{Answer, ApiServer};
use crate::scripted::{Agent, Left};

const API: &str = "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec";
/// Stands for whatever nobody else may read.
const SECRET: &str = "c2VjcmV0";

/// A session whose tool is given a secret as well.
fn run(server: &ApiServer, words: &[&str]) -> Left {
    server.answer(API, Answer::Session(7));
    server.run(&[words, &["api", "--", "curl", "-H", SECRET]].concat())
}

#[test]
fn what_is_asked_of_which_host_is_said_with_its_time() {
    let server = ApiServer::start();
    let left = run(&server, &["-v"]);
    assert_eq!(left.code, 7, "{}", left.stderr);
    let asked = left.stderr.lines().find(|line| line.contains(API)).expect("a line");
    for part in ["GET", &format!("host={}", server.address), "code=101", "took="] {
        assert!(asked.contains(part), "no {part} in {asked}");
    }
    assert!(!run(&server, &[]).stderr.contains("took="));
}

#[test]
fn an_agent_s_session_is_told_in_its_steps() {
    let agent = Agent::new(|mut session| async move {
        session.end(Exit::Code(0), b"", b"").await;
    });
    let left = agent.run(&["-v", "web", "--", "cat", SECRET]);
    assert_eq!(left.code, 0, "{}", left.stderr);
    for part in ["connected address=unix:", "asked path=/v1/namespaces/default/pods/web/exec"] {
        assert!(left.stderr.contains(part), "no {part} in {}", left.stderr);
    }
    assert!(!left.stderr.contains(SECRET), "{}", left.stderr);
}

#[test]
fn no_token_key_or_argument_is_said() {
    let login = format!(
        "exec: {{command: ./login, args: [{SECRET}], env: [{{name: X, value: {SECRET}}}], \
         apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}}"
    );
    let users = [
        (format!("token: {SECRET}"), "Bearer c2VjcmV0"),
        (format!("username: me, password: {SECRET}"), "Basic bWU6YzJWamNtVjA="),
        (login, "Bearer c2VjcmV0"),
    ];
    for (user, header) in users {
        let server = ApiServer::start();
        write_login(&server);
        server.write_kubeconfig(&user);
        let left = run(&server, &["-v"]);
        assert_eq!(server.asked()[0].headers["authorization"], header, "{}", left.stderr);
        assert!(left.stderr.contains("took="), "{}", left.stderr);
        for secret in [SECRET, header] {
            assert!(!left.stderr.contains(secret), "{user}: {}", left.stderr);
        }
    }
}

#[test]
fn of_a_proxy_only_host_and_port_are_said() {
    let server = ApiServer::start();
    let text = fs::read_to_string(server.kubeconfig()).expect("a kubeconfig");
    let proxied = format!("proxy-url: 'http://me:{SECRET}@{}', server:", server.address);
    fs::write(server.kubeconfig(), text.replace("server:", &proxied)).expect("a kubeconfig");
    let said = run(&server, &["-v", "--token", SECRET]).stderr;
    assert!(said.contains(&format!("proxy={}", server.address)), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

/// A credential program beside the kubeconfig.
fn write_login(server: &ApiServer) {
    let program = server.directory.path().join("login");
    let script = format!(
        "#!/bin/sh\n\
         echo '{{apiVersion: client.authentication.k8s.io/v1, status: {{token: {SECRET}}}}}'\n"
    );
    fs::write(&program, script).expect("a script");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, permissions).expect("a mode");
}
