//! The API server, who it takes us for, and the API that nsdebug adds to it.

use serde_json::{Value, json};

use super::report::Verdict;
use super::{Look, is_hidden};
use crate::cli::ClusterFlags;

const API_SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.nsdebug.dev";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Where the chart puts it, where nobody may see the APIService.
const USUAL_HOME: &str = "nsdebug";

impl Look<'_> {
    /// Whether there is anybody to ask.
    pub(super) async fn at_api_server(&mut self, flags: &ClusterFlags) -> bool {
        let server = self.cluster.server();
        match self.cluster.get::<Value>("/version").await {
            Ok(version) => {
                let version = version["gitVersion"].as_str().unwrap_or("without a version");
                self.report.add(Verdict::Ok, "API server", format!("{server} answers, {version}"));
            }
            // Anonymous reading may be off; it does answer.
            Err(error) if is_hidden(&error) => {
                self.report.add(Verdict::Ok, "API server", format!("{server} answers"));
            }
            Err(error) => {
                self.report.failed("API server", &error);
                if let Some(hint) = error.hint() {
                    self.report.add(Verdict::Note, "hint", hint);
                }
                return false;
            }
        }
        self.at_user(flags).await;
        true
    }

    async fn at_user(&mut self, flags: &ClusterFlags) {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let answer = self.cluster.create(WHO, &review).await;
        let who = answer.ok().and_then(|answer| {
            let user = &answer["status"]["userInfo"];
            let groups = user["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
            Some((user["username"].as_str()?.to_owned(), groups.collect::<Vec<_>>().join(", ")))
        });
        if let Some((name, groups)) = who {
            self.report.add(Verdict::Ok, "user", format!("{name} ({groups})"));
        } else {
            let older =
                "this API server has no SelfSubjectReview (Kubernetes 1.28 or newer has it)";
            let name = flags.as_user.as_deref().unwrap_or(older);
            self.report.add(Verdict::Unknown, "user", name);
        }
    }

    /// The API of nsdebug, and the namespace that its gateways are in.
    pub(super) async fn at_api_service(&mut self) -> String {
        let home = match self.cluster.get::<Value>(API_SERVICE).await {
            Ok(service) => {
                self.at_availability(&service);
                service["spec"]["service"]["namespace"].as_str().map(str::to_owned)
            }
            Err(error) if is_hidden(&error) => {
                let text = "forbidden: you cannot get APIServices; the next line shows whether the gateway answers";
                self.report.add(Verdict::Unknown, "APIService", text);
                None
            }
            Err(error) => {
                self.report.failed("APIService", &error.not_installed_if_not_found());
                None
            }
        };
        self.at_gateway().await;
        home.unwrap_or_else(|| USUAL_HOME.to_owned())
    }

    fn at_availability(&mut self, service: &Value) {
        let conditions = service["status"]["conditions"].as_array().into_iter().flatten();
        let available = conditions.clone().find(|condition| condition["type"] == "Available");
        let text = |key: &str| available.and_then(|it| it[key].as_str()).unwrap_or("unknown");
        if available.is_some_and(|it| it["status"] == "True") {
            self.report.add(Verdict::Ok, "APIService", "v1alpha1.nsdebug.dev is Available");
        } else {
            let (reason, message) = (text("reason"), text("message"));
            let text = format!("v1alpha1.nsdebug.dev is not Available: {reason}: {message}");
            self.report.add(Verdict::No, "APIService", text);
        }
    }

    async fn at_gateway(&mut self) {
        match self.cluster.gateway_version().await {
            Ok(version) => {
                let text = format!("answers through the API server, v{version}");
                self.report.add(Verdict::Ok, "gateway", text);
            }
            Err(error) => self.report.failed("gateway", &error),
        }
    }
}
