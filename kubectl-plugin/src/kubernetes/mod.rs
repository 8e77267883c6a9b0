//! The cluster: one configuration, one connection, and the few things that it is asked.
//!
//! A session of `pod/NAME` is one request: which node, which container and whether one may are all
//! the gateway's to find out. Only what has many pods is looked up before.

mod client;
mod config;
mod credential;
mod dry_run;
pub(crate) mod error;
mod events;
mod expiry;
mod kubeconfig;
mod listing;
mod pods;
mod proxy;
mod unusable;

use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::client::{Body, Client};
use kube::core::WatchEvent;
use kube::{Config, Error as KubeError};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;
use tracing::debug;
use unusable::Unusable;
use wire::api::{GROUP, SERVER, VERSION};
use wire::{ApiTarget, ObjectName, TimeSpan};

use crate::cli::{CertificateFlags, ClusterFlags};
use crate::connect::{Connection, upgrade};
use crate::target::Workload;
use crate::verbose;
use error::{BadAnswer, ClusterError, TargetError};
pub(crate) use listing::{ListedPod, PodQuery};
use listing::{PAGE, Page};

/// What one answer may take; a gateway waits for an agent, and that for its container runtime.
const ANSWER: Duration = Duration::from_mins(1);

/// Seconds of one watch: shorter than what stands between keeps a silent connection.
const WATCH: u32 = 290;

/// Bytes of one answer: ten thousand pods and what they say of themselves.
const LONGEST_ANSWER: usize = 256 << 20;

pub(crate) const AGENT: &str = concat!("kubectl-nsdebug/", env!("CARGO_PKG_VERSION"));

/// What a session is to be in, where it is asked for at the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClusterTarget {
    Pod(ObjectName),
    Node(ObjectName),
    /// A pod of it.
    Workload {
        kind: Workload,
        name: ObjectName,
    },
    /// One of these pods.
    Selected(PodQuery),
}

impl ClusterTarget {
    /// Whether it has many pods, of which one is taken.
    pub(crate) fn has_pods(&self) -> bool {
        matches!(self, Self::Workload { .. } | Self::Selected(_))
    }
}

/// A cluster that can be asked.
pub(crate) struct Cluster {
    client: Client,
    config: Config,
    limit: Duration,
}

impl Cluster {
    /// Nothing is sent yet; a credential program is run, if the kubeconfig names one.
    pub(crate) async fn open(
        flags: &ClusterFlags,
        certificates: &CertificateFlags,
    ) -> Result<Self, ClusterError> {
        // The `kube` crate takes the process' default; there is none where another is linked in too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let began = Instant::now();
        let config = config::load(flags, certificates).await?;
        let (server, namespace) = (verbose::host(&config.cluster_url), &config.default_namespace);
        debug!(%server, namespace, took = ?began.elapsed(), "configured");
        let client = client::of(&config).map_err(Unusable::new)?;
        let limit = flags
            .request_timeout
            .map(TimeSpan::duration)
            .filter(|limit| !limit.is_zero())
            .unwrap_or(ANSWER);
        Ok(Self { client, config, limit })
    }

    /// As the person knows it: host and port.
    pub(crate) fn server(&self) -> String {
        let url = &self.config.cluster_url;
        url.authority().map_or_else(|| url.to_string(), ToString::to_string)
    }

    /// Where things are that no `-n` is given for.
    pub(crate) fn default_namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// Opens the session of `query` in `target`.
    pub(crate) async fn session(
        &self,
        target: &ApiTarget,
        query: &str,
    ) -> Result<Connection, ClusterError> {
        let key = upgrade::generate_key();
        let path = format!("{}?{query}", target.path());
        let request = upgrade::request(&path, &key).body(Body::empty());
        let request = request
            .map_err(|error| ClusterError::Upgrade(upgrade::UpgradeError::Request(error)))?;
        let response = self.send(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return upgrade::begin(response, &key).await.map_err(ClusterError::Upgrade);
        }
        let code = response.status();
        let body = upgrade::beginning(response.into_body()).await;
        let error = self.judge(ClusterError::from_answer(code, &body));
        Err(self.explain(error, code, target).await)
    }

    /// The pod or node that `place` comes to.
    pub(crate) async fn resolve(
        &self,
        place: &ClusterTarget,
        namespace: &str,
    ) -> Result<ApiTarget, ClusterError> {
        let pod = |name: ObjectName| -> Result<ApiTarget, ClusterError> {
            let unnamed = |_| TargetError::Namespace { given: namespace.to_owned() };
            let namespace = namespace.parse().map_err(unnamed).map_err(ClusterError::Target)?;
            Ok(ApiTarget::Pod { namespace, name })
        };
        match place {
            ClusterTarget::Pod(name) => pod(name.clone()),
            ClusterTarget::Node(name) => Ok(ApiTarget::Node { name: name.clone() }),
            ClusterTarget::Workload { kind, name } => {
                let query = self.pods_of(*kind, name, namespace).await?;
                let what = format!("{}/{name}", kind.names()[0]);
                pod(self.pod_of(&query, &what, namespace).await?)
            }
            ClusterTarget::Selected(query) => {
                pod(self.pod_of(query, &query.to_string(), namespace).await?)
            }
        }
    }

    /// What the pods of a workload are asked for by.
    pub(crate) async fn pods_of(
        &self,
        kind: Workload,
        name: &ObjectName,
        namespace: &str,
    ) -> Result<PodQuery, ClusterError> {
        let path = format!("{}/{name}", kind.path(namespace));
        let object: Value = self.get(&path).await?;
        let what = format!("{}/{name}", kind.names()[0]);
        let labels = pods::selector_of(kind, &object, &what).map_err(ClusterError::Target)?;
        Ok(PodQuery { labels: Some(labels), fields: None })
    }

    async fn pod_of(
        &self,
        query: &PodQuery,
        what: &str,
        namespace: &str,
    ) -> Result<ObjectName, ClusterError> {
        let pods: List<Pod> = self.get(&query.path(Some(namespace))).await?;
        let none = || {
            let (what, namespace) = (what.to_owned(), namespace.to_owned());
            ClusterError::Target(TargetError::NoPods { what, namespace })
        };
        let name = pods::best(pods.items).ok_or_else(none)?.metadata.name.unwrap_or_default();
        name.parse().map_err(|_| ClusterError::Target(TargetError::Name))
    }

    /// Gives every pod of `query`, of one namespace or of all, to `take`. Returns the version that a watch goes on from.
    pub(crate) async fn list(
        &self,
        namespace: Option<&str>,
        query: &PodQuery,
        mut take: impl FnMut(ListedPod),
    ) -> Result<String, ClusterError> {
        let path = format!("{}&limit={PAGE}", query.path(namespace));
        let mut next = Some(path.clone());
        let mut version = String::new();
        while let Some(here) = next {
            let page: Page = self.get(&here).await?;
            next = page.next(&path);
            page.version().clone_into(&mut version);
            page.items.into_iter().for_each(&mut take);
        }
        Ok(version)
    }

    /// What becomes of the pods of `query` from `version` on.
    pub(crate) async fn watch(
        &self,
        namespace: Option<&str>,
        query: &PodQuery,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<ListedPod>, ClusterError>>, ClusterError> {
        let version = utf8_percent_encode(version, NON_ALPHANUMERIC);
        let path = query.path(namespace);
        let request = Request::get(format!(
            "{path}&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH}&resourceVersion={version}"
        ));
        let request = request.header(header::USER_AGENT, AGENT).body(Vec::new());
        let request = request
            .map_err(|error| ClusterError::Upgrade(upgrade::UpgradeError::Request(error)))?;
        let server = self.server();
        let failed = move |error: KubeError| ClusterError::from_transport(&server, error);
        let opening = timeout(self.limit, self.client.request_events::<ListedPod>(request));
        let events = opening.await.map_err(|_| self.silent())?.map_err(&failed)?;
        Ok(events.map(move |event| event.map_err(&failed)))
    }

    /// What a refused session means, asking once more where the answer alone does not say it.
    async fn explain(
        &self,
        error: ClusterError,
        code: StatusCode,
        target: &ApiTarget,
    ) -> ClusterError {
        let error = match (error, target) {
            (ClusterError::Status(status), ApiTarget::Pod { namespace, name })
                if status.is_of_pod_not_begun() =>
            {
                match self.last_event(namespace.as_str(), name.as_str()).await {
                    Some(event) => return ClusterError::NotBegun { status, event },
                    None => ClusterError::Status(status),
                }
            }
            (error, _) => error,
        };
        let unknown = matches!(code, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
        if unknown && !matches!(error, ClusterError::Tool(_)) && self.is_missing().await {
            return ClusterError::NotInstalled;
        }
        error
    }

    /// The last that happened to a pod; nothing where its user may not list events.
    async fn last_event(&self, namespace: &str, pod: &str) -> Option<String> {
        let events: List<Event> = self.get(&events::path(namespace, pod)).await.ok()?;
        events::last(&events.items)
    }

    /// Whether the API server surely has no such API group; who may not even get a session may ask that.
    async fn is_missing(&self) -> bool {
        let path = format!("/apis/{GROUP}");
        self.get::<Value>(&path).await.is_err_and(|error| error.is_not_found())
    }

    /// The version of the gateway that answers: it says so in `Server`.
    pub(crate) async fn gateway_version(&self) -> Result<String, ClusterError> {
        let path = format!("/apis/{GROUP}/{VERSION}");
        let response = self.exchange(Method::GET, &path, Bytes::new()).await;
        let response = response.map_err(ClusterError::not_installed_if_not_found)?;
        let server = response.headers().get(header::SERVER).and_then(|name| name.to_str().ok());
        let version = server.and_then(|server| server.strip_prefix(SERVER)?.strip_prefix('/'));
        Ok(version.unwrap_or("unknown").to_owned())
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClusterError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Creates something that is only an answer, such as a review.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, ClusterError> {
        self.ask(Method::POST, path, object.to_string().into()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClusterError> {
        let response = self.exchange(method, path, body).await?;
        let reading = timeout(self.limit, whole(response.into_body()));
        let body = reading.await.map_err(|_| self.silent())?.map_err(ClusterError::Answer)?;
        serde_json::from_slice(&body).map_err(|error| ClusterError::Answer(error.into()))
    }

    /// An answer of success, its body still to be read.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<hyper::Response<Body>, ClusterError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::USER_AGENT, AGENT)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_vec()));
        let request = request
            .map_err(|error| ClusterError::Upgrade(upgrade::UpgradeError::Request(error)))?;
        let response = self.send(request).await?;
        let code = response.status();
        if code.is_success() {
            return Ok(response);
        }
        let body = upgrade::beginning(response.into_body()).await;
        Err(self.judge(ClusterError::from_answer(code, &body)))
    }

    async fn send(&self, request: Request<Body>) -> Result<hyper::Response<Body>, ClusterError> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (host, began) = (verbose::host(&self.config.cluster_url), Instant::now());
        let sending = timeout(self.limit, self.client.send(request));
        let sent = sending.await.map_err(|_| self.silent())?;
        let code = sent.as_ref().ok().map(|response| response.status().as_u16());
        debug!(%method, %host, %path, code, took = ?began.elapsed(), "asked");
        sent.map_err(|error| ClusterError::from_transport(&self.server(), error))
    }

    fn silent(&self) -> ClusterError {
        ClusterError::Silent { server: self.server(), limit: self.limit }
    }

    /// A refusal of who we are, with what is wrong with our credentials as far as that shows.
    fn judge(&self, error: ClusterError) -> ClusterError {
        match error {
            ClusterError::Unauthorized { message, .. } => {
                let expired = expiry::of(&self.config.auth_info);
                ClusterError::Unauthorized { message, expired }
            }
            error => error,
        }
    }
}

/// The names in a list of the kubeconfig: `contexts`, `clusters` or `users`.
pub(crate) fn configured(flags: &ClusterFlags, list: &str) -> Vec<String> {
    kubeconfig::names(flags.kubeconfig.as_deref(), list)
}

async fn whole(mut body: Body) -> Result<Vec<u8>, BadAnswer> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BadAnswer::Read(Box::new(error)))?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > LONGEST_ANSWER {
                return Err(BadAnswer::TooLong { most: LONGEST_ANSWER });
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read)
}
