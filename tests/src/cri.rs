//! Pods as the kubelet makes them: through containerd's CRI service, with the labels a kubelet sets.

use std::collections::HashMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

use crate::containerd::Containerd;
use crate::image::{APP_IMAGE, APP_PATH};
use message::{
    ContainerConfig, ContainerMetadata, ContainerRequest, ContainerStatusRequest,
    ContainerStatusResponse, CreateContainerRequest, Empty, Identifier, ImageSpec,
    LinuxContainerConfig, LinuxPodSandboxConfig, LinuxSecurityContext, ListPodSandboxResponse,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata, RunPodSandboxRequest,
};

mod message;

/// What a call may take on a machine with two busy cores.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Whose namespace a pod uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum NamespaceMode {
    /// One for all containers of the pod.
    Pod = 0,
    /// One for each container: the default for processes.
    Container = 1,
    /// The node's.
    Node = 2,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct PodSpec {
    namespace: String,
    name: String,
    network: NamespaceMode,
    processes: NamespaceMode,
}

impl PodSpec {
    /// A pod with a network of its own, and a process namespace for each of its containers.
    pub fn new(namespace: &str, name: &str) -> Self {
        let (network, processes) = (NamespaceMode::Pod, NamespaceMode::Container);
        Self { namespace: namespace.to_owned(), name: name.to_owned(), network, processes }
    }

    /// `hostNetwork`.
    #[must_use]
    pub fn host_network(self) -> Self {
        Self { network: NamespaceMode::Node, ..self }
    }

    /// `hostPID` (`Node`) or `shareProcessNamespace` (`Pod`).
    #[must_use]
    pub fn processes(self, processes: NamespaceMode) -> Self {
        Self { processes, ..self }
    }

    fn config(&self, cgroup: &str) -> PodSandboxConfig {
        let uid = format!("uid-of-{}-{}", self.namespace, self.name);
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: self.name.clone(),
                uid: uid.clone(),
                namespace: self.namespace.clone(),
                attempt: 0,
            }),
            // The kubelet gives no name to a pod on the node's network.
            hostname: match self.network {
                NamespaceMode::Node => String::new(),
                _ => self.name.clone(),
            },
            labels: self.labels(&uid),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: cgroup.to_owned(),
                security_context: Some(self.security()),
            }),
        }
    }

    fn labels(&self, uid: &str) -> HashMap<String, String> {
        let values = [("name", self.name.as_str()), ("namespace", &self.namespace), ("uid", uid)];
        values.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.to_owned())).into()
    }

    fn security(&self) -> LinuxSecurityContext {
        LinuxSecurityContext { as_sandbox: Some(self.namespaces()), as_container: None }
    }

    fn namespaces(&self) -> NamespaceOption {
        let (network, processes) = (self.network as i32, self.processes as i32);
        NamespaceOption { network, pid: processes, ipc: NamespaceMode::Pod as i32 }
    }
}

/// The CRI service of one containerd.
#[derive(Debug)]
pub struct Pods<'c> {
    containerd: &'c Containerd,
    runtime: Runtime,
    channel: Channel,
}

impl<'c> Pods<'c> {
    pub(crate) fn of(containerd: &'c Containerd) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime on this thread");
        let address = format!("unix://{}", containerd.socket().display());
        let endpoint = Endpoint::try_from(address).expect("a socket's path is an address");
        let channel = runtime.block_on(endpoint.connect()).expect("containerd answers");
        Self { containerd, runtime, channel }
    }

    /// Start a pod without any container but its first.
    pub fn run(&self, spec: &PodSpec) -> Pod<'_> {
        let config = spec.config(&self.containerd.cgroup());
        let request =
            RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let sandbox: Identifier = self.call("RunPodSandbox", request);
        Pod { pods: self, spec: spec.clone(), config, sandbox: sandbox.id }
    }

    /// The IDs of all pods there are.
    pub fn sandboxes(&self) -> Vec<String> {
        let answer: ListPodSandboxResponse = self.call("ListPodSandbox", Empty {});
        answer.items.into_iter().map(|sandbox| sandbox.id).collect()
    }

    fn call<Q, A>(&self, method: &str, question: Q) -> A
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.try_call(method, question)
            .unwrap_or_else(|status| panic!("CRI {method} failed: {}", status.message()))
    }

    fn try_call<Q, A>(&self, method: &str, question: Q) -> Result<A, tonic::Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path = format!("/runtime.v1.RuntimeService/{method}");
        let path = PathAndQuery::try_from(path).expect("a method's name is a path");
        let mut request = Request::new(question);
        request.set_timeout(CALL_LIMIT);
        self.runtime.block_on(async {
            let mut service = tonic::client::Grpc::new(self.channel.clone());
            service.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
            let codec = tonic_prost::ProstCodec::<Q, A>::default();
            service.unary(request, path, codec).await.map(tonic::Response::into_inner)
        })
    }
}

/// A pod that runs; ended and removed when dropped.
#[derive(Debug)]
#[must_use = "the pod ends when this is dropped"]
pub struct Pod<'p> {
    pods: &'p Pods<'p>,
    spec: PodSpec,
    config: PodSandboxConfig,
    sandbox: String,
}

impl Pod<'_> {
    /// The ID of the pod itself, which is that of its first container.
    pub fn sandbox(&self) -> &str {
        &self.sandbox
    }

    /// Make a container called `name` and start it with these arguments of the application: its ID.
    pub fn start(&self, name: &str, arguments: &[&str]) -> String {
        let id = self.create(name, arguments);
        let _: Empty = self.pods.call("StartContainer", Identifier { id: id.clone() });
        id
    }

    /// Make a container and do not start it: its ID.
    pub fn create(&self, name: &str, arguments: &[&str]) -> String {
        let mut labels = self.config.labels.clone();
        labels.insert("io.kubernetes.container.name".to_owned(), name.to_owned());
        let words = std::iter::once(APP_PATH).chain(arguments.iter().copied());
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(ImageSpec { image: APP_IMAGE.to_owned() }),
            command: words.map(str::to_owned).collect(),
            labels,
            linux: Some(LinuxContainerConfig {
                security_context: Some(LinuxSecurityContext {
                    as_sandbox: None,
                    as_container: Some(self.spec.namespaces()),
                }),
            }),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: self.sandbox.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        self.pods.call::<_, Identifier>("CreateContainer", request).id
    }

    /// Kill a container; it stays, stopped.
    pub fn stop(&self, container: &str) {
        let request = ContainerRequest { id: container.to_owned(), timeout: 0 };
        let _: Empty = self.pods.call("StopContainer", request);
    }

    /// The first process of a container, as the node numbers it.
    pub fn pid(&self, container: &str) -> u32 {
        let request = ContainerStatusRequest { id: container.to_owned(), verbose: true };
        let answer: ContainerStatusResponse = self.pods.call("ContainerStatus", request);
        let info = answer.info.get("info").expect("a verbose status has information");
        let info: serde_json::Value = serde_json::from_str(info).expect("it is JSON");
        info["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("it has a process number")
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            // A failure here is repeated by the scratch folder's end, which removes whatever is there.
            let _: Result<Empty, _> =
                self.pods.try_call(method, Identifier { id: self.sandbox.clone() });
        }
    }
}
