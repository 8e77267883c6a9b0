//! The API server as a gateway meets it: the few paths it calls, and what they answer in this test.
//!
//! Plain HTTP and one mutable world. What real ones do is tried on a real cluster.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the API server knows and does.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// By path.
    pub(crate) objects: BTreeMap<String, Value>,
    /// Rights that are denied, as `VERB RESOURCE`.
    pub(crate) denied: HashSet<String>,
    /// Every right that was asked for, as `VERB GROUP/RESOURCE NAMESPACE NAME`, and by whom.
    pub(crate) asked: Vec<(String, Value)>,
    /// What a token is answered with.
    pub(crate) tokens: BTreeMap<String, Value>,
    pub(crate) tokens_reviewed: usize,
    pub(crate) reviews: Reviews,
    /// Rights of which the API server cannot say anything.
    pub(crate) failing: HashSet<String>,
    /// How many of those it was asked for.
    failed: usize,
    pub(crate) pods_read: usize,
    /// Nobody hears anything of a pod.
    pub(crate) pods_hang: bool,
    version: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reviews {
    #[default]
    Answered,
    Failing,
    Hanging,
}

/// A running one; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct ApiServer {
    world: Arc<Mutex<World>>,
    pub(crate) address: SocketAddr,
}

impl ApiServer {
    /// Counts the question; whether there is to be no answer.
    fn asked_for_pod(&self) -> bool {
        let mut world = self.world();
        world.pods_read += 1;
        world.pods_hang
    }

    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Self { world: Arc::default(), address };
        let router = Router::new()
            .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(review_access))
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review_token))
            .route("/{*path}", get(object).post(object).put(object).patch(object))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic elsewhere")
    }

    pub(crate) fn client(&self) -> kube::Client {
        let url = format!("http://{}", self.address).parse().expect("a URL");
        kube::Client::try_from(kube::Config::new(url)).expect("a client")
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.world().put(path, object);
    }
}

impl World {
    fn is_yet_to_fail(&self) -> bool {
        self.failed < self.failing.len()
    }

    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    /// Creates, replaces or patches as a real one does, conflicts included.
    fn write(&mut self, method: &Method, path: &str, new: Value) -> Result<Value, StatusCode> {
        if method == Method::POST {
            let name = new["metadata"]["name"].as_str().expect("a name").to_owned();
            let path = format!("{path}/{name}");
            if self.objects.contains_key(&path) {
                return Err(StatusCode::CONFLICT);
            }
            return Ok(self.put(&path, new));
        }
        let mut there = self.objects.get(path).cloned().ok_or(StatusCode::NOT_FOUND)?;
        if method == Method::PATCH {
            for (key, value) in new["spec"].as_object().expect("a spec") {
                there["spec"][key] = value.clone();
            }
            return Ok(self.put(path, there));
        }
        if there["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"] {
            return Err(StatusCode::CONFLICT);
        }
        Ok(self.put(path, new))
    }
}

async fn object(
    State(server): State<ApiServer>,
    method: Method,
    Path(path): Path<String>,
    body: Bytes,
) -> Response {
    if path.contains("/pods/") && server.asked_for_pod() {
        std::future::pending::<()>().await;
    }
    let mut world = server.world();
    let done = match method {
        Method::GET => world.objects.get(&path).cloned().ok_or(StatusCode::NOT_FOUND),
        _ => world.write(&method, &path, serde_json::from_slice(&body).expect("JSON")),
    };
    match done {
        Ok(object) => axum::Json(object).into_response(),
        Err(code) => failure(code),
    }
}

fn failure(code: StatusCode) -> Response {
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "Failure" };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "as the test wants it", "reason": reason, "code": code.as_u16(),
    });
    (code, axum::Json(status)).into_response()
}

async fn review_access(State(server): State<ApiServer>, body: Bytes) -> Response {
    let mut review: Value = serde_json::from_slice(&body).expect("JSON");
    let reviews = server.world().reviews;
    match reviews {
        Reviews::Answered => {}
        Reviews::Failing => return failure(StatusCode::INTERNAL_SERVER_ERROR),
        Reviews::Hanging => std::future::pending().await,
    }
    let wanted = &review["spec"]["resourceAttributes"];
    let text = |key: &str| wanted[key].as_str().unwrap_or("-").to_owned();
    let mut resource = text("resource");
    if let Some(subresource) = wanted["subresource"].as_str() {
        resource = format!("{resource}/{subresource}");
    }
    let resource = format!("{}/{resource}", text("group"));
    let right = format!("{} {resource}", text("verb"));
    if server.world().failing.contains(&right) {
        server.world().failed += 1;
        return failure(StatusCode::INTERNAL_SERVER_ERROR);
    }
    // A no comes after what cannot be said, where there is such.
    while server.world().is_yet_to_fail() {
        tokio::task::yield_now().await;
    }
    let mut world = server.world();
    let asked = format!("{right} {} {}", text("namespace"), text("name"));
    world.asked.push((asked, review["spec"].clone()));
    review["status"] = json!({"allowed": !world.denied.contains(&right)});
    axum::Json(review).into_response()
}

async fn review_token(State(server): State<ApiServer>, body: Bytes) -> Response {
    let mut review: Value = serde_json::from_slice(&body).expect("JSON");
    let mut world = server.world();
    world.tokens_reviewed += 1;
    if world.reviews == Reviews::Failing {
        return failure(StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(review["spec"]["audiences"], json!(["nsdebug-gateway"]));
    let token = review["spec"]["token"].as_str().expect("a token");
    let unknown = json!({"authenticated": false});
    review["status"] = world.tokens.get(token).cloned().unwrap_or(unknown);
    axum::Json(review).into_response()
}
