//! A right that is taken away ends what it was for.

use harness::{Person, Right, Running, until};

use crate::stage::{SOON, installed, rights};

/// A session that says `ready`, and goes on until it is ended.
fn lasting(person: &Person, pod: &str) -> Running {
    let words = ["-n", "shop", pod, "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let session = Running::start(&mut person.command(&words));
    session.wait_for_stdout("ready\n");
    session
}

#[test]
fn a_right_that_is_taken_away_ends_the_sessions_that_took_it() {
    let Some(cluster) = installed(&["gateway.reviewSeconds=1"]) else { return };
    let (stays, goes) = (Person::new(&cluster, "stays"), Person::new(&cluster, "goes"));
    for person in [&stays, &goes] {
        let pods = Right::new(Some("shop"), "", "pods", "get,list");
        let services = Right::new(Some("shop"), "", "services", "get");
        person.grant("shop", rights("shop").iter().chain([&pods, &services]));
        until("a session", SOON, || {
            person.nsdebug(&["-n", "shop", "pod/api", "--", "true"]).status.success()
        });
    }
    // Of two users, neither is let into a pod where the other one's tools are.
    let (kept, ended) = (lasting(&stays, "svc/web"), lasting(&goes, "pod/api"));
    goes.revoke("shop");
    until("the session to end", SOON, || ended.has_ended());
    let ended = ended.finish().expect_code(125);
    let said = "ended by the gateway: right revoked: ";
    assert!(ended.err().contains(said), "{ended}");
    let logs = ["logs", "-n", "nsdebug", "-l", "app.kubernetes.io/component=gateway", "--tail=-1"];
    let user = format!("\"user\":\"{}\"", goes.name());
    let of_goes = |line: &&str| line.contains("\"event\":\"end\"") && line.contains(&user);
    until("its end to be written down", SOON, || {
        let logs = cluster.kubectl(&logs).expect_success().out();
        logs.lines().filter(of_goes).any(|line| line.contains("\"outcome\":\"Revoked\""))
    });
    assert!(!kept.has_ended(), "nothing of this person was taken away: {}", kept.stderr());
}
