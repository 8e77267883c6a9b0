//! An agent that serves: started on a containerd, asked as a client would, ended and gone when dropped.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::certificates::{Certificate, CertificateFiles, Certificates};
use crate::containerd::Containerd;
use crate::process::{Process, all_pids};
use crate::programs;
use crate::running::Running;
use crate::session_process::{BROKER, RELAY, is_called};
use crate::socket::{Answer, Client, Stream, tls_as};
use crate::wait::{patiently, until_some};

/// It takes milliseconds; the machine may be busy.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Past every grace that a test gives, and what the agent then takes to end its sessions.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Who asks over TLS, where nothing else is said.
const CLIENT: &str = "client";

/// Where an agent can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Unix,
    Tls,
}

impl Listener {
    pub const ALL: [Self; 2] = [Self::Unix, Self::Tls];
}

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Serve {
    tls: bool,
    toolbox: Option<PathBuf>,
    asks: Option<PathBuf>,
    options: Vec<String>,
}

impl Serve {
    /// On a unix socket.
    pub fn new() -> Self {
        Self::default()
    }

    /// On a port of the loopback address too, with certificates made for it.
    #[must_use]
    pub fn with_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// With the tools of this tree instead of the node's.
    #[must_use]
    pub fn in_toolbox(self, tree: &Path) -> Self {
        Self { toolbox: Some(tree.to_owned()), ..self }
    }

    /// By this name of containerd's socket.
    #[must_use]
    pub fn asking(self, socket: &Path) -> Self {
        Self { asks: Some(socket.to_owned()), ..self }
    }

    /// Any option of `serve` that has no value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.options.push(name.to_owned());
        self
    }

    /// Any option of `serve`.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Start, and wait until sessions can be had.
    pub fn start(&self, containerd: &Containerd) -> Agent {
        let agent = self.start_unready(containerd);
        agent.wait_for("/readyz", 200);
        agent
    }

    /// Start, and wait only until it answers at all: containerd may not run.
    pub fn start_unready(&self, containerd: &Containerd) -> Agent {
        // Below containerd's folder, whose name marks what a killed test leaves.
        let folder = tempfile::tempdir_in(containerd.path()).expect("a folder in an own folder");
        let socket = folder.path().join("agent.sock");
        let mut command = programs::agent();
        let asked = self.asks.clone().unwrap_or_else(|| containerd.socket());
        command.args(["serve", "--containerd"]).arg(asked);
        match &self.toolbox {
            Some(tree) => command.arg("--toolbox").arg(tree),
            None => command.args(["--tools", "host"]),
        };
        command.arg("--listen").arg(format!("unix:{}", socket.display())).args(&self.options);
        let certificates = self.tls.then(|| listen_on_port(&mut command));
        // Ctrl-C is for the test, which then ends its daemons in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let program = Running::start(&mut command);
        let mut agent = Agent { program, socket, port: None, certificates, _folder: folder };
        agent.wait_for("/healthz", 200);
        agent.port = agent.certificates.is_some().then(|| agent.announced_port());
        agent
    }
}

fn listen_on_port(command: &mut Command) -> Certificates {
    let certificates = Certificates::new();
    let CertificateFiles { certificate, key } = certificates.issue(Certificate::Server);
    command.args(["--listen", "127.0.0.1:0", "--tls-cert"]).arg(certificate);
    command.arg("--tls-key").arg(key).arg("--client-ca").arg(certificates.authority());
    certificates
}

/// See the module.
#[derive(Debug)]
#[must_use = "the agent ends when this is dropped"]
pub struct Agent {
    program: Running,
    socket: PathBuf,
    port: Option<SocketAddr>,
    certificates: Option<Certificates>,
    _folder: tempfile::TempDir,
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        self.program.stderr()
    }

    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// The authority of its port.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("it was started with TLS")
    }

    fn announced_port(&self) -> SocketAddr {
        until_some("the agent to name its port", START_LIMIT, || {
            let log = self.log();
            let word = log.split_whitespace().find_map(|word| word.strip_prefix("address="))?;
            word.parse().ok()
        })
    }

    /// Where its port is, as the plugin's `--agent` has it.
    pub fn url(&self) -> String {
        format!("https://{}", self.port.expect("it was started with TLS"))
    }

    /// The plugin, told how to reach this agent, to be given a target.
    pub fn plugin(&self, listener: Listener) -> Command {
        match listener {
            Listener::Unix => {
                let mut plugin = programs::plugin();
                plugin.arg("--agent").arg(format!("unix:{}", self.socket.display()));
                plugin
            }
            Listener::Tls => self.plugin_of(CLIENT),
        }
    }

    /// The same on the port, with a certificate of `name`'s.
    pub fn plugin_of(&self, name: &str) -> Command {
        self.plugin_with(&self.certificates().client(name))
    }

    /// The same with any certificate.
    pub fn plugin_with(&self, client: &CertificateFiles) -> Command {
        let mut plugin = programs::plugin();
        plugin.arg("--agent").arg(self.url());
        plugin.arg("--certificate-authority").arg(self.certificates().authority());
        plugin.arg("--client-certificate").arg(&client.certificate);
        plugin.arg("--client-key").arg(&client.key);
        plugin
    }

    /// The plugin on the unix socket, running `command` in the container `id`.
    pub fn exec(&self, id: &str, command: &[&str]) -> Command {
        self.exec_over(Listener::Unix, id, command)
    }

    /// The same through either listener.
    pub fn exec_over(&self, listener: Listener, id: &str, command: &[&str]) -> Command {
        let mut plugin = self.plugin(listener);
        plugin.arg(format!("container/{id}")).arg("--").args(command);
        plugin
    }

    /// A connection on which nothing has been said.
    pub fn connect(&self, listener: Listener) -> Stream {
        match listener {
            Listener::Unix => {
                Stream::new(UnixStream::connect(&self.socket).expect("the agent listens"))
            }
            Listener::Tls => self.connect_with(&self.certificates().client(CLIENT)),
        }
    }

    /// The same on its port, with any certificate.
    pub fn connect_with(&self, client: &CertificateFiles) -> Stream {
        let address = self.port.expect("it was started with TLS");
        let stream = TcpStream::connect(address).expect("the agent listens");
        tls_as(stream, "localhost", &self.certificates().authority(), client)
    }

    /// The answer to a request of the websocket at `path`, which has to be a refusal. Its dry run has to be
    /// refused in the same words.
    #[track_caller]
    pub fn refusal(&self, path: &str) -> Answer {
        let stream = self.connect(Listener::Unix);
        let refused = Client::open(stream, path, "v5.channel.k8s.io").expect_err("a refusal");
        let dry = self.get(&format!("{path}&dryRun=All")).expect("an answer");
        assert_eq!((dry.code, &dry.body), (refused.code, &refused.body), "of its dry run");
        refused
    }

    /// `GET` on the unix socket; none while nobody answers.
    pub fn get(&self, path: &str) -> Option<Answer> {
        let stream = UnixStream::connect(&self.socket).ok()?;
        Answer::to(&mut Stream::new(stream), "GET", path)
    }

    /// Wait until a `GET` of `path` is answered with `code`.
    pub fn wait_for(&self, path: &str, code: u16) -> Answer {
        let mut last = None;
        let found = patiently(START_LIMIT, || {
            last = self.get(path);
            last.clone().filter(|answer| answer.code == code)
        });
        found.unwrap_or_else(|| {
            panic!("{path} is not {code} but {last:?}; the agent says:\n{}", self.log())
        })
    }

    /// Bytes of its memory that are in use.
    pub fn resident(&self) -> u64 {
        memory(self.pid(), "VmRSS").expect("the agent runs")
    }

    /// The most that its memory ever was.
    pub fn peak(&self) -> u64 {
        memory(self.pid(), "VmHWM").expect("the agent runs")
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(folder).expect("the agent runs").count()
    }

    /// Its helpers and relays, and whatever else it started.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Those of them that stand between sessions and it.
    pub fn relays(&self) -> Vec<u32> {
        self.children().into_iter().filter(|pid| is_called(*pid, RELAY)).collect()
    }

    /// Whether no session runs: one helper may be there and its relay, which wait for the next.
    pub fn has_no_session(&self) -> bool {
        self.children().len() <= 2 && self.relays().len() <= 1 && self.has_no_tool()
    }

    /// Whether no tool runs. A relay may still have what one wrote.
    pub fn has_no_tool(&self) -> bool {
        // A helper that waits has its broker already.
        let is_broker = |pid: &u32| is_called(*pid, BROKER);
        self.children().into_iter().all(|child| children_of(child).iter().all(is_broker))
    }

    /// Wait for it to end by itself: its exit code, and the whole of its log.
    pub fn wait_for_end(&self) -> String {
        let ended = Process::open(self.pid()).is_none_or(|process| process.wait(END_LIMIT));
        assert!(ended, "the agent is still running; it says:\n{}", self.log());
        self.log()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A second signal ends the grace.
        self.signal(Signal::TERM);
        self.signal(Signal::INT);
        self.program.end(END_LIMIT);
        if !std::thread::panicking() {
            assert!(self.program.has_ended(), "the agent does not end:\n{}", self.log());
        }
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let parent = format!("PPid:\t{pid}");
    let status = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status"));
    let is_child = |pid: &u32| status(pid).is_ok_and(|text| text.lines().any(|l| l == parent));
    all_pids().into_iter().filter(is_child).collect()
}

/// A line of a process's `status`, in bytes.
pub fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}
