//! The current [`FrontProxy`], asked for again and again.
//!
//! An API server that does not answer changes nothing: without it there are no requests either. One
//! that answers with nothing, or with nonsense, is believed: nobody is let in until it is mended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::front_proxy::{FrontProxy, FrontProxyError};
use crate::kubernetes::{ApiError, Kubernetes};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// Longer than an API server needs to publish a new CA, shorter than anybody waits for it.
const EVERY: Duration = Duration::from_secs(15);

/// While nobody is let in, it is the gateway's start that waits.
const EVERY_AT_FIRST: Duration = Duration::from_secs(1);

/// Whom the API port believes; nobody, at first.
pub(crate) type Trust = watch::Receiver<Option<Arc<FrontProxy>>>;

#[derive(Debug, thiserror::Error)]
enum TrustError {
    #[error("ConfigMap {NAMESPACE}/{NAME} cannot be read")]
    Read(#[source] ApiError),
    #[error("ConfigMap {NAMESPACE}/{NAME} does not exist")]
    Missing,
    #[error("ConfigMap {NAMESPACE}/{NAME} does not name the front proxy's CA and header fields")]
    Content(#[source] FrontProxyError),
}

/// Keeps `trust` what the API server publishes until the gateway drains.
pub(crate) async fn keep_current(
    kubernetes: Kubernetes,
    trust: watch::Sender<Option<Arc<FrontProxy>>>,
    shutdown: Shutdown,
) {
    let mut seen = None;
    loop {
        refresh(&kubernetes, &trust, &mut seen).await;
        let every = if trust.borrow().is_some() { EVERY } else { EVERY_AT_FIRST };
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shutdown.draining() => return,
        }
    }
}

type ConfigData = BTreeMap<String, String>;

async fn refresh(
    kubernetes: &Kubernetes,
    trust: &watch::Sender<Option<Arc<FrontProxy>>>,
    seen: &mut Option<ConfigData>,
) {
    match published(kubernetes).await {
        Ok(data) if seen.as_ref() == Some(&data) => {}
        Ok(data) => {
            adopt(FrontProxy::read(&data).map_err(TrustError::Content), trust);
            *seen = Some(data);
        }
        Err(TrustError::Missing) => {
            adopt(Err(TrustError::Missing), trust);
            *seen = None;
        }
        Err(problem) => warn!(error = wire::chain(&problem), "front proxy unknown"),
    }
}

async fn published(kubernetes: &Kubernetes) -> Result<ConfigData, TrustError> {
    match kubernetes.find::<ConfigMap>(NAMESPACE, NAME).await {
        Ok(Some(map)) => Ok(map.data.unwrap_or_default()),
        Ok(None) => Err(TrustError::Missing),
        Err(error) => Err(TrustError::Read(error)),
    }
}

fn adopt(read: Result<FrontProxy, TrustError>, trust: &watch::Sender<Option<Arc<FrontProxy>>>) {
    match read {
        Ok(front_proxy) => {
            info!("front proxy known");
            trust.send_replace(Some(Arc::new(front_proxy)));
        }
        Err(problem) => {
            error!(error = wire::chain(&problem), "all requests are refused");
            trust.send_replace(None);
        }
    }
}
