//! A container, an agent that serves it, and a look at the control groups of sessions.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use harness::{
    Container, Containerd, Finished, Requirement, RunSpec, Running, Scratch, Version, agent,
    may_skip, plugin, run, toolbox_tree,
};

/// What the issue promises for whatever is left of a session.
pub(crate) const GONE_LIMIT: Duration = Duration::from_secs(5);

/// Run `check` with a container and an agent on its containerd.
pub(crate) fn with_stage(check: impl Fn(&mut Stage<'_>)) {
    let requirement = Version::ALL.map(|version| (version, Requirement::containerd(version)));
    let met = requirement.into_iter().find(|(_, requirement)| *requirement == Requirement::Met);
    let Some((version, _)) = met else {
        assert!(may_skip(Requirement::containerd(Version::ALL[0])));
        return;
    };
    let containerd = Containerd::start_in(Scratch::new(), version);
    let mut stage = Stage::set(&containerd);
    check(&mut stage);
    stage.end();
}

const NAME: &str = "webshop";

pub(crate) struct Stage<'c> {
    containerd: &'c Containerd,
    pub(crate) container: Container<'c>,
    pub(crate) agent: Running,
}

impl<'c> Stage<'c> {
    pub(crate) fn set(containerd: &'c Containerd) -> Self {
        let container = containerd.run(&RunSpec::new(NAME));
        let agent = serve(containerd);
        Self { containerd, container, agent }
    }

    /// End the agent in order: a killed one leaves its spare group to the next.
    pub(crate) fn end(self) {
        let Self { agent, .. } = self;
        agent.signal(rustix::process::Signal::TERM);
        let ended = agent.finish_within(Duration::from_secs(10)).expect_success();
        assert!(!ended.err().contains("not removed"), "{ended}");
    }

    /// Kill the agent as nothing can be prepared for, and start another.
    pub(crate) fn replace_agent(&mut self) {
        self.agent.signal(rustix::process::Signal::KILL);
        harness::until("the agent to die", GONE_LIMIT, || self.agent.has_ended());
        self.agent = serve(self.containerd);
    }

    /// What has started the agent.
    pub(crate) fn serving(&self) -> Command {
        serving(self.containerd)
    }

    /// A session through the agent: `words` in a shell.
    pub(crate) fn session(&self, script: &str) -> Command {
        let mut command = plugin();
        command.arg("--agent").arg(format!("unix:{}", socket(self.containerd).display()));
        command.arg(format!("container/{NAME}")).args(["--", "bash", "-c", script]);
        command
    }

    /// The same without an agent.
    pub(crate) fn local(&self, script: &str) -> Command {
        let mut command = agent();
        command.args(["exec", "--tools", "toolbox", "--toolbox"]).arg(toolbox_tree());
        command.arg("--containerd").arg(self.containerd.socket());
        command.args(["--container", NAME, "--", "bash", "-c", script]);
        command
    }

    pub(crate) fn run(&self, script: &str) -> Finished {
        run(&mut self.session(script))
    }

    /// The application answers and the agent takes sessions.
    pub(crate) fn assert_unharmed(&self) {
        assert_eq!(self.container.status().as_deref(), Some("RUNNING"));
        assert_eq!(harness::request(self.container.pid(), "/"), "hello from the container\n");
        assert!(!self.agent.has_ended(), "the agent is gone: {}", self.agent.stderr());
        assert_eq!(self.run("echo fine").expect_success().out(), "fine\n");
    }
}

fn socket(containerd: &Containerd) -> PathBuf {
    containerd.path().join("agent.sock")
}

fn serving(containerd: &Containerd) -> Command {
    let mut command = agent();
    command.args(["serve", "--toolbox"]).arg(toolbox_tree());
    command.arg("--listen").arg(format!("unix:{}", socket(containerd).display()));
    command.arg("--containerd").arg(containerd.socket());
    command
}

fn serve(containerd: &Containerd) -> Running {
    let running = Running::start(&mut serving(containerd));
    running.wait_for_stderr("started");
    running
}

/// Groups of sessions that `owner` has made, in every hierarchy.
pub(crate) fn groups_of(owner: u32) -> Vec<PathBuf> {
    let ours = format!("{owner}-");
    let of_sessions = |path: &PathBuf| {
        let parent = path.parent().and_then(|parent| parent.file_name());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        parent.is_some_and(|parent| parent == "nsdebug") && name.starts_with(&ours)
    };
    harness::control_groups().into_iter().filter(of_sessions).collect()
}

/// Processes of the container whose arguments contain `marker`.
pub(crate) fn marked(container: &Container<'_>, marker: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(marker)
    };
    container.processes().into_iter().filter(has).collect()
}
