//! The read-through table: each process of the container, against every process that a session has there.

use harness::session_process::SUPERVISOR;
use harness::{Container, IdMap, Running, may_skip};

use crate::stage::{PROFILES, Stage};

/// Sessions in all, under looping attacks.
const SESSIONS: usize = 500;

/// With what every container has. None is who a `baseline` tool is: beside such a process no session of `baseline` begins.
const DEFAULT_CONTAINER: [&str; 2] = ["root", "user"];

/// Of one that is uid 1000, as the tools of most profiles then are: the second has their user and nothing else, the last
/// their user and all that root has there.
const OF_A_PLAIN_ONE: [&str; 3] = ["root", "user", "keep=1000"];

/// Attackers of a container, each of whom has seen who was there before.
struct Attack<'s> {
    stage: &'s Stage,
    running: Running,
}

impl<'s> Attack<'s> {
    fn start(stage: &'s Stage, container: &Container<'_>, identities: &[&str]) -> Self {
        for file in ["go", "stop"] {
            let _ = std::fs::remove_file(stage.folder().join(file));
        }
        let mut words = vec!["/probe/attacker", "/probe"];
        words.extend(identities);
        let running = Running::start(&mut stage.inside(container, &words));
        for identity in identities {
            running.wait_for_stdout(&format!("ready {identity}"));
        }
        stage.signal("go");
        for identity in identities {
            running.wait_for_stdout(&format!("looking {identity}"));
        }
        Self { stage, running }
    }

    /// Waits until every one of them has tried everything on a process called `comm`.
    fn wait_for(&self, identities: &[&str], comm: &str) {
        for identity in identities {
            self.running.wait_for_stdout(&format!("met {identity} {comm}."));
        }
    }

    /// Ends it, and fails unless it was in vain.
    fn end(self) {
        self.stage.signal("stop");
        let said = self.running.finish();
        let lines = said.out();
        assert!(!lines.contains("HOLE"), "{said}");
        assert!(lines.contains("done "), "{said}");
    }
}

#[test]
fn no_process_of_a_container_gets_into_a_running_session() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let usual = stage.containerd.run(&stage.spec("usual"));
    let mapped = IdMap { first_on_node: 100_000, count: 65536 };
    let mapped = stage.containerd.run(&stage.spec("mapped").user_namespace(mapped));
    let plain = stage.containerd.run(&stage.spec("plain").arguments(&crate::identity::PLAIN));
    for (container, identities) in
        [(&usual, &DEFAULT_CONTAINER[..]), (&mapped, &["root"][..]), (&plain, &OF_A_PLAIN_ONE[..])]
    {
        for profile in PROFILES {
            let attack = Attack::start(&stage, container, identities);
            let session = stage.waiting(container, &["--profile", profile]);
            for comm in [SUPERVISOR, "probe"] {
                attack.wait_for(identities, comm);
            }
            attack.end();
            session.finish().expect_success();
        }
    }
}

#[test]
fn no_process_of_a_container_gets_into_a_session_that_starts_or_ends() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let usual = stage.containerd.run(&stage.spec("usual"));
    let plain = stage.containerd.run(&stage.spec("plain").arguments(&crate::identity::PLAIN));
    for (container, identities) in [(&usual, &DEFAULT_CONTAINER[..]), (&plain, &OF_A_PLAIN_ONE[..])]
    {
        let attack = Attack::start(&stage, container, identities);
        for turn in 0..SESSIONS / 2 {
            let profile = PROFILES[turn % PROFILES.len()];
            stage.session(container, profile, &["true"]).expect_success();
        }
        for comm in [SUPERVISOR, "true"] {
            attack.wait_for(identities, comm);
        }
        attack.end();
    }
}
