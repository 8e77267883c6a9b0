//! containerd over its gRPC socket: the questions, their limits, and what their failures mean.
//!
//! The connection is made by the first question and again after containerd restarts. Nothing is
//! cached and no event is watched: an answer is never older than the question.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::version_client::VersionClient;
use containerd_client::services::v1::{GetRequest, ListContainersRequest, ListNamespacesRequest};
use entry::Moment;
use futures_util::future::{join, join_all, try_join, try_join_all};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response};
use wire::{ContainerPrefix, Label, ObjectName};

use super::choose::{self, KUBERNETES, USUAL};
use super::error::{LocateError, Unreachable};
use super::located::{Located, PodIdentity};
use super::record::{ContainerRecord, Role};
use super::task::TaskState;
use super::{ContainerRuntime, Query, filter};

/// One question, connecting included. A node under memory pressure answers in tenths of a second;
/// past this, the person who waits should know.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// One answer. containerd sends at most this; a list of a full node is a few MiB of OCI specs.
const ANSWER_BYTES: usize = 16 << 20;

/// containerd behind one unix socket.
#[derive(Debug)]
pub struct Containerd {
    socket: PathBuf,
    /// Made by the first question: it needs the async runtime, which `new` does not.
    channel: OnceLock<Channel>,
}

impl Containerd {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), channel: OnceLock::new() }
    }

    async fn by_id(
        &self,
        prefix: &ContainerPrefix,
        namespace: Option<&str>,
    ) -> Result<Located, LocateError> {
        let filter = filter::id_begins(prefix);
        let likely = namespace.map_or_else(|| choose::likely_namespaces(prefix), |only| vec![only]);
        let search = async {
            match namespace {
                Some(only) => {
                    let searched = vec![only.to_owned()];
                    let records = self.containers_of(&searched, &filter).await?;
                    Ok((searched, records))
                }
                None => self.everywhere(&filter).await,
            }
        };
        // What was given may be the whole ID, and then its task need not be asked for afterwards.
        let called = self.tasks_called(&likely, prefix.as_str());
        let (found, called) = join(search, called).await;
        let (searched, records) = found?;
        let record = choose::by_id(prefix.as_str(), &searched, records)?;
        if let Role::Sandbox(pod) = &record.role {
            return Err(self.sandbox_refused(&record, pod).await?);
        }
        let known = called.into_iter().find(|(within, _)| *within == record.namespace);
        let state = match known {
            Some((_, state)) if record.id == prefix.as_str() => state,
            _ => self.task(&record.namespace, &record.id).await?,
        };
        let siblings = match (&record.role, state) {
            (_, TaskState::Running { pid }) => return Ok(record.running_as(pid)),
            (Role::Member(pod), _) => self.siblings(&record, pod).await?,
            _ => Vec::new(),
        };
        self.or_sandbox(record, state, &siblings).await
    }

    /// The containers of all containerd namespaces, and the names of those.
    async fn everywhere(
        &self,
        filter: &str,
    ) -> Result<(Vec<String>, Vec<ContainerRecord>), LocateError> {
        let usual = USUAL.map(str::to_owned);
        // An absent namespace has no containers, so it costs nothing to ask in it meanwhile.
        let (names, mut records) =
            try_join(self.namespaces(), self.containers_of(&usual, filter)).await?;
        let rest: Vec<String> =
            names.iter().filter(|name| !usual.contains(name)).cloned().collect();
        records.extend(self.containers_of(&rest, filter).await?);
        Ok((names, records))
    }

    async fn containers_of(
        &self,
        namespaces: &[String],
        filter: &str,
    ) -> Result<Vec<ContainerRecord>, LocateError> {
        let lists =
            namespaces.iter().map(|namespace| self.containers(namespace, filter.to_owned()));
        Ok(try_join_all(lists).await?.into_iter().flatten().collect())
    }

    /// What is known of the tasks of containers with this very ID. It may be no ID at all, so that
    /// a question which fails has told nothing.
    async fn tasks_called<'a>(
        &self,
        namespaces: &[&'a str],
        id: &str,
    ) -> Vec<(&'a str, TaskState)> {
        let tasks = namespaces.iter().map(|&namespace| async move {
            Some((namespace, self.task(namespace, id).await.ok()?))
        });
        join_all(tasks).await.into_iter().flatten().collect()
    }

    /// Everything of the pods that have the name of this record's.
    async fn siblings(
        &self,
        record: &ContainerRecord,
        pod: &PodIdentity,
    ) -> Result<Vec<ContainerRecord>, LocateError> {
        match filter::of_reported_pod(&pod.namespace, &pod.name) {
            Some(filter) => self.containers(&record.namespace, filter).await,
            None => Ok(Vec::new()),
        }
    }

    /// A container where it runs; else the sandbox of its pod, where there is one that does.
    async fn or_sandbox(
        &self,
        record: ContainerRecord,
        state: TaskState,
        siblings: &[ContainerRecord],
    ) -> Result<Located, LocateError> {
        let what = format!("container {record} is {state}");
        let sandbox = match (&record.role, state) {
            (_, TaskState::Running { .. }) | (Role::Alone | Role::Sandbox(_), _) => None,
            (Role::Member(pod), _) => {
                let found = self.sandbox(&pod.uid, siblings).await?;
                found.map(|(sandbox, pid)| (sandbox, pid, pod.container.clone()))
            }
        };
        match sandbox {
            Some((sandbox, pid, container)) => Ok(sandbox.standing_in(pid, container, what)),
            None => running(record, state),
        }
    }

    /// The sandbox of the pod with this `uid` and its process, where it runs.
    async fn sandbox(
        &self,
        uid: &str,
        records: &[ContainerRecord],
    ) -> Result<Option<(ContainerRecord, u32)>, LocateError> {
        let Some(sandbox) = choose::sandbox_of(uid, records) else { return Ok(None) };
        match self.task(&sandbox.namespace, &sandbox.id).await? {
            TaskState::Running { pid } => Ok(Some((sandbox, pid))),
            _ => Ok(None),
        }
    }

    /// The sandbox of a pod whose containers, or the one that is meant, do not exist.
    async fn instead(
        &self,
        pod: String,
        container: Option<&Label>,
        records: &[ContainerRecord],
    ) -> Result<Located, LocateError> {
        let sandbox = match choose::newest_pod(records) {
            Some(uid) => self.sandbox(&uid, records).await?,
            None => None,
        };
        let Some((sandbox, pid)) = sandbox else { return Err(LocateError::NoSandbox { pod }) };
        let what = match container {
            Some(container) => format!("container {container} of pod {pod} does not exist"),
            None => format!("pod {pod} has no container yet"),
        };
        let container = container.map_or_else(String::new, ToString::to_string);
        Ok(sandbox.standing_in(pid, container, what))
    }

    /// The refusal of a sandbox's ID, with the names that would work.
    async fn sandbox_refused(
        &self,
        record: &ContainerRecord,
        pod: &PodIdentity,
    ) -> Result<LocateError, LocateError> {
        let siblings = self.siblings(record, pod).await?;
        let containers = choose::of_newest_pod(siblings);
        Ok(LocateError::IsSandbox {
            container: format!("{}/{}", record.namespace, record.id),
            pod: pod.to_string(),
            containers: containers.into_iter().map(|(_, pod)| pod.container).collect(),
        })
    }

    async fn by_pod(
        &self,
        (namespace, name): (&Label, &ObjectName),
        container: Option<&Label>,
        containerd_namespace: &str,
        declared: bool,
    ) -> Result<Located, LocateError> {
        let pod = format!("{namespace}/{name}");
        let records =
            self.containers(containerd_namespace, filter::of_pod(namespace, name)).await?;
        if records.is_empty() && declared {
            return Err(LocateError::NoSandbox { pod });
        }
        if records.is_empty() {
            let filter = filter::sandboxes_of(namespace);
            let others = self.containers(containerd_namespace, filter).await?;
            let names = others.iter().filter_map(|record| Some(record.role.pod()?.name.clone()));
            return Err(LocateError::NoSuchPod { pod, pods: names.collect() });
        }
        let members = choose::of_newest_pod(records.clone());
        let names = members.iter().map(|(_, pod)| pod.container.clone()).collect();
        let wanted =
            |pod: &PodIdentity| container.is_none_or(|name| name.as_str() == pod.container);
        let attempts =
            members.into_iter().filter(|(_, pod)| wanted(pod)).map(|(record, _)| async {
                let state = self.task(&record.namespace, &record.id).await?;
                Ok::<_, LocateError>((record, state))
            });
        match (choose::attempt(try_join_all(attempts).await?), container) {
            (Some((record, state)), _) => self.or_sandbox(record, state, &records).await,
            (None, Some(container)) if !declared => Err(LocateError::NoSuchContainerInPod {
                pod,
                container: container.to_string(),
                containers: names,
            }),
            (None, container) => self.instead(pod, container, &records).await,
        }
    }

    async fn namespaces(&self) -> Result<Vec<String>, LocateError> {
        let answer = self
            .ask("list its namespaces", |channel| async move {
                let request = ListNamespacesRequest::default();
                NamespacesClient::new(channel).list(request).await
            })
            .await?;
        Ok(answer.namespaces.into_iter().map(|namespace| namespace.name).collect())
    }

    async fn containers(
        &self,
        namespace: &str,
        filter: String,
    ) -> Result<Vec<ContainerRecord>, LocateError> {
        let within = header(namespace)?;
        let answer = self
            .ask("list its containers", |channel| {
                let request = ListContainersRequest { filters: vec![filter.clone()] };
                let request = namespaced(request, within.clone());
                async move {
                    let client = ContainersClient::new(channel);
                    client.max_decoding_message_size(ANSWER_BYTES).list(request).await
                }
            })
            .await?;
        let records = answer.containers.into_iter();
        Ok(records.map(|container| ContainerRecord::read(namespace, container)).collect())
    }

    async fn task(&self, namespace: &str, id: &str) -> Result<TaskState, LocateError> {
        let within = header(namespace)?;
        let answer = self
            .ask("describe a container's task", |channel| {
                let request = GetRequest { container_id: id.to_owned(), exec_id: String::new() };
                let request = namespaced(request, within.clone());
                async move { TasksClient::new(channel).get(request).await }
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.process.map_or(TaskState::Unknown, |p| TaskState::read(&p))),
            Err(LocateError::Answer { source, .. }) if source.code() == Code::NotFound => {
                Ok(TaskState::Absent)
            }
            Err(other) => Err(other),
        }
    }

    /// One question within its limit. They all only read, so one that met a connection which a
    /// restart of containerd had closed is asked once more.
    async fn ask<T, F>(
        &self,
        asked: &'static str,
        question: impl Fn(Channel) -> F,
    ) -> Result<T, LocateError>
    where
        F: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        let asking = async {
            match question(self.channel()).await {
                Err(status) if is_transport(&status) => question(self.channel()).await,
                answer => answer,
            }
        };
        let unreachable = |source| LocateError::Unreachable { socket: self.socket.clone(), source };
        match tokio::time::timeout(CALL_LIMIT, asking).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if is_transport(&status) => Err(unreachable(diagnosis(status))),
            Ok(Err(status)) => Err(LocateError::Answer { asked, source: Box::new(status) }),
            Err(_) => Err(unreachable(Unreachable::Silent { seconds: CALL_LIMIT.as_secs() })),
        }
    }

    fn channel(&self) -> Channel {
        let connect = || {
            let socket = self.socket.clone();
            let connector = tower::service_fn(move |_: Uri| {
                let socket = socket.clone();
                async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
            });
            // The URI only fills the HTTP/2 `:authority`; the connector knows where to go.
            Endpoint::from_static("http://containerd").connect_with_connector_lazy(connector)
        };
        self.channel.get_or_init(connect).clone()
    }
}

impl ContainerRuntime for Containerd {
    async fn locate(&self, query: &Query) -> Result<Located, LocateError> {
        let asked = Moment::now();
        let located = match query {
            Query::Container { prefix, namespace } => {
                self.by_id(prefix, namespace.as_deref()).await?
            }
            Query::Pod { namespace, name, container, containerd_namespace, declared } => {
                let within = containerd_namespace.as_deref().unwrap_or(KUBERNETES);
                let pod = (namespace, name);
                self.by_pod(pod, container.as_ref(), within, *declared).await?
            }
        };
        Ok(Located { asked, ..located })
    }

    async fn confirm(&self, located: &Located) -> Result<(), LocateError> {
        let container = || format!("{}/{}", located.namespace, located.id);
        match self.task(&located.namespace, &located.id).await? {
            TaskState::Running { pid } if pid == located.pid => Ok(()),
            TaskState::Running { pid: now } => {
                Err(LocateError::Restarted { container: container(), before: located.pid, now })
            }
            state => Err(LocateError::NotRunning { container: container(), state }),
        }
    }

    async fn probe(&self) -> Result<String, LocateError> {
        let ask = |channel| async move { VersionClient::new(channel).version(()).await };
        let answer = self.ask("tell its version", ask).await?;
        Ok(format!("containerd {}", answer.version))
    }
}

fn running(record: ContainerRecord, state: TaskState) -> Result<Located, LocateError> {
    match state {
        TaskState::Running { pid } => Ok(record.running_as(pid)),
        state => Err(LocateError::NotRunning { container: record.to_string(), state }),
    }
}

fn header(namespace: &str) -> Result<MetadataValue<Ascii>, LocateError> {
    namespace.parse().map_err(|_| LocateError::BadNamespace { given: namespace.to_owned() })
}

fn namespaced<T>(message: T, namespace: MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", namespace);
    request
}

fn causes(status: &tonic::Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |error| (**error).source())
}

/// Whether this was said by the connection, not by containerd.
fn is_transport(status: &tonic::Status) -> bool {
    causes(status).any(|cause| cause.is::<tonic::transport::Error>() || cause.is::<io::Error>())
}

fn diagnosis(status: tonic::Status) -> Unreachable {
    let kind = causes(&status).find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    match kind {
        Some(io::ErrorKind::NotFound) => Unreachable::Missing,
        Some(io::ErrorKind::PermissionDenied) => Unreachable::Denied,
        Some(io::ErrorKind::ConnectionRefused) => Unreachable::Refused,
        _ => Unreachable::Broken(Box::new(status)),
    }
}
