//! An agent that serves confined sessions, and those who ask it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use harness::{Containerd, Finished, OwnGroup, Running, agent, plugin, run, toolbox_tree, until};

/// It takes milliseconds; the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Ended when dropped, with what it left in its folder.
pub(crate) struct Serving {
    program: Running,
    folder: tempfile::TempDir,
}

impl Serving {
    /// With these options beside its socket, containerd and toolbox.
    pub(crate) fn start(containerd: &Containerd, options: &[&str]) -> Self {
        Self::start_by(agent(), containerd, options)
    }

    /// The same in control groups of its own, where its limits are nobody else's.
    pub(crate) fn start_in(group: &OwnGroup, containerd: &Containerd, options: &[&str]) -> Self {
        Self::start_by(group.start(agent().get_program()), containerd, options)
    }

    fn start_by(mut command: Command, containerd: &Containerd, options: &[&str]) -> Self {
        // Below containerd's folder, whose name marks what a killed test leaves.
        let folder = tempfile::tempdir_in(containerd.path()).expect("a folder in an own folder");
        command.args(["serve", "--containerd"]).arg(containerd.socket());
        command.arg("--toolbox").arg(toolbox_tree());
        command.arg("--listen").arg(format!("unix:{}", folder.path().join("a.sock").display()));
        // Sessions that are left when a test ends are nobody's: the guard of the program waits.
        let program = Running::start(command.args(["--grace", "0"]).args(options));
        let serving = Self { program, folder };
        until("the agent to serve", LIMIT, || UnixStream::connect(serving.socket()).is_ok());
        serving
    }

    /// What it wrote to its log so far.
    pub(crate) fn log(&self) -> String {
        self.program.stderr()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("a.sock")
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// `kubectl nsdebug` to this agent.
    pub(crate) fn plugin(&self, words: &[&str]) -> Command {
        let mut command = plugin();
        command.args(["--agent", &self.address()]).args(words);
        command
    }

    /// A session that runs until a caller ends it: it has said so.
    pub(crate) fn endless(&self, target: &str) -> Running {
        let session = Running::start(&mut self.plugin(&[target, "--", "sh", "-c", ENDLESS]));
        session.wait_for_stdout("begun");
        session
    }

    /// `nsdebug-agent COMMAND …` about this agent.
    pub(crate) fn tell(&self, words: &[&str]) -> Finished {
        run(agent().args(words).args(["--agent", &self.address()]))
    }

    /// What `sessions -o json` has.
    pub(crate) fn sessions(&self) -> Vec<serde_json::Value> {
        let list = self.tell(&["sessions", "-o", "json"]).expect_success();
        serde_json::from_slice(&list.stdout).expect("a list")
    }

    /// A request for a session as a websocket client sends it; the connection after it.
    pub(crate) fn ask(&self, target: &str, extra: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.socket()).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let head = format!(
            "GET /v1/{target} HTTP/1.1\r\nHost: agent\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n{extra}\r\n"
        );
        stream.write_all(head.as_bytes()).expect("a request");
        stream
    }

    /// The head of the answer, and as much after it as came along.
    pub(crate) fn answer(&self, target: &str, extra: &str) -> String {
        let mut stream = self.ask(target, extra);
        let mut answer = vec![0; 16 << 10];
        let read = stream.read(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }
}

const ENDLESS: &str = "echo begun; exec sleep 86400";

impl Drop for Serving {
    #[expect(clippy::print_stderr, reason = "a failure is understood from the agent's own log")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the agent\n{}", self.program.stderr());
        }
    }
}
