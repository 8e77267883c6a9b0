//! Where attacks take place: a containerd, a toolbox with our own tools in it, containers that can run the attacker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{
    Container, Containerd, Finished, Requirement, RunSpec, Running, Version, agent, built,
    may_skip, run, toolbox_tree,
};

pub(crate) const PROFILES: [&str; 4] = ["restricted", "baseline", "general", "netadmin"];

/// Each process that is started in a container wants a name of its own.
static EXECS: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Stage {
    pub(crate) containerd: Containerd,
}

impl Stage {
    pub(crate) fn requirement() -> Requirement {
        Requirement::containerd(Version::chosen())
    }

    pub(crate) fn set() -> Self {
        let stage = Self { containerd: Containerd::start(Version::chosen()) };
        run(Command::new("cp").arg("-a").arg(toolbox_tree()).arg(stage.tree())).expect_success();
        std::fs::create_dir(stage.folder()).expect("a folder in an own folder");
        for program in ["probe", "attacker", "rings", "netids", "hoard"] {
            for folder in [stage.tree().join("usr/bin"), stage.folder()] {
                std::fs::copy(built(program), folder.join(program)).expect("a copy");
            }
        }
        stage
    }

    pub(crate) fn path(&self) -> &Path {
        self.containerd.path()
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.path().join("tools")
    }

    /// What containers have at `/probe`.
    pub(crate) fn folder(&self) -> PathBuf {
        self.path().join("probe")
    }

    /// A container that serves, and has the attacker at hand.
    pub(crate) fn spec(&self, id: &str) -> RunSpec {
        RunSpec::new(id).option(&["--mount", &bind(&self.folder(), "/probe", "rw")])
    }

    /// A folder with a token in it, as a pod has of its service account.
    pub(crate) fn account(&self) -> PathBuf {
        let account = self.path().join("account");
        std::fs::create_dir(&account).expect("a folder in an own folder");
        std::fs::write(account.join("token"), "secret").expect("a file in an own folder");
        account
    }

    /// A program of the container's own, as its root.
    pub(crate) fn inside(&self, container: &Container<'_>, words: &[&str]) -> Command {
        let mut command = self.containerd.ctr_command(container.namespace());
        let name = format!("attack-{}", EXECS.fetch_add(1, Ordering::Relaxed));
        command.args(["task", "exec", "--exec-id", &name]);
        command.arg(container.id()).args(words);
        command
    }

    /// `nsdebug-agent exec` with `options`, still without a command.
    pub(crate) fn exec(&self, container: &Container<'_>, options: &[&str]) -> Command {
        let mut command = self.exec_by(&["--container", container.id()]);
        command.args(options);
        command
    }

    /// The same, where the options say of what.
    pub(crate) fn exec_by(&self, options: &[&str]) -> Command {
        let mut command = agent();
        command.args(["exec", "--tools", "toolbox", "--containerd"]).arg(self.containerd.socket());
        command.arg("--toolbox").arg(self.tree()).args(options);
        command
    }

    /// A session under `profile` to its end.
    pub(crate) fn session(
        &self,
        container: &Container<'_>,
        profile: &str,
        words: &[&str],
    ) -> Finished {
        run(self.exec(container, &["--profile", profile, "--"]).args(words))
    }

    /// A session that stays until its input ends.
    pub(crate) fn waiting(&self, container: &Container<'_>, options: &[&str]) -> Running {
        let mut command = self.exec(container, options);
        let running = Running::start(command.args(["-i", "--", "probe", "wait"]));
        running.wait_for_stdout("waiting");
        running
    }

    pub(crate) fn signal(&self, name: &str) {
        std::fs::write(self.folder().join(name), "").expect("a file in an own folder");
    }
}

/// The option of `ctr run` that shows a file or folder of the node to a container.
pub(crate) fn bind(from: &Path, to: &str, how: &str) -> String {
    format!("type=bind,src={},dst={to},options=rbind:{how}", from.display())
}

/// Checks something beside a container of root with the usual capabilities.
pub(crate) fn on_site(check: impl Fn(&Stage, &Container<'_>)) {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    check(&stage, &site);
}
