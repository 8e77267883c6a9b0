//! A session that is asked for in plain HTTP, to be judged and not begun.

use hyper::{Request, header};
use kube::client::Body;
use wire::ApiTarget;

use super::error::ClusterError;
use super::{AGENT, Cluster};
use crate::connect::upgrade::{UpgradeError, beginning};
use crate::dry_run::{Answer, read};

impl Cluster {
    /// What would become of the session of `query` at `target`; an error is what a session would end with.
    pub(crate) async fn rehearse(
        &self,
        target: &ApiTarget,
        query: &str,
    ) -> Result<Answer, ClusterError> {
        let request = Request::get(format!("{}?{query}", target.path()))
            .header(header::USER_AGENT, AGENT)
            .header(header::ACCEPT, "application/json")
            .body(Body::empty());
        let request =
            request.map_err(|error| ClusterError::Upgrade(UpgradeError::Request(error)))?;
        let response = self.send(request).await?;
        let (head, body) = response.into_parts();
        let body = beginning(body).await;
        match read(head.status, &head.headers, &body) {
            Answer::Refused => {
                let error = self.judge(ClusterError::from_answer(head.status, &body));
                Err(self.explain(error, head.status, target).await)
            }
            answer => Ok(answer),
        }
    }
}
