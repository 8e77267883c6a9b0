//! An agent that has no descriptors left: what it had begun for a session it ends and reaps.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use harness::{Agent, Process, until};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::site::{LIMIT, on_site};

/// What one session takes is less.
const MOST: u64 = 64;

const REQUEST: &str = "GET /v1/containers/web-1/exec?command=true&profile=general HTTP/1.1\r\nHost: agent\r\n\
                       Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                       Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: agent\r\n\r\n";

/// The first line of an answer, whose body is passed over.
fn answer(answers: &mut impl BufRead) -> String {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        answers.read_line(&mut line).expect("an answer");
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.to_lowercase());
    }
    let length =
        lines.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    answers.read_exact(&mut vec![0; length.unwrap_or(0)]).expect("its body");
    lines.remove(0)
}

/// Gives the agent so many descriptors; how many it could have before.
fn allow(agent: &Agent, current: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(agent.pid().try_into().expect("a number"));
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).expect("an own agent").current
}

fn zombies(agent: &Agent) -> Vec<u32> {
    let is_one = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    };
    agent.children().into_iter().filter(is_one).collect()
}

#[test]
fn a_start_that_finds_no_descriptor_leaves_no_process_and_the_next_one_works() {
    on_site(&[], |site| {
        let agent = &site.agent;
        let mut given = 0;
        for more in 0..MOST {
            let rests = || zombies(agent).is_empty() && agent.has_no_session();
            until("nothing to be left", LIMIT, rests);
            // The one for this session is to be started now.
            let helper = Process::open(site.spare_helper()).expect("it waits");
            helper.signal(Signal::KILL);
            let mut stream = UnixStream::connect(agent.socket()).expect("it listens");
            // It has taken the connection when it has answered on it.
            stream.write_all(HEALTH.as_bytes()).expect("it listens");
            let mut answers = BufReader::new(stream.try_clone().expect("a clone"));
            assert!(answer(&mut answers).contains(" 200 "));
            let now = agent.descriptors() as u64;
            let usual = allow(agent, Some(now + more));
            stream.write_all(REQUEST.as_bytes()).expect("it listens");
            let answer = answer(&mut answers);
            allow(agent, usual);
            given += usize::from(answer.contains(" 101 "));
            let is_one = |code: &str| answer.contains(code);
            assert!([" 101 ", " 409 ", " 500 "].into_iter().any(is_one), "{more}: {answer}");
            drop((stream, answers));
            site.assert_others_work();
            if given == 3 {
                break;
            }
        }
        assert_eq!(given, 3, "with so many more descriptors there is a session");
        until("nothing to be left", LIMIT, || zombies(agent).is_empty() && agent.has_no_session());
    });
}
