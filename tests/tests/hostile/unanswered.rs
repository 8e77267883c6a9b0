//! File systems that answer when their server likes, in the way of a session that starts.

use std::process::Command;
use std::time::Duration;

use harness::{Container, Running, may_skip, run};

use crate::stage::{PROFILES, Stage, bind};

/// What a session on a busy machine takes many times over.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Mounts over `$2` in the mount namespace of process `$1` a file system that never answers, for as long as stdin is
/// open.
const MOUNT: &str = "exec 5<>/dev/fuse
nsenter --target \"$1\" --mount --root=/ --wd=/ mount -c -i -t fuse \\
    -o fd=5,rootmode=40000,user_id=0,group_id=0,allow_other silent \"/proc/$1/root$2\" &&
    echo mounted && cat";

fn silent(container: &Container<'_>, place: &str) -> Running {
    let mut command = Command::new("bash");
    let pid = container.pid().to_string();
    let server = Running::start(command.args(["-c", MOUNT, "server", &pid, place]));
    server.wait_for_stdout("mounted");
    server
}

#[test]
fn a_session_starts_beside_a_file_system_that_never_answers() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let etc = stage.path().join("etc");
    std::fs::create_dir(&etc).expect("a folder in an own folder");
    let spec = stage.spec("silent").option(&["--mount", &bind(&etc, "/etc", "rw")]);
    let site = stage.containerd.run(&spec);
    let server = silent(&site, "/etc");
    for profile in PROFILES {
        let mut command = stage.exec(&site, &["--profile", profile, "--"]);
        let session = Running::start(command.args(["cat", "/etc/resolv.conf", "/etc/hosts"]));
        let said = session.finish_within(START_LIMIT).expect_success();
        assert_eq!(said.out(), "", "{profile}: {said}");
    }
    drop(server);
}

/// What is mounted there cannot be covered, and so is not shown.
#[test]
fn a_token_behind_a_file_system_that_never_answers_refuses_the_session() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let place = "/run/secrets/kubernetes.io/serviceaccount";
    let account = bind(&stage.account(), place, "ro");
    let site = stage.containerd.run(&stage.spec("behind").option(&["--mount", &account]));
    let server = silent(&site, "/run/secrets");
    let mut command = stage.exec(&site, &["--profile", "baseline", "--"]);
    let refused = Running::start(command.arg("true")).finish_within(START_LIMIT).expect_code(125);
    assert!(refused.err().contains(place), "{refused}");
    let mut command = stage.exec(&site, &["--profile", "general", "--"]);
    Running::start(command.arg("true")).finish_within(START_LIMIT).expect_success();
    drop(server);
    run(&mut stage.exec(&site, &["--profile", "baseline", "--", "true"]));
}
