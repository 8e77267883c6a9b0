//! The steps, in the order in which they convince.

use std::process::Command;

use harness::{
    Container, Containerd, Neighbour, NodeSnapshot, Requirement, RunSpec, Running, Scratch, agent,
    run,
};

use crate::screen::{Screen, command, output, say};

/// As containerd's users have them: 64 hexadecimal digits, of which a person types the first few.
const ID: &str = "5f1d0c9be2a74f6f8c3e7a90b4d21c6e5f1d0c9be2a74f6f8c3e7a90b4d21c6e";
const SHORT_ID: &str = "5f1d0c9be2a7";
const GREETING: &str = "hello from the container";

pub(crate) fn tell(screen: &Screen) {
    let requirements =
        [Requirement::containerd(harness::Version::chosen()), Requirement::program("tcpdump")];
    if let Requirement::Missing(why) = Requirement::all(requirements) {
        panic!("{why}");
    }
    say("nsdebug: run tools a container does not have, inside its namespaces");
    let scratch = Scratch::new();
    let before = NodeSnapshot::take();
    let containerd = Containerd::start_in(scratch, harness::Version::chosen());
    {
        let scene = Scene::set(screen, &containerd);
        scene.no_tools();
        let running = NodeSnapshot::take();
        scene.processes();
        scene.network();
        scene.packets(&running);
        scene.untouched(&running);
    }
    drop(containerd);
    screen.step("Everything is cleared away");
    let left = before.lasting_differences();
    output(&left.join("\n"));
    screen.claim("no process, mount, control group or link of the demo is left", left.is_empty());
}

/// The container, and how to look into it.
struct Scene<'s> {
    screen: &'s Screen,
    containerd: &'s Containerd,
    web: Container<'s>,
    neighbour: Neighbour,
}

impl<'s> Scene<'s> {
    fn set(screen: &'s Screen, containerd: &'s Containerd) -> Self {
        screen.step(
            "A container whose image holds one static binary, an HTTP server, and nothing else",
        );
        let web = containerd.run(&RunSpec::new(ID));
        let neighbour = Neighbour::of(web.pid());
        say(&format!("container {SHORT_ID} runs as process {} of this node", web.pid()));
        let address = neighbour.container_address();
        say(&format!("a neighbour on its network asks for http://{address}:8080/"));
        let answer = neighbour.request("/");
        output(&answer);
        screen.claim("it serves", answer.trim() == GREETING);
        Self { screen, containerd, web, neighbour }
    }

    fn no_tools(&self) {
        self.screen.step("It has no tools");
        command(&format!("ctr task exec {SHORT_ID} ps"));
        let exec = ["task", "exec", "--exec-id", "demo", self.web.id(), "ps"];
        let refused = self.containerd.ctr(self.web.namespace(), &exec);
        output(&refused.err());
        self.screen.claim(
            "there is no ps in it",
            refused.code() != 0 && refused.err().contains("not found"),
        );
    }

    fn processes(&self) {
        self.screen.step("The node's ps and top, inside the container's namespaces");
        let ps = self.tool(&["ps", "-ef"]);
        let only_its_own =
            ps.contains("/target-app serve") && !ps.contains("kthreadd") && ps.lines().count() < 8;
        self.screen.claim("ps lists the container's processes and no other", only_its_own);
        let top = self.tool(&["top", "-b", "-n", "1"]);
        let same = top.contains("target-app") && !top.contains("kthreadd");
        self.screen.claim("so does top", same);
    }

    fn network(&self) {
        self.screen.step("The node's ip and ss, on the container's network");
        let ip = self.tool(&["ip", "address"]);
        let address = self.neighbour.container_address();
        self.screen.claim("ip shows the container's address", ip.contains(address));
        let ss = self.tool(&["ss", "-ltnp"]);
        let listens = ss.contains(":8080") && ss.contains("target-app");
        self.screen.claim("ss shows its socket and whose it is", listens);
    }

    fn packets(&self, running: &NodeSnapshot) {
        self.screen.step("The node's tcpdump catches a request to the container");
        let words = ["tcpdump", "-i", "any", "-n", "-c", "6", "tcp", "port", "8080"];
        let tcpdump = Running::start(&mut self.session(&words));
        tcpdump.wait_for_stderr("listening on");
        self.screen.claim(
            "while it listens, the node's mount table is byte for byte the same",
            NodeSnapshot::take().mounts() == running.mounts(),
        );
        self.neighbour.request("/");
        let caught = tcpdump.finish();
        output(&caught.out());
        self.screen.claim("the request was caught", caught.out().contains("GET / HTTP/1.1"));
        self.screen.claim("and its answer", caught.out().contains("HTTP/1.1 200 OK"));
    }

    fn untouched(&self, running: &NodeSnapshot) {
        self.screen.step("The node was not touched");
        command("grep ' /proc ' /proc/self/mountinfo");
        let now = NodeSnapshot::take();
        output(&proc_mounts(&now));
        let same = !proc_mounts(&now).is_empty() && proc_mounts(&now) == proc_mounts(running);
        self.screen.claim("/proc is mounted as before", same);
        let found = running.lasting_differences();
        output(&found.join("\n"));
        self.screen.claim("and nothing else was left by the sessions", found.is_empty());
        let ps = run(Command::new("ps").args(["-p", &std::process::id().to_string()]));
        self.screen.claim("ps on the node still shows the node", ps.code() == 0);
    }

    /// Run one of the node's tools in the container, and show it: what it wrote.
    fn tool(&self, words: &[&str]) -> String {
        let done = run(&mut self.session(words));
        output(&done.out());
        if done.code() != 0 {
            output(&done.err());
            say(&format!("exit code {}", done.code()));
        }
        done.out()
    }

    fn session(&self, words: &[&str]) -> Command {
        let typed = format!(
            "nsdebug-agent exec --container {SHORT_ID} --tools host -- {}",
            words.join(" ")
        );
        command(&typed);
        let mut session = agent();
        session.args(["exec", "--container", SHORT_ID, "--tools", "host", "--containerd"]);
        session.arg(self.containerd.socket()).arg("--").args(words);
        session.env("COLUMNS", "100").env("TERM", "dumb");
        session
    }
}

/// The lines of the mount table that are about `/proc` itself.
fn proc_mounts(node: &NodeSnapshot) -> String {
    let lines = node.mounts().lines().filter(|line| line.split(' ').nth(4) == Some("/proc"));
    lines.collect::<Vec<_>>().join("\n")
}
