//! The few calls to the API server, each with a limit on its time.
//!
//! No list, no watch, no cache: what is decided is decided by what the API server says now.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What one call may take. kube-apiserver itself waits 60 s for etcd; a person does not.
const LIMIT: Duration = Duration::from_secs(5);

/// The API server.
#[derive(Clone)]
pub(crate) struct Kubernetes {
    client: Client,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the API server did not answer within {} s", LIMIT.as_secs())]
    Silent,
    #[error("the API server answered {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("the API server cannot be asked")]
    Unreachable(#[source] kube::Error),
    #[error("another gateway has written it meanwhile")]
    Conflict,
}

impl Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kubernetes")
    }
}

impl Kubernetes {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) async fn review_access(
        &self,
        review: &SubjectAccessReview,
    ) -> Result<SubjectAccessReview, ApiError> {
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        within(async { api.create(&PostParams::default(), review).await }).await
    }

    pub(crate) async fn review_token(&self, review: &TokenReview) -> Result<TokenReview, ApiError> {
        let api = Api::<TokenReview>::all(self.client.clone());
        within(async { api.create(&PostParams::default(), review).await }).await
    }

    /// An object, if there is one.
    pub(crate) async fn find<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, ApiError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug,
        K: DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        within(async { api.get_opt(name).await }).await
    }

    /// Writes an object, unless it was written since it was read.
    pub(crate) async fn write<K>(
        &self,
        namespace: &str,
        name: &str,
        object: &K,
    ) -> Result<K, ApiError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug,
        K: DeserializeOwned + Serialize,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        within(async {
            match object.meta().resource_version {
                Some(_) => api.replace(name, &parameters, object).await,
                None => api.create(&parameters, object).await,
            }
        })
        .await
    }

    /// A cluster-wide object, if there is one.
    pub(crate) async fn find_global<K>(&self, name: &str) -> Result<Option<K>, ApiError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::all(self.client.clone());
        within(async { api.get_opt(name).await }).await
    }

    /// Changes a part of a cluster-wide object.
    pub(crate) async fn patch_global<K>(
        &self,
        name: &str,
        patch: &serde_json::Value,
    ) -> Result<K, ApiError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::all(self.client.clone());
        within(async { api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await }).await
    }
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    const CONFLICT: u16 = 409;
    match tokio::time::timeout(LIMIT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == CONFLICT => Err(ApiError::Conflict),
        Ok(Err(kube::Error::Api(status))) => {
            Err(ApiError::Refused { code: status.code, message: status.message })
        }
        Ok(Err(error)) => Err(ApiError::Unreachable(error)),
        Err(_) => Err(ApiError::Silent),
    }
}
