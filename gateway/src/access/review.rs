//! SubjectAccessReviews, all at once; one that is not a clear yes is a no.
//!
//! A clear no is the answer whatever becomes of the others: who may not is told so, and a running session
//! does not wait for an API server that answers only some.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use wire::api::VERSION;
use wire::rights::Right;

use crate::identity::Caller;
use crate::kubernetes::{ApiError, Kubernetes};

/// Asks the API server.
#[derive(Clone, Debug)]
pub(crate) struct Reviewer {
    kubernetes: Kubernetes,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("User \"{user}\" cannot {right}")]
    Denied { user: String, right: Right },
    #[error("cannot find out whether user \"{user}\" can {right}")]
    Unknown {
        user: String,
        right: Right,
        #[source]
        source: ApiError,
    },
}

impl Reviewer {
    pub(crate) fn new(kubernetes: Kubernetes) -> Self {
        Self { kubernetes }
    }

    /// Whether `caller` has every one of `rights`.
    pub(crate) async fn review(
        &self,
        caller: &Caller,
        rights: &[Right],
    ) -> Result<(), AccessError> {
        let mut asked: FuturesUnordered<_> =
            rights.iter().map(|right| self.ask(caller, right)).collect();
        let mut result = Ok(());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(()) => {}
                Err(AccessError::Denied { .. }) => return answer,
                Err(AccessError::Unknown { .. }) => result = answer,
            }
        }
        result
    }

    async fn ask(&self, caller: &Caller, right: &Right) -> Result<(), AccessError> {
        let user = || caller.name().escape_debug().to_string();
        let answer = self.kubernetes.review_access(&question(caller, right)).await;
        let answer = answer.map_err(|source| {
            let right = right.clone();
            AccessError::Unknown { user: user(), right, source }
        })?;
        let status = answer.status.unwrap_or_default();
        if status.allowed && status.denied != Some(true) {
            Ok(())
        } else {
            Err(AccessError::Denied { user: user(), right: right.clone() })
        }
    }
}

fn question(caller: &Caller, right: &Right) -> SubjectAccessReview {
    let spec = SubjectAccessReviewSpec {
        user: Some(caller.name().to_owned()),
        uid: caller.uid().map(str::to_owned),
        groups: Some(caller.groups().to_vec()),
        extra: Some(caller.extra().clone()),
        resource_attributes: Some(attributes(right)),
        ..SubjectAccessReviewSpec::default()
    };
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}

fn attributes(right: &Right) -> ResourceAttributes {
    let Right { verb, group, resource, subresource, namespace, name } = right.clone();
    let version = if group.is_empty() { "v1" } else { VERSION };
    ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        version: Some(version.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        namespace,
        name,
        ..ResourceAttributes::default()
    }
}
