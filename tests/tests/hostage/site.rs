//! An agent with a hostile tool in its toolbox, and what can be seen of the tool and of relays from outside.

use std::process::Command;
use std::time::Duration;

use harness::{
    Agent, Client, Container, Containerd, Listener, QuietNode, Requirement, RunSpec, Scratch,
    Serve, Version, agent, built, run, skip, toolbox_tree, until, until_some,
};

/// The machine may be busy; what hangs does so for ever.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// An agent with a hostile tool in its toolbox.
pub(crate) struct Site<'a> {
    pub(crate) agent: Agent,
    pub(crate) containerd: &'a Containerd,
    pub(crate) web: &'a Container<'a>,
}

/// On a node that is compared before and after.
pub(crate) fn on_site(options: &[[&str; 2]], check: impl FnOnce(Site<'_>)) {
    if skip([Requirement::containerd(Version::chosen())]) {
        return;
    }
    let node = QuietNode::wait();
    {
        let containerd = Containerd::start_in(Scratch::on(&node), Version::chosen());
        let tree = containerd.path().join("tools");
        run(Command::new("cp").arg("-a").arg(toolbox_tree()).arg(&tree)).expect_success();
        let hanger = tree.join("usr/bin/hanger");
        std::fs::copy(built("hanger"), &hanger).expect("a copy");
        let probe = containerd.path().join("probe");
        std::fs::create_dir(&probe).expect("a folder in an own folder");
        std::fs::copy(&hanger, probe.join("hanger")).expect("a copy");
        let mount = format!("type=bind,src={},dst=/probe,options=rbind:ro", probe.display());
        let web = containerd.run(&RunSpec::new("web-1").option(&["--mount", &mount]));
        let serve = Serve::new().in_toolbox(&tree).option("--max-sessions-per-caller", "64");
        // What may trace all there is has its supervisor too.
        let serve = serve.option("--all-sessions-pids", "16896").flag("--allow-host-targets");
        let serve = options.iter().fold(serve, |serve, [name, value]| serve.option(name, value));
        let agent = serve.start(&containerd);
        check(Site { agent, containerd: &containerd, web: &web });
    }
    node.assert_untouched();
}

impl Site<'_> {
    /// A session of the hostile tool, whose output nobody takes yet.
    pub(crate) fn hang(&self, profile: &str, mode: &str) -> Client {
        let how = if ["drain", "typed"].contains(&mode) { "tty=1" } else { "stderr=1" };
        let path = format!(
            "/v1/containers/web-1/exec?command=hanger&command={mode}&stdin=1&stdout=1&{how}&profile={profile}"
        );
        let stream = self.agent.connect(Listener::Unix);
        Client::open(stream, &path, "v5.channel.k8s.io").expect("a session")
    }

    /// Another person's session: it opens, works and ends.
    pub(crate) fn assert_others_work(&self) {
        let plugin = || self.agent.plugin(Listener::Unix);
        let said = run(plugin().args(["-i", "container/web-1", "--", "echo", "works"]));
        assert_eq!(said.expect_success().out(), "works\n");
    }

    /// The helper that waits for the next session, its relay beside it.
    pub(crate) fn spare_helper(&self) -> u32 {
        until_some("a helper that waits", LIMIT, || {
            let (children, relays) = (self.agent.children(), self.agent.relays());
            let helper = children.iter().find(|child| !relays.contains(child)).copied();
            helper.filter(|_| children.len() == 2 && relays.len() == 1)
        })
    }

    pub(crate) fn tell(&self, words: &[&str]) -> harness::Finished {
        let address = format!("unix:{}", self.agent.socket().display());
        run(agent().args(words).args(["--agent", &address]))
    }

    pub(crate) fn sessions(&self) -> Vec<String> {
        let list = self.tell(&["sessions", "-o", "json"]).expect_success();
        let list: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout).expect("a list");
        list.iter().map(|session| session["id"].as_str().expect("an ID").to_owned()).collect()
    }
}

pub(crate) fn hangers() -> Vec<u32> {
    let numbers = std::fs::read_dir("/proc").expect("a /proc").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A zombie is one no more.
    let is_one = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.contains(" (hanger) ") && !stat.contains(") Z "))
    };
    numbers.filter(is_one).collect()
}

/// Those that are in a call which keeps a pipe's lock.
pub(crate) fn locked() -> Vec<u32> {
    let in_call = |pid: &u32| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        threads.flatten().any(|thread| {
            let call = std::fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
            ["275 ", "40 "].iter().any(|number| call.starts_with(number))
        })
    };
    hangers().into_iter().filter(in_call).collect()
}

/// Waits until `count` tools sleep in `splice` or `sendfile`, and so have their locks.
pub(crate) fn wait_for_locks(count: usize) {
    until("the locks to be taken", LIMIT, || locked().len() >= count);
}

/// Those relays that nothing can interrupt.
pub(crate) fn held_up(agent: &Agent) -> Vec<u32> {
    let is_held = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('D')))
    };
    agent.relays().into_iter().filter(is_held).collect()
}

/// Takes what a client is sent, until its session ends.
pub(crate) fn listen(client: Client) -> std::thread::JoinHandle<harness::Heard> {
    std::thread::spawn(move || client.finish())
}

pub(crate) fn heard(listening: std::thread::JoinHandle<harness::Heard>) -> harness::Heard {
    until("the end of a session", LIMIT, || listening.is_finished());
    listening.join().expect("it listens")
}
