//! What the tests stand on: a real node, real container runtimes, our programs as a user runs them.
//!
//! Nothing is mocked. A test starts what it needs, and every such thing is a guard: [`Containerd`] with its
//! [`Container`]s and [`Pods`], [`Docker`], a program that runs ([`Running`]) or sits at a terminal
//! ([`Terminal`]). When the guards are gone the node is as it was, which [`NodeSnapshot`] can prove.
//! What a guard of a killed test left behind is removed by the next one that starts ([`Scratch`]).
//!
//! A failure panics with what was expected, what came, and the output of the program concerned: this crate is
//! only ever used by tests.

#![allow(clippy::missing_panics_doc, reason = "panicking is how a test says what went wrong")]
#![allow(clippy::return_self_not_must_use, reason = "an expectation may be all that is wanted")]
#![allow(clippy::must_use_candidate, reason = "an accessor of a test fixture needs no reminder")]

mod captured;
mod certificates;
mod cgroup;
mod chart;
mod cluster;
mod container;
mod containerd;
mod cri;
mod docker;
mod foreign;
mod image;
pub mod kernel;
mod network;
mod node;
mod process;
mod programs;
mod refused;
mod requirement;
mod running;
mod scratch;
mod served;
pub mod session_process;
mod socket;
mod terminal;
mod toolbox;
mod wait;

pub use certificates::{Certificate, CertificateFiles, Certificates};
pub use cgroup::{OwnGroup, control_groups};
pub use chart::{chart, helm, helm_requirement, plain_manifest, plain_manifest_file, render};
pub use cluster::{
    Cluster, DISTROLESS_IMAGE, Daemon, Person, RELEASE, ReverseProxy, Right, SharedCluster,
};
pub use container::{Container, IdMap, RunSpec};
pub use containerd::{Containerd, Version};
pub use cri::{NamespaceMode, Pod, PodSpec, Pods};
pub use docker::{Docker, DockerContainer};
pub use foreign::{ClientLibrary, python_example};
pub use image::{APP_IMAGE, PAUSE_IMAGE, app_binary, built};
pub use network::{Neighbour, inside, request};
pub use node::NodeSnapshot;
pub use process::{Process, children, private_memory, recycle};
pub use programs::{agent, cargo_target, gateway, plugin};
pub use refused::{assert_doctor, refused};
pub use requirement::{Requirement, may_skip, skip};
pub use running::{Finished, Running, run};
pub use scratch::{QuietNode, Scratch};
pub use served::{Agent, Listener, Serve, memory};
pub use socket::{Answer, Client, Heard, Stream};
pub use terminal::Terminal;
pub use toolbox::toolbox_tree;
pub use wait::{until, until_some};
