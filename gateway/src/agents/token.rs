//! Whose token it is: the API server says, and it must be an agent's of a node that it names.
//!
//! What a token says itself is not verified, and good enough to see that there is nothing to ask about.
//! A token is looked at once and not kept. It is good for one connection, which is given up within the hour
//! unless a session has taken it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
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

/// How long a token waits for its turn. Its agent tries again.
const TURN_LIMIT: Duration = Duration::from_secs(5);

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
    #[error("the token does not belong to an agent")]
    NotAnAgent,
    #[error("the token is not bound to a pod on a node: it has no `{key}`")]
    Unbound { key: &'static str },
    #[error("the gateway is busy reviewing other tokens: try again")]
    Busy,
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
        self.claimed(token)?;
        let audiences = Some(vec![AUDIENCE.to_owned()]);
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let question = TokenReview { spec, ..TokenReview::default() };
        // An error within would say that the semaphore is closed, which nothing does.
        let turn = timeout(TURN_LIMIT, self.turns.acquire()).await.map_err(|_| TokenError::Busy)?;
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

    /// Whether it says of itself what an agent's token has to say: the API server is not asked about others,
    /// of which anybody has as many as they like.
    fn claimed(&self, token: &str) -> Result<(), TokenError> {
        let Claims { aud, sub } = Claims::of(token).ok_or(TokenError::Invalid)?;
        let audiences = match &aud {
            Audiences::One(audience) => std::slice::from_ref(audience),
            Audiences::Several(audiences) => audiences.as_slice(),
        };
        match () {
            () if !audiences.iter().any(|audience| audience == AUDIENCE) => {
                Err(TokenError::Invalid)
            }
            () if sub != self.account => Err(TokenError::NotAnAgent),
            () => Ok(()),
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

/// What a token says, with nobody's signature looked at (RFC 7519).
#[derive(Deserialize)]
struct Claims {
    aud: Audiences,
    sub: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn judged(claims: &Value) -> Option<String> {
        let config = kube::Config::new("http://127.0.0.1:1".parse().expect("a URL"));
        let client = kube::Client::try_from(config).expect("a client");
        let tokens = Tokens::new(Kubernetes::new(client), "nsdebug", "nsdebug-agent");
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        tokens.claimed(&format!("e30.{payload}.sig")).err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_token_says_itself_whether_there_is_anything_to_ask() {
        let sub = "system:serviceaccount:nsdebug:nsdebug-agent";
        for aud in [json!(AUDIENCE), json!([AUDIENCE]), json!(["x", AUDIENCE])] {
            assert_eq!(judged(&json!({"aud": aud, "sub": sub, "exp": 1})), None);
        }
        for aud in [json!("x"), json!([]), json!(["x"]), json!(null)] {
            let said = judged(&json!({"aud": aud, "sub": sub})).expect("refused");
            assert!(said.contains("audience"), "{said}");
        }
        let other = "system:serviceaccount:nsdebug:default";
        let said = judged(&json!({"aud": AUDIENCE, "sub": other})).expect("refused");
        assert!(said.contains("does not belong to an agent"), "{said}");
        for word in ["", "good", "a.b", "a.b.c", "e30.e30.x", "e30.e30.x.y"] {
            assert!(Claims::of(word).is_none(), "{word}");
        }
    }
}
