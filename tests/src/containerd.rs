//! A throw-away containerd: own root, state, socket and images; ended and removed when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::container::{Container, RunSpec};
use crate::cri::Pods;
use crate::requirement::find_program;
use crate::running::{Finished, Running, run};
use crate::scratch::Scratch;
use crate::wait::patiently;
use crate::{PAUSE_IMAGE, image};

/// Chooses the version for tests that do not care: `1.6` or `2.2`.
pub(crate) const VERSION_VARIABLE: &str = "NSDEBUG_TEST_CONTAINERD";
/// It takes half a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// As long as containerd itself gives its plugins to close.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Namespaces that get the images: ctr's own, the kubelet's, Docker's.
const NAMESPACES: [&str; 3] = ["default", "k8s.io", "moby"];

/// A containerd that tests can run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Debian's.
    V1_6,
    /// Built by `tests/prerequisites`.
    V2_2,
}

impl Version {
    pub const ALL: [Self; 2] = [Self::V1_6, Self::V2_2];

    /// What the environment asks for; Debian's otherwise.
    pub fn chosen() -> Self {
        match std::env::var(VERSION_VARIABLE).as_deref() {
            Ok("2.2") => Self::V2_2,
            Ok("1.6") | Err(_) => Self::V1_6,
            Ok(other) => panic!("{VERSION_VARIABLE} is 1.6 or 2.2, not {other}"),
        }
    }

    /// As the environment spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_6 => "1.6",
            Self::V2_2 => "2.2",
        }
    }

    pub(crate) fn program(self, name: &str) -> PathBuf {
        match self {
            Self::V1_6 => find_program(name).unwrap_or_else(|| Path::new("/usr/bin").join(name)),
            Self::V2_2 => cache().join("nsdebug/containerd-2.2.9").join(name),
        }
    }

    pub(crate) fn config(self, folder: &str) -> String {
        let template = match self {
            Self::V1_6 => include_str!("containerd-1.6.toml"),
            Self::V2_2 => include_str!("containerd-2.2.toml"),
        };
        assert!(!folder.contains('"'), "a folder that TOML would misread: {folder}");
        template.replace("@FOLDER@", folder).replace("@PAUSE@", PAUSE_IMAGE)
    }
}

/// Where what is built once for all checkouts lies.
pub(crate) fn cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_default()
}

/// See the module.
#[derive(Debug)]
#[must_use = "containerd and all its containers end when this is dropped"]
pub struct Containerd {
    version: Version,
    daemon: Option<Running>,
    // The last field: what the daemon leaves is cleared after it.
    scratch: Scratch,
}

impl Containerd {
    pub fn start(version: Version) -> Self {
        Self::start_in(Scratch::new(), version)
    }

    /// In a scratch folder of the caller's: one on a quiet node, for instance.
    pub fn start_in(scratch: Scratch, version: Version) -> Self {
        let mut containerd = Self { version, daemon: None, scratch };
        containerd.configure();
        containerd.restart();
        let archive = image::archive(containerd.path());
        for namespace in NAMESPACES {
            let archive = archive.to_str().expect("a plain path");
            containerd.ctr(namespace, &["image", "import", archive]).expect_success();
        }
        containerd
    }

    fn configure(&self) {
        let folder = self.path().to_str().expect("a plain path");
        std::fs::write(self.path().join("config.toml"), self.version.config(folder))
            .expect("a file in an own folder");
        let network = include_str!("pod-network.conflist").replace("@FOLDER@", folder);
        std::fs::create_dir(self.path().join("cni")).expect("a folder in an own folder");
        std::fs::write(
            self.path().join("cni/pods.conflist"),
            network.replace("@BRIDGE@", &self.scratch.link()),
        )
        .expect("a file in an own folder");
    }

    /// End the daemon if it runs, and start it on the same state; containers live on.
    pub fn restart(&mut self) {
        self.stop();
        let program = self.version.program("containerd");
        let mut command = Command::new(&program);
        command.arg("--config").arg(self.path().join("config.toml"));
        // The shim of the same version lies beside it.
        command.env("PATH", path_with(program.parent().expect("a program lies in a folder")));
        // Ctrl-C is for the test, which then ends its daemons in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.daemon = Some(Running::start(&mut command));
        let over = || self.answers() || self.has_ended();
        let answers = patiently(START_LIMIT, || over().then(|| self.answers()));
        assert_eq!(answers, Some(true), "containerd does not answer; it says:\n{}", self.log());
    }

    /// End the daemon only: containers live on, its socket does not answer.
    pub fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.end(END_LIMIT);
        }
    }

    fn has_ended(&self) -> bool {
        self.daemon.as_ref().is_none_or(Running::has_ended)
    }

    fn answers(&self) -> bool {
        // Its services answer before the CRI plugin has loaded, so the plugins are asked.
        let plugins = self.ctr("default", &["plugins", "ls"]);
        let loaded = |line: &str| line.contains("cri") && line.trim_end().ends_with("ok");
        self.socket().exists() && plugins.status.success() && plugins.out().lines().any(loaded)
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("containerd.sock")
    }

    /// The folder that everything of this containerd lies in.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The control group that every container of this containerd lies in.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.scratch.name())
    }

    /// What the daemon wrote to its log so far.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Running::stderr).unwrap_or_default()
    }

    /// `ctr` of the same version, to be given arguments.
    pub fn ctr_command(&self, namespace: &str) -> Command {
        let mut ctr = Command::new(self.version.program("ctr"));
        ctr.arg("--address").arg(self.socket()).args(["--namespace", namespace]);
        ctr
    }

    /// Run `ctr` to its end.
    pub fn ctr(&self, namespace: &str, arguments: &[&str]) -> Finished {
        run(self.ctr_command(namespace).args(arguments))
    }

    /// Start a container as `spec` says.
    pub fn run(&self, spec: &RunSpec) -> Container<'_> {
        Container::run(self, spec)
    }

    /// A container that was made and never started.
    pub fn create(&self, spec: &RunSpec) -> Container<'_> {
        Container::create(self, spec)
    }

    /// The pods of this containerd, through the kubelet's interface.
    pub fn pods(&self) -> Pods<'_> {
        Pods::of(self)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Containers end by their own guards; what is left of them, and the shims, is cleared with the scratch
        // folder. The daemon goes first, so that it does not look after containers that are killed.
        self.stop();
    }
}

/// `PATH` with `folder` before all others.
pub(crate) fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders = [folder.to_owned()].into_iter().chain(std::env::split_paths(&path)).chain(system);
    std::env::join_paths(folders).expect("a path of paths")
}
