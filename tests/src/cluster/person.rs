//! A user of nsdebug through the API server: a kubeconfig, rights one by one, and `kubectl nsdebug`.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::Cluster;
use crate::running::{Finished, Running, run};

const RBAC: &str = "rbac.authorization.k8s.io";

/// One rule of RBAC, and where it holds: in a namespace, or everywhere.
#[derive(Debug, Clone)]
pub struct Right {
    pub namespace: Option<&'static str>,
    pub rule: Value,
}

impl Right {
    /// `verbs` on `resource` of the API group.
    pub fn new(namespace: Option<&'static str>, group: &str, resource: &str, verbs: &str) -> Self {
        let verbs: Vec<&str> = verbs.split(',').collect();
        let rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
        Self { namespace, rule }
    }

    /// The same for one object only.
    pub fn named(mut self, name: &str) -> Self {
        self.rule["resourceNames"] = json!([name]);
        self
    }
}

/// A user with a certificate, who may do nothing that [`Person::grant`] did not give.
#[derive(Debug)]
pub struct Person<'c> {
    cluster: &'c Cluster,
    name: String,
    kubeconfig: PathBuf,
}

impl<'c> Person<'c> {
    /// A new one, even in a cluster that other tests were run in: the name has a number behind it.
    pub fn new(cluster: &'c Cluster, name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let kubeconfig = cluster.user(&name, "people");
        Self { cluster, name, kubeconfig }
    }

    /// Give these rights under a name, by which they can be taken away.
    pub fn grant<'r>(&self, as_name: &str, rights: impl IntoIterator<Item = &'r Right>) {
        let rights = rights.into_iter().enumerate();
        let objects: Vec<Value> = rights
            .flat_map(|(index, right)| self.role(&format!("{as_name}-{index}"), right))
            .collect();
        self.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    }

    /// Take everything away that was given under a name.
    pub fn revoke(&self, as_name: &str) {
        let selector = format!("nsdebug.test/right={}-{as_name}", self.name);
        let kinds = "rolebindings,clusterrolebindings,roles,clusterroles";
        self.cluster.kubectl(&["delete", kinds, "-A", "-l", &selector]).expect_success();
    }

    fn role(&self, name: &str, right: &Right) -> [Value; 2] {
        let scope = if right.namespace.is_some() { "" } else { "Cluster" };
        let label =
            format!("{}-{}", self.name, name.rsplit_once('-').map_or(name, |(as_name, _)| as_name));
        let name = format!("{}-{name}", self.name);
        let metadata = json!({
            "name": name, "namespace": right.namespace, "labels": {"nsdebug.test/right": label},
        });
        let (role, api) = (format!("{scope}Role"), format!("{RBAC}/v1"));
        [
            json!({"apiVersion": api, "kind": role, "metadata": metadata, "rules": [right.rule]}),
            json!({
                "apiVersion": api, "kind": format!("{scope}RoleBinding"), "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": role, "name": name},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": self.name}],
            }),
        ]
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `kubectl nsdebug WORDS`, to be started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut kubectl = self.cluster.command("kubectl");
        kubectl.arg("nsdebug").arg("--kubeconfig").arg(&self.kubeconfig).args(words);
        kubectl
    }

    /// `kubectl nsdebug WORDS`, to its end.
    pub fn nsdebug(&self, words: &[&str]) -> Finished {
        run(&mut self.command(words))
    }
}

impl Cluster {
    /// `kubectl apply` of YAML or JSON.
    pub fn apply(&self, objects: &(impl ToString + ?Sized)) {
        let mut apply = Running::start(self.command("kubectl").args(["apply", "-f", "-"]));
        apply.write(objects.to_string().as_bytes());
        apply.finish().expect_success();
    }

    /// Every object but those that come and go by themselves, as `KIND/NAME`.
    pub fn objects(&self) -> std::collections::BTreeSet<String> {
        let names = self.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
        let names = names.expect_success().out();
        let passing = ["leases", "events", "endpoints", "endpointslices", "componentstatuses"];
        let lasting = |name: &&str| !passing.contains(&name.split('.').next().unwrap_or(name));
        let kinds = names.lines().filter(lasting).collect::<Vec<_>>().join(",");
        let all = self.kubectl(&["get", &kinds, "-A", "-o", "name"]).expect_success();
        all.out().lines().map(str::to_owned).collect()
    }
}
