//! Names of addresses, and what else the API server knows of the pods of a capture: its lists of pods and Services.
//!
//! A user who may not read them gets a file without names.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use serde::Deserialize;

use crate::kubernetes::Cluster;

/// Objects of one page, as kubectl asks for them.
const PAGE: usize = 500;

/// Pages that are read of one list: names of ten thousand pods are more than any reader of a file looks for.
const PAGES: usize = 20;

/// What is known of a pod beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) uid: String,
    pub(super) node: String,
    pub(super) addresses: Vec<IpAddr>,
    /// Its packets are those of its node, the capture's own among them.
    pub(super) has_host_network: bool,
}

/// What is known of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownNames {
    pub(super) names: Vec<(IpAddr, String)>,
    /// By `NAMESPACE/POD`.
    pods: HashMap<String, Facts>,
}

impl KnownNames {
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Facts {
        self.pods.get(&format!("{namespace}/{name}")).cloned().unwrap_or_default()
    }

    fn add(&mut self, kind: Kind, object: Object) {
        let Object { metadata: Metadata { name, namespace, uid }, spec, status } = object;
        let parse = |text: &String| text.parse::<IpAddr>().ok();
        match kind {
            Kind::Service => {
                let addresses = spec.cluster_ips.iter().filter_map(parse); // `None` is not one
                let name = format!("{name}.{namespace}.svc");
                self.names.extend(addresses.map(|address| (address, name.clone())));
            }
            Kind::Pod => {
                let addresses: Vec<_> =
                    status.pod_ips.iter().filter_map(|address| parse(&address.ip)).collect();
                let is_over = matches!(status.phase.as_str(), "Succeeded" | "Failed");
                // Others may have such an address since, or have it too.
                if !is_over && !spec.host_network {
                    let name = format!("{name}.{namespace}");
                    let named = addresses.iter().map(|address| (*address, name.clone()));
                    self.names.extend(named);
                }
                let facts = Facts {
                    uid,
                    node: spec.node_name,
                    addresses,
                    has_host_network: spec.host_network,
                };
                self.pods.insert(format!("{namespace}/{name}"), facts);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Pod,
    Service,
}

#[derive(Deserialize)]
struct Objects {
    #[serde(default)]
    metadata: Continuation,
    items: Vec<Object>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Continuation {
    #[serde(rename = "continue")]
    rest: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Metadata,
    spec: ObjectSpec,
    status: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectSpec {
    node_name: String,
    host_network: bool,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct State {
    phase: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodAddress>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodAddress {
    ip: String,
}

/// What the user may know of these namespaces.
pub(super) async fn learn(cluster: &Cluster, namespaces: &BTreeSet<String>) -> KnownNames {
    let mut known = KnownNames::default();
    for namespace in namespaces {
        let path = |plural| format!("/api/v1/namespaces/{namespace}/{plural}?limit={PAGE}");
        let (pods, services) = (path("pods"), path("services"));
        let (pods, services) = tokio::join!(list(cluster, &pods), list(cluster, &services));
        for pod in pods {
            known.add(Kind::Pod, pod);
        }
        for service in services {
            known.add(Kind::Service, service);
        }
    }
    known
}

/// As much of a list as can be read.
async fn list(cluster: &Cluster, path: &str) -> Vec<Object> {
    let (mut all, mut next) = (Vec::new(), path.to_owned());
    for _ in 0..PAGES {
        let Ok(Objects { metadata, items }) = cluster.get(&next).await else { break };
        all.extend(items);
        if metadata.rest.is_empty() {
            break;
        }
        let rest = percent_encoding::utf8_percent_encode(
            &metadata.rest,
            percent_encoding::NON_ALPHANUMERIC,
        );
        next = format!("{path}&continue={rest}");
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(kind: Kind, object: serde_json::Value) -> KnownNames {
        let mut known = KnownNames::default();
        known.add(kind, serde_json::from_value(object).expect("an object"));
        known
    }

    fn named(known: &KnownNames) -> String {
        let names = known.names.iter().map(|(address, name)| format!("{address}={name}"));
        names.collect::<Vec<_>>().join(" ")
    }

    fn pod(change: impl FnOnce(&mut serde_json::Value)) -> KnownNames {
        let mut pod = json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "0f"},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]},
        });
        change(&mut pod);
        known(Kind::Pod, pod)
    }

    #[test]
    fn a_pod_names_its_addresses_and_a_service_its_own() {
        let web = pod(|_| {});
        assert_eq!(named(&web), "10.0.0.7=web-1.shop fd00::7=web-1.shop");
        let facts = web.pod("shop", "web-1");
        assert_eq!((facts.uid.as_str(), facts.node.as_str()), ("0f", "n1"));
        assert!(!facts.has_host_network);
        assert_eq!(web.pod("shop", "web-2"), Facts::default());
        let service = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIPs": ["10.96.0.7"]},
        });
        assert_eq!(named(&known(Kind::Service, service)), "10.96.0.7=web.shop.svc");
        let headless = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIPs": ["None"]},
        });
        assert_eq!(named(&known(Kind::Service, headless)), "");
    }

    #[test]
    fn an_address_that_others_have_too_is_not_named_after_a_pod() {
        let on_host = pod(|pod| pod["spec"]["hostNetwork"] = json!(true));
        assert_eq!(named(&on_host), "");
        assert!(on_host.pod("shop", "web-1").has_host_network);
        assert_eq!(named(&pod(|pod| pod["status"]["phase"] = json!("Succeeded"))), "");
    }
}
