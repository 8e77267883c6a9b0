//! Certificates of the gateway's own, kept in a Secret that all replicas share.
//!
//! The replica that finds that something has to change writes it, and one that writes second reads again. The CAs are
//! published first, in the APIService for kube-apiserver and in a ConfigMap for agents; then shown.

use std::collections::BTreeMap;

use daemon::shutdown::Shutdown;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tracing::{error, info, warn};
use wire::api::{GROUP, VERSION};
use wire::chain;

use super::rotation::{CertificateSettings, SecretData, Stored};
use super::{PairError, Shown};
use crate::kubernetes::{ApiError, Kubernetes};

/// Under this a changed Secret is noticed; of short-lived certificates, a fraction of their life.
const EVERY: std::time::Duration = std::time::Duration::from_secs(15);

/// While there is nothing to show.
const EVERY_AT_FIRST: std::time::Duration = std::time::Duration::from_secs(1);

/// How often another replica may have been first before it is left for the next time.
const MOST_CONFLICTS: usize = 4;

/// Where agents find the CAs.
const AUTHORITY: &str = "ca.crt";

/// What the objects are called.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) namespace: String,
    pub(crate) secret: String,
    pub(crate) config_map: String,
}

impl Names {
    pub(crate) fn of(namespace: &str, secret: String, config_map: String) -> Self {
        Self { namespace: namespace.to_owned(), secret, config_map }
    }
}

/// Keeps certificates.
#[derive(Debug)]
pub(crate) struct Keeper {
    kubernetes: Kubernetes,
    names: Names,
    terms: CertificateSettings,
    shown: Shown,
    /// What is shown, to see whether it is new.
    seen: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("cannot read the Secret {name}")]
    Read {
        name: String,
        #[source]
        source: ApiError,
    },
    #[error("cannot write the Secret {name}")]
    Write {
        name: String,
        #[source]
        source: ApiError,
    },
    #[error(
        "the Secret {name} does not exist and the gateway may not create it: apply the chart again"
    )]
    Gone {
        name: String,
        #[source]
        source: ApiError,
    },
    #[error("cannot create a certificate")]
    Issue(#[source] rcgen::Error),
    #[error("other gateways keep writing the Secret {name}")]
    Contended { name: String },
    #[error("the certificate in the Secret {name} cannot be used")]
    Show {
        name: String,
        #[source]
        source: PairError,
    },
    #[error("cannot publish the CA in the APIService")]
    ApiService(#[source] ApiError),
    #[error("cannot publish the CA in the ConfigMap {name}")]
    ConfigMap {
        name: String,
        #[source]
        source: ApiError,
    },
}

impl Keeper {
    /// Certificates for `dns_names`, each good for `lifetime`.
    pub(crate) fn new(
        kubernetes: Kubernetes,
        names: Names,
        dns_names: Vec<String>,
        lifetime: std::time::Duration,
        shown: Shown,
    ) -> Self {
        let lifetime = Duration::try_from(lifetime).unwrap_or(Duration::MAX);
        let terms = CertificateSettings { names: dns_names, lifetime };
        Self { kubernetes, names, terms, shown, seen: None }
    }

    /// Keeps them until the gateway drains.
    pub(crate) async fn keep(mut self, shutdown: Shutdown) {
        let often = std::time::Duration::try_from(self.terms.lifetime / 36);
        let every = EVERY.min(often.unwrap_or(EVERY));
        loop {
            if let Err(problem) = self.once().await {
                error!(error = chain(&problem), "certificate not renewed");
            }
            let pause = if self.seen.is_some() { every } else { EVERY_AT_FIRST };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.draining() => return,
            }
        }
    }

    async fn once(&mut self) -> Result<(), KeepError> {
        let stored = self.settle().await?;
        let bundle = stored.bundle();
        for published in [self.tell_apiserver(&bundle).await, self.tell_agents(&bundle).await] {
            if let Err(problem) = published {
                // Shown all the same: without a certificate nothing at all would work.
                warn!(error = chain(&problem), "CA not published");
            }
        }
        let current = stored.current;
        if self.seen.as_ref() != Some(&current.chain) {
            let shown = self.shown.show(current.chain.as_bytes(), current.key.as_bytes());
            let name = self.names.secret.clone();
            shown.map_err(|source| KeepError::Show { name, source })?;
            info!(ends = self.shown.ends(), "certificate in use");
            self.seen = Some(current.chain);
        }
        Ok(())
    }

    /// What is stored once nothing has to change.
    async fn settle(&self) -> Result<Stored, KeepError> {
        let name = || self.names.secret.clone();
        let Names { namespace, secret, config_map: _ } = &self.names;
        for _ in 0..MOST_CONFLICTS {
            let found = self.kubernetes.find::<Secret>(namespace, secret).await;
            let found = found.map_err(|source| KeepError::Read { name: name(), source })?;
            let stored = found.as_ref().and_then(|secret| Stored::read(&data(secret)));
            let now = OffsetDateTime::now_utc();
            if let Some(early) = stored.as_ref().and_then(|stored| stored.early(now)) {
                let seconds = early.whole_seconds();
                warn!(
                    seconds,
                    "the stored certificate is not valid yet: a gateway's clock is wrong"
                );
            }
            let successor = Stored::successor(stored.as_ref(), &self.terms, now);
            let next = match (successor.map_err(KeepError::Issue)?, stored) {
                (Some(next), _) => next,
                (None, Some(stored)) => return Ok(stored),
                (None, None) => continue,
            };
            let gone = found.is_none();
            let mut object = found.unwrap_or_else(|| named(namespace, secret));
            let bytes = next.write().into_iter().map(|(key, value)| (key, ByteString(value)));
            object.data = Some(bytes.collect());
            match self.kubernetes.write(namespace, secret, &object).await {
                // What is there now is read again: it may want another step.
                Ok(_) => info!("certificates renewed"),
                Err(ApiError::Conflict) => {}
                Err(source) if gone => return Err(KeepError::Gone { name: name(), source }),
                Err(source) => return Err(KeepError::Write { name: name(), source }),
            }
        }
        Err(KeepError::Contended { name: name() })
    }

    async fn tell_apiserver(&self, bundle: &str) -> Result<(), KeepError> {
        let name = format!("{VERSION}.{GROUP}");
        let found = self.kubernetes.find_global::<APIService>(&name).await;
        let Some(service) = found.map_err(KeepError::ApiService)? else {
            return Ok(()); // it is made last and removed first
        };
        let wanted = ByteString(bundle.as_bytes().to_vec());
        let spec = service.spec.unwrap_or_default();
        if spec.ca_bundle.as_ref() == Some(&wanted) && spec.insecure_skip_tls_verify != Some(true) {
            return Ok(());
        }
        let patch = json!({"spec": {"caBundle": wanted, "insecureSkipTLSVerify": null}});
        let patched = self.kubernetes.patch_global::<APIService>(&name, &patch).await;
        patched.map_err(KeepError::ApiService)?;
        info!("CA published in the APIService");
        Ok(())
    }

    async fn tell_agents(&self, bundle: &str) -> Result<(), KeepError> {
        let Names { namespace, secret: _, config_map } = &self.names;
        let failed = |source| KeepError::ConfigMap { name: config_map.clone(), source };
        let found = self.kubernetes.find::<ConfigMap>(namespace, config_map).await;
        let found = found.map_err(failed)?;
        let data = BTreeMap::from([(AUTHORITY.to_owned(), bundle.to_owned())]);
        if found.as_ref().is_some_and(|map| map.data.as_ref() == Some(&data)) {
            return Ok(());
        }
        let metadata = found
            .map_or_else(|| named::<Secret>(namespace, config_map).metadata, |map| map.metadata);
        let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
        match self.kubernetes.write(namespace, config_map, &map).await {
            Ok(_) => info!("CA published for agents"),
            Err(ApiError::Conflict) => {} // another replica was first; looked at again next time
            Err(source) => return Err(failed(source)),
        }
        Ok(())
    }
}

fn data(secret: &Secret) -> SecretData {
    let data = secret.data.iter().flatten();
    data.map(|(key, ByteString(value))| (key.clone(), value.clone())).collect()
}

/// An object that is not there yet.
fn named<K: Default + kube::Resource>(namespace: &str, name: &str) -> K {
    let mut object = K::default();
    *object.meta_mut() = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    object
}
