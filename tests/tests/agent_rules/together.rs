//! What all sessions of a node use together has bounds of its own, which end one session and not the agent.

use harness::{OwnGroup, RunSpec, Running, refused, run, until};

use crate::on_containerd;
use crate::stage::{LIMIT, Serving};

const WEB: &str = "container/webcontainer";

/// Takes all memory that it can get.
const BOMB: &str = "head -c 2000000000 /dev/zero | tail";

#[test]
fn memory_that_all_sessions_use_up_ends_who_takes_most_and_names_that_limit() {
    on_containerd(|containerd| {
        let _web = containerd.run(&RunSpec::new("webcontainer"));
        let group = OwnGroup::new("together-memory");
        let limits = ["--all-sessions-memory", "96Mi", "--session-memory", "256Mi"];
        let agent = Serving::start_in(&group, containerd, &limits);
        let beside = agent.endless(WEB);
        let said = run(&mut agent.plugin(&[WEB, "--", "sh", "-c", BOMB]));
        assert_ne!(said.code(), 0, "{said}");
        let words = "all sessions of this node together ran out of memory (limit 96Mi)";
        assert!(said.err().contains(words), "{said}");
        assert!(!beside.has_ended(), "it took nothing");
        assert_eq!(agent.sessions().len(), 1);
        // A limit of its own is still its own.
        drop(agent);
        let limits = ["--all-sessions-memory", "256Mi", "--session-memory", "64Mi"];
        let agent = Serving::start_in(&group, containerd, &limits);
        let said = run(&mut agent.plugin(&[WEB, "--", "sh", "-c", BOMB]));
        assert!(said.err().contains("the session ran out of memory (limit 64Mi)"), "{said}");
    });
}

#[test]
fn processes_of_all_sessions_have_a_bound_and_leave_the_agent_its_own() {
    on_containerd(|containerd| {
        let web = containerd.run(&RunSpec::new("webcontainer"));
        let group = OwnGroup::new("together-pids");
        let each = ["--session-pids", "40", "--max-sessions-per-caller", "3"];
        let limits = [&each[..], &["--all-sessions-pids", "200"]].concat();
        let agent = Serving::start_in(&group, containerd, &limits);
        assert_eq!(group.read("nsdebug/pids.max").expect("a limit").trim(), "200");
        // One caller's sessions cannot use that up: here it stands for several.
        group.write("nsdebug/pids.max", "40");
        // Whose fork fails ends, and gives one back.
        let script = "(while :; do sleep 86400 & done); echo begun; exec sleep 86400";
        let beside = agent.endless(WEB);
        let bomb = Running::start(&mut agent.plugin(&[WEB, "--", "sh", "-c", script]));
        bomb.wait_for_stdout("begun");
        let used = || {
            let used = group.read("nsdebug/pids.current").expect("a count");
            used.trim().parse::<u32>().expect("a number")
        };
        until("the bomb to go off", LIMIT, || used() > 35);
        assert!(web.processes().len() <= 41, "{} processes", web.processes().len());
        assert_eq!(agent.sessions().len(), 2, "the agent answers");
        let refused = refused(&mut agent.plugin(&[WEB, "--", "true"]), 125);
        assert!(refused.err().contains("--all-sessions-pids"), "{refused}");
        let own = group.read("nsdebug/cgroup.procs").expect("a list");
        assert_eq!(own, "", "the agent is beside what has the limit, not in it");
        for session in agent.sessions() {
            agent.tell(&["kill", session["id"].as_str().expect("an ID")]).expect_success();
        }
        drop((bomb, beside));
        // What has ended counts until it is reaped.
        until("there to be room again", LIMIT, || {
            run(&mut agent.plugin(&[WEB, "--", "true"])).code() == 0
        });
    });
}
