//! A session is seen and ended by the node's administrator, and ends by itself when no client needs it any more.

use std::io::Read;
use std::time::{Duration, Instant};

use harness::{RunSpec, refused, run, until};

use crate::on_containerd;
use crate::stage::{LIMIT, Serving};

const WEB: &str = "container/webcontainer";

#[test]
fn a_session_is_listed_and_ended_by_name() {
    on_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = Serving::start(containerd, &[]);
        let _other = containerd.run(&RunSpec::new("othercontainer"));
        let (session, other) = (agent.endless(WEB), agent.endless("container/othercontainer"));
        let list = agent.sessions();
        assert_eq!(list.len(), 2, "{list:?}");
        let first = &list[0];
        assert_eq!((&first["container"], &first["profile"]), (&web.id().into(), &"general".into()));
        assert_eq!((&first["command"][0], &first["stdout_bytes"]), (&"sh".into(), &6.into()));
        assert_eq!(first["pid"], web.pid());
        let table = agent.tell(&["sessions"]).expect_success().out();
        let id = first["id"].as_str().expect("an ID");
        for word in ["ID ", "CALLER", id, "webcontainer", "general", "root (process", "sh -c"] {
            assert!(table.contains(word), "{word} in\n{table}");
        }

        let said = agent.tell(&["kill", &id[..8]]).expect_success().out();
        assert_eq!(said, format!("session {id} ended\n"));
        let ended = session.finish().expect_code(125);
        assert!(ended.err().contains("ended by root (process"), "{ended}");
        assert_eq!(agent.sessions().len(), 1, "the other goes on");
        let again = agent.tell(&["kill", id]).expect_code(125);
        assert!(again.err().contains("no session of yours"), "{again}");
        drop(other);
        until("the other to be gone", LIMIT, || agent.sessions().is_empty());
    });
}

#[test]
fn a_client_that_takes_nothing_cannot_keep_its_session() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = Serving::start(containerd, &[]);
        let stuck = agent.ask("containers/webcontainer/exec?command=yes&stdout=true", "");
        until("the session to be listed", LIMIT, || !agent.sessions().is_empty());
        let id = agent.sessions()[0]["id"].as_str().expect("an ID").to_owned();
        let moved = || agent.sessions()[0]["stdout_bytes"].as_u64();
        let mut before = moved();
        until("the client to be full", LIMIT, || {
            std::thread::sleep(Duration::from_millis(300));
            std::mem::replace(&mut before, moved()) == before
        });
        let started = Instant::now();
        agent.tell(&["kill", &id]).expect_success();
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        drop(stuck);
        assert!(agent.sessions().is_empty());
    });
}

#[test]
fn idleness_and_age_end_a_session_and_say_so() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = Serving::start(containerd, &["--idle-limit", "2s", "--session-limit", "5s"]);
        let idle = agent.endless(WEB).finish().expect_code(125);
        assert!(idle.err().contains("idle for 2s (--idle-limit"), "{idle}");
        let talker = "for i in 1 2 3 4 5 6 7; do echo $i; sleep 0.5; done";
        run(&mut agent.plugin(&[WEB, "--", "sh", "-c", talker])).expect_success();
        let endless = "while echo x; do sleep 0.2; done";
        let long = run(&mut agent.plugin(&[WEB, "--", "sh", "-c", endless])).expect_code(125);
        assert!(long.err().contains("longest duration reached: 5s (--session-limit"), "{long}");
        until("both to be gone", LIMIT, || agent.sessions().is_empty());
    });
}

#[test]
fn what_is_worth_the_node_ends_sooner() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let _host = containerd.run(&RunSpec::new("hostnet").host_network());
        let options = ["--max-profile", "sysadmin", "--allow-host-targets"];
        let limits = ["--session-limit", "6s", "--privileged-session-limit", "2s"];
        let agent = Serving::start(containerd, &[&options[..], &limits].concat());
        let ended = |words: &[&str]| {
            let words = [words, &["--", "sleep", "86400"]].concat();
            run(&mut agent.plugin(&words)).expect_code(125).err()
        };
        let shorter = "longest duration reached: 2s (--privileged-session-limit";
        for words in [&["--profile", "sysadmin", WEB][..], &["container/hostnet"]] {
            let said = ended(words);
            assert!(said.contains(shorter), "{words:?}: {said}");
        }
        let mut of_node = agent.ask("node/exec?command=sleep&command=86400&stdout=true", "");
        let mut said = Vec::new();
        of_node.read_to_end(&mut said).expect("an end");
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 101 ") && said.contains(shorter), "{said}");
        let said = ended(&[WEB]);
        assert!(said.contains("longest duration reached: 6s (--session-limit"), "{said}");
    });
}

#[test]
fn one_session_too_many_is_told_when_to_try_again() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let agent = Serving::start(containerd, &["--max-sessions-per-caller", "1"]);
        let only = agent.endless(WEB);
        let answer = agent.answer("containers/webcontainer/exec?command=true", "");
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: 10\r\n"), "{answer}");
        let refused = refused(&mut agent.plugin(&[WEB, "--", "true"]), 125);
        assert!(refused.err().contains("root has 1 sessions here already"), "{refused}");
        drop(only);
        until("the slot to be free", LIMIT, || agent.sessions().is_empty());
        run(&mut agent.plugin(&[WEB, "--", "true"])).expect_success();
    });
}
