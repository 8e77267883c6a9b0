//! A real dockerd, in a network and mount namespace of its own: its bridge and rules end with it. Its processes and its
//! containerd's socket are the node's like any other.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::image::{APP_PATH, root_tar};
use crate::running::{Finished, Running, run};
use crate::scratch::Scratch;
use crate::wait::patiently;

const DAEMON: &str = "/usr/sbin/dockerd";
/// By its path: another program of this name may come first in `PATH`.
const CLIENT: &str = "/usr/bin/docker";
/// It starts a containerd and writes firewall rules before it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// It waits 15 seconds for a container that does not end.
const END_LIMIT: Duration = Duration::from_secs(30);
const IMAGE: &str = "target-app";

/// See the module.
#[derive(Debug)]
#[must_use = "dockerd and all its containers end when this is dropped"]
pub struct Docker {
    daemon: Running,
    // The last field: what the daemon leaves is cleared after it.
    scratch: Scratch,
}

impl Docker {
    pub fn start() -> Self {
        Self::start_in(Scratch::new())
    }

    /// In a scratch folder of the caller's: one on a quiet node, for instance.
    pub fn start_in(scratch: Scratch) -> Self {
        let mut command = daemon_command(&scratch);
        // Ctrl-C is for the test, which then ends its daemons in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let docker = Self { daemon: Running::start(&mut command), scratch };
        let answers = || docker.docker(&["version"]).status.success();
        let over = || answers() || docker.daemon.has_ended();
        let answers = patiently(START_LIMIT, || over().then(answers));
        assert_eq!(answers, Some(true), "dockerd does not answer; it says:\n{}", docker.log());
        let root = root_tar(docker.scratch.path());
        let change = format!("CMD [\"{APP_PATH}\", \"serve\"]");
        let root = root.to_str().expect("a plain path");
        docker.docker(&["import", "--change", &change, root, IMAGE]).expect_success();
        docker
    }

    /// The socket of the containerd that dockerd brings along.
    pub fn containerd_socket(&self) -> PathBuf {
        self.scratch.path().join("exec/containerd/containerd.sock")
    }

    /// Run the client to its end.
    pub fn docker(&self, arguments: &[&str]) -> Finished {
        let mut client = Command::new(CLIENT);
        client.args(["--host", &host(&self.scratch)]).args(arguments);
        // What a user has configured for their own docker is not for this one.
        run(client
            .env("DOCKER_CONFIG", self.scratch.path().join("client"))
            .env_remove("DOCKER_HOST"))
    }

    /// `docker run --detach --name NAME` of the application.
    pub fn run(&self, name: &str) -> DockerContainer<'_> {
        let started = self.docker(&["run", "--detach", "--name", name, IMAGE]).expect_success();
        let id = started.out().trim().to_owned();
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", name]).expect_success();
        let pid = pid.out().trim().parse().expect("a process number");
        DockerContainer { docker: self, id, pid }
    }

    fn log(&self) -> String {
        self.daemon.stderr()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.daemon.end(END_LIMIT);
    }
}

fn host(scratch: &Scratch) -> String {
    format!("unix://{}", scratch.path().join("docker.sock").display())
}

fn daemon_command(scratch: &Scratch) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "slave", "sh", "-c"]);
    command.args(["ip link set lo up && exec \"$@\"", "sh", DAEMON]);
    let options = [("--data-root", "root"), ("--exec-root", "exec"), ("--pidfile", "docker.pid")];
    for (option, name) in options {
        command.arg(option).arg(scratch.path().join(name));
    }
    command.args(["--host", &host(scratch), "--storage-driver", "vfs"]);
    // The machine's own daemon may have been configured; this one is not to be.
    let configuration = scratch.path().join("daemon.json");
    std::fs::write(&configuration, "{}").expect("a file in an own folder");
    command.arg("--config-file").arg(configuration);
    command.arg("--cgroup-parent").arg(format!("/{}", scratch.name()));
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// A container that docker runs; ended and removed when dropped.
#[derive(Debug)]
#[must_use = "the container ends when this is dropped"]
pub struct DockerContainer<'d> {
    docker: &'d Docker,
    id: String,
    pid: u32,
}

impl DockerContainer<'_> {
    /// The whole ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The ID as `docker ps` prints it.
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// Its first process, as the node numbers it.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for DockerContainer<'_> {
    fn drop(&mut self) {
        // A failure here is repeated by the scratch folder's end, which removes whatever is there.
        self.docker.docker(&["rm", "--force", &self.id]);
    }
}
