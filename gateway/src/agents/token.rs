//! Whose token it is: the API server says, and it must be an agent's of a node that it names.
//!
//! A token is looked at once and not kept. It is good for one connection, which is given up within the hour
//! unless a session has taken it.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use tokio::sync::Semaphore;
use wire::forward::AUDIENCE;

use crate::kubernetes::{ApiError, Kubernetes};

const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// An agent, as its token proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) node: String,
    pub(crate) pod: String,
}

/// Reviews at once: anybody on the network may send tokens, and the API server has others to serve.
const AT_ONCE: usize = 32;

/// Reviews tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    kubernetes: Kubernetes,
    turns: Arc<Semaphore>,
    /// The user name of every agent.
    account: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is not valid for the audience `{AUDIENCE}`")]
    Invalid,
    #[error("the token is not one of an agent")]
    NotAnAgent,
    #[error("the token is not bound to a pod on a node (`{key}`)")]
    Unbound { key: &'static str },
    #[error("the token cannot be reviewed")]
    Unknown(#[source] ApiError),
}

impl Tokens {
    /// Agents are the pods of the service account `account` in `namespace`, and nobody else.
    pub(crate) fn new(kubernetes: Kubernetes, namespace: &str, account: &str) -> Self {
        let account = format!("system:serviceaccount:{namespace}:{account}");
        Self { kubernetes, turns: Arc::new(Semaphore::new(AT_ONCE)), account }
    }

    pub(crate) async fn review(&self, token: &str) -> Result<Agent, TokenError> {
        let audiences = Some(vec![AUDIENCE.to_owned()]);
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let question = TokenReview { spec, ..TokenReview::default() };
        // An error would say that the semaphore is closed, which nothing does.
        let turn = self.turns.acquire().await;
        let answer = self.kubernetes.review_token(&question).await.map_err(TokenError::Unknown)?;
        drop(turn);
        let status = answer.status.unwrap_or_default();
        // An API server that knows no audiences answers with none.
        let meant = status.audiences.iter().flatten().any(|audience| audience == AUDIENCE);
        let valid = status.authenticated == Some(true) && meant;
        match status.user {
            Some(user) if valid => self.agent(&user),
            _ => Err(TokenError::Invalid),
        }
    }

    fn agent(&self, user: &UserInfo) -> Result<Agent, TokenError> {
        if user.username.as_deref() != Some(self.account.as_str()) {
            return Err(TokenError::NotAnAgent);
        }
        let extra = |key: &'static str| {
            let values = user.extra.as_ref().and_then(|extra| extra.get(key));
            match values.map(Vec::as_slice) {
                Some([value]) if !value.is_empty() => Ok(value.clone()),
                _ => Err(TokenError::Unbound { key }),
            }
        };
        extra(POD_UID)?;
        Ok(Agent { node: extra(NODE_NAME)?, pod: extra(POD_NAME)? })
    }
}
