//! What the API server may ask about this API: constants, so that the answer is always there.
//!
//! An API that cannot be discovered keeps every namespace of the cluster from being deleted. Nothing
//! here asks anybody, waits or fails.

use std::fmt::Write;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wire::api::{GROUP, SERVER, VERSION};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What aggregated discovery asks for and must be told in exactly these words.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

static SERVED_BY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let text = format!("{SERVER}/{}", env!("CARGO_PKG_VERSION"));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(SERVER))
});

/// One document, with the tag by which it is known to be the same.
struct Document {
    text: String,
    tag: HeaderValue,
    hash: String,
}

static GROUPS: LazyLock<Document> = LazyLock::new(|| {
    Document::new(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]}))
});

static GROUP_DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let mut document = group();
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Document::new(&document)
});

static RESOURCES: LazyLock<Document> = LazyLock::new(|| {
    let resource = |name: &str, namespaced: bool, kind: &str| {
        json!({
            "name": name, "singularName": "", "namespaced": namespaced,
            "group": GROUP, "version": VERSION, "kind": kind, "verbs": ["create", "get"],
        })
    };
    Document::new(&json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [
            resource("nodes/exec", false, "NodeExecOptions"),
            resource("pods/exec", true, "PodExecOptions"),
        ],
    }))
});

static AGGREGATED_GROUPS: LazyLock<Document> = LazyLock::new(|| {
    // A parent of an empty kind is what kube-apiserver itself makes for a subresource that stands
    // alone; clients do not list it, and older ones crash where it is left out.
    let resource = |name: &str, scope: &str, kind: &str| {
        json!({
            "resource": name, "scope": scope, "singularResource": "", "verbs": [],
            "responseKind": {"group": "", "version": "", "kind": ""},
            "subresources": [{
                "subresource": "exec", "verbs": ["create", "get"],
                "responseKind": {"group": GROUP, "version": VERSION, "kind": kind},
            }],
        })
    };
    Document::new(&json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [{
            "metadata": {"name": GROUP, "creationTimestamp": null},
            "versions": [{
                "version": VERSION, "freshness": "Current",
                "resources": [
                    resource("nodes", "Cluster", "NodeExecOptions"),
                    resource("pods", "Namespaced", "PodExecOptions"),
                ],
            }],
        }],
    }))
});

static OPENAPI_PATHS: LazyLock<Document> = LazyLock::new(|| {
    let here = format!("apis/{GROUP}/{VERSION}");
    let url = format!("/openapi/v3/{here}?hash={}", OPENAPI.hash);
    Document::new(&json!({"paths": {here: {"serverRelativeURL": url}}}))
});

static OPENAPI: LazyLock<Document> = LazyLock::new(|| {
    let path = |parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let answer = json!({"101": {"description": "a websocket of v5.channel.k8s.io"}});
        let get = json!({"description": "run a tool in its namespaces", "responses": answer});
        json!({"get": get, "parameters": parameters})
    };
    let base = format!("/apis/{GROUP}/{VERSION}");
    Document::new(&json!({
        "openapi": "3.0.0",
        // Of the server, as Kubernetes has it there: the API's own is in every path.
        "info": {"title": "nsdebug", "version": env!("CARGO_PKG_VERSION")},
        "paths": {
            format!("{base}/namespaces/{{namespace}}/pods/{{name}}/exec"): path(&["namespace", "name"]),
            format!("{base}/nodes/{{name}}/exec"): path(&["name"]),
        },
    }))
});

fn group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// The document at `path`, if there is one.
pub(super) fn answer(path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let (document, kind) = match path {
        "/apis" if wants_aggregated(headers) => {
            (&AGGREGATED_GROUPS, HeaderValue::from_static(AGGREGATED))
        }
        "/apis" => (&GROUPS, JSON),
        "/openapi/v3" => (&OPENAPI_PATHS, JSON),
        _ => (by_group(path)?, JSON),
    };
    Some(document.response(kind, headers))
}

fn by_group(path: &str) -> Option<&'static LazyLock<Document>> {
    let (openapi, rest) = match path.strip_prefix("/openapi/v3") {
        Some(rest) => (true, rest),
        None => (false, path),
    };
    let rest = rest.strip_prefix("/apis/")?.strip_prefix(GROUP)?;
    match (openapi, rest) {
        (false, "") => Some(&GROUP_DOCUMENT),
        (false, version) if version.strip_prefix('/') == Some(VERSION) => Some(&RESOURCES),
        (true, version) if version.strip_prefix('/') == Some(VERSION) => Some(&OPENAPI),
        _ => None,
    }
}

/// A client that knows aggregated discovery says so; any other gets the plain list.
fn wants_aggregated(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT);
    let mut kinds = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|kind| kind.replace(' ', ""));
    let has = |kind: &str, wanted: &str| kind.split(';').any(|parameter| parameter == wanted);
    kinds.any(|kind| {
        has(&kind, "application/json")
            && has(&kind, "g=apidiscovery.k8s.io")
            && has(&kind, "v=v2")
            && has(&kind, "as=APIGroupDiscoveryList")
    })
}

impl Document {
    fn new(document: &Value) -> Self {
        let text = document.to_string();
        let hash = Sha256::digest(&text).iter().fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02X}"); // a String takes everything
            hash
        });
        let tag = HeaderValue::try_from(format!("\"{hash}\""));
        Self { text, hash, tag: tag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    fn response(&self, kind: HeaderValue, headers: &HeaderMap) -> Response<Body> {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|tag| tag == self.tag);
        let mut response = if known {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(Body::from(self.text.as_str().to_owned()))
        };
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, kind);
        fields.insert(header::ETAG, self.tag.clone());
        fields.insert(header::VARY, HeaderValue::from_static("Accept"));
        fields.insert(header::SERVER, SERVED_BY.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a value"));
        headers
    }

    async fn body(response: Response<Body>) -> Value {
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice(&body).expect("JSON")
    }

    #[tokio::test]
    async fn only_the_two_subresources_are_listed_and_each_has_a_kind() {
        let list = answer("/apis/nsdebug.dev/v1alpha1", &HeaderMap::new()).expect("an answer");
        let list = body(list).await;
        let names: Vec<_> = list["resources"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|r| {
                assert_eq!(r["verbs"], json!(["create", "get"]));
                assert!(r["kind"].as_str().is_some_and(|kind| !kind.is_empty()));
                r["name"].as_str().expect("a name")
            })
            .collect();
        assert_eq!(names, ["nodes/exec", "pods/exec"]);
    }

    #[tokio::test]
    async fn aggregated_discovery_is_answered_in_its_own_words_and_once() {
        let accept = format!(
            "{AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
        );
        let mut headers = headers(&accept);
        let response = answer("/apis", &headers).expect("an answer");
        assert_eq!(response.headers()[header::CONTENT_TYPE], AGGREGATED);
        let tag = response.headers()[header::ETAG].clone();
        let document = body(response).await;
        let exec = &document["items"][0]["versions"][0]["resources"][1]["subresources"][0];
        assert_eq!(exec["responseKind"]["kind"], "PodExecOptions");
        headers.insert(header::IF_NONE_MATCH, tag);
        let again = answer("/apis", &headers).expect("an answer");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn a_client_that_asks_otherwise_gets_the_plain_list() {
        for accept in ["*/*", "application/vnd.kubernetes.protobuf", "application/json;v=v2"] {
            let response = answer("/apis", &headers(accept)).expect("an answer");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert_eq!(
                response.headers()[header::SERVER],
                concat!("nsdebug-gateway/", env!("CARGO_PKG_VERSION"))
            );
            assert_eq!(body(response).await["kind"], "APIGroupList");
        }
    }

    #[tokio::test]
    async fn the_openapi_document_is_where_its_index_says() {
        let index = body(answer("/openapi/v3", &HeaderMap::new()).expect("an index")).await;
        let url = index["paths"]["apis/nsdebug.dev/v1alpha1"]["serverRelativeURL"].clone();
        let (path, _) = url.as_str().expect("a URL").split_once('?').expect("a hash");
        let document = body(answer(path, &HeaderMap::new()).expect("a document")).await;
        assert_eq!(document["openapi"], "3.0.0");
        assert!(answer("/openapi/v2", &HeaderMap::new()).is_none());
        assert!(answer("/apis/nsdebug.dev/v1alpha1/", &HeaderMap::new()).is_none());
    }
}
