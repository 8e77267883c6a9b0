//! kubeconfig files: where they are, and which cluster, user and namespace of theirs are meant.
//!
//! As client-go does it; what is in the files is read by the `kube` crate.

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Kubeconfig};

use super::unusable;
use crate::cli::ClusterFlags;

/// What a context comes to, before the command line has its say.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
    pub(super) namespace: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChoiceError {
    #[error("cannot read the kubeconfig {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("context \"{name}\" does not exist")]
    NoContext { name: String },
    #[error("cluster \"{name}\" does not exist")]
    NoCluster { name: String },
    #[error("auth info \"{name}\" does not exist")]
    NoUser { name: String },
}

/// All kubeconfigs that count, merged; the first that says something wins.
pub(super) fn read(flag: Option<&Path>) -> Result<Kubeconfig, ChoiceError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ChoiceError::Read { path, source: unusable::cause(error) }
    };
    if let Some(path) = flag {
        return Kubeconfig::read_from(path).map_err(failed(path));
    }
    let mut merged = Kubeconfig::default();
    // One that is named and missing is no error: kubectl itself makes it when it first writes.
    for path in named(std::env::var_os("KUBECONFIG"), std::env::home_dir())
        .into_iter()
        .filter(|path| path.exists())
    {
        let next = Kubeconfig::read_from(&path).and_then(|next| merged.merge(next));
        merged = next.map_err(failed(&path))?;
    }
    Ok(merged)
}

fn named(variable: Option<std::ffi::OsString>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let listed = variable.unwrap_or_default();
    let listed: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() {
        home.map(|home| home.join(".kube").join("config")).into_iter().collect()
    } else {
        listed
    }
}

/// What there is to choose from; nothing of what cannot be read.
pub(super) fn names(flag: Option<&Path>, list: &str) -> Vec<String> {
    let Ok(config) = read(flag) else { return Vec::new() };
    match list {
        "contexts" => config.contexts.into_iter().map(|context| context.name).collect(),
        "clusters" => config.clusters.into_iter().map(|cluster| cluster.name).collect(),
        _ => config.auth_infos.into_iter().map(|user| user.name).collect(),
    }
}

/// Whether nobody ever said anything about a cluster.
pub(super) fn is_empty(config: &Kubeconfig) -> bool {
    config.clusters.is_empty() && config.contexts.is_empty() && config.auth_infos.is_empty()
}

/// What `flags` choose of `config`; what is not named by anybody is empty.
pub(super) fn choose(config: &Kubeconfig, flags: &ClusterFlags) -> Result<Chosen, ChoiceError> {
    let context = flags.context.as_ref().or(config.current_context.as_ref());
    let context = context.filter(|name| !name.is_empty());
    let context = context
        .map(|name| {
            let named = config.contexts.iter().find(|context| context.name == *name);
            let context = named.and_then(|named| named.context.clone());
            context.ok_or_else(|| ChoiceError::NoContext { name: name.clone() })
        })
        .transpose()?
        .unwrap_or_default();
    let cluster = flags.cluster.as_ref().or(Some(&context.cluster).filter(|name| !name.is_empty()));
    let cluster = cluster.map(|name| {
        let named = config.clusters.iter().find(|cluster| cluster.name == *name);
        let cluster = named.and_then(|named| named.cluster.clone());
        cluster.ok_or_else(|| ChoiceError::NoCluster { name: name.clone() })
    });
    let find_user = |name: &String| {
        let named = config.auth_infos.iter().find(|user| user.name == *name)?;
        Some(named.auth_info.clone().unwrap_or_default())
    };
    let user = match (&flags.user, &context.user) {
        (Some(name), _) => {
            find_user(name).ok_or_else(|| ChoiceError::NoUser { name: name.clone() })?
        }
        // A context may name a user that is nowhere, and is then nobody.
        (None, Some(name)) => find_user(name).unwrap_or_default(),
        (None, None) => AuthInfo::default(),
    };
    Ok(Chosen {
        cluster: cluster.transpose()?.unwrap_or_default(),
        user,
        namespace: context.namespace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
clusters:
- {name: blue, cluster: {server: "https://blue:6443"}}
- {name: green, cluster: {server: "https://green:6443"}}
users:
- {name: alice, user: {token: a}}
- {name: bob, user: {token: b, as: carol}}
contexts:
- {name: day, context: {cluster: blue, user: alice, namespace: shop}}
- {name: night, context: {cluster: green, user: nobody}}
- {name: gone, context: {cluster: red, user: alice}}
current-context: day
"#;

    fn chosen(flags: &ClusterFlags) -> Result<(Option<String>, bool, Option<String>), String> {
        let config = Kubeconfig::from_yaml(TEXT).expect("a kubeconfig");
        let chosen = choose(&config, flags).map_err(|error| error.to_string())?;
        Ok((chosen.cluster.server, chosen.user.token.is_some(), chosen.namespace))
    }

    fn named(context: Option<&str>, cluster: Option<&str>, user: Option<&str>) -> ClusterFlags {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let (context, cluster, user) = (owned(context), owned(cluster), owned(user));
        ClusterFlags { context, cluster, user, ..ClusterFlags::default() }
    }

    #[test]
    fn a_context_is_a_cluster_a_user_and_a_namespace() {
        let server = |name: &str| Some(format!("https://{name}:6443"));
        let shop = || Some("shop".to_owned());
        assert_eq!(chosen(&named(None, None, None)), Ok((server("blue"), true, shop())));
        assert_eq!(chosen(&named(Some("night"), None, None)), Ok((server("green"), false, None)));
        assert_eq!(
            chosen(&named(None, Some("green"), Some("bob"))),
            Ok((server("green"), true, shop()))
        );
    }

    #[test]
    fn what_is_named_and_missing_is_said_in_kubectl_s_words() {
        let error = |flags: ClusterFlags| chosen(&flags).expect_err("nothing of that name");
        assert_eq!(error(named(Some("x"), None, None)), "context \"x\" does not exist");
        assert_eq!(error(named(None, Some("x"), None)), "cluster \"x\" does not exist");
        assert_eq!(error(named(None, None, Some("x"))), "auth info \"x\" does not exist");
        assert_eq!(error(named(Some("gone"), None, None)), "cluster \"red\" does not exist");
    }

    #[test]
    fn without_a_list_it_is_the_file_in_the_home() {
        let home = Some(PathBuf::from("/h"));
        let default = [PathBuf::from("/h/.kube/config")];
        assert_eq!(super::named(None, home.clone()), default);
        assert_eq!(super::named(Some("".into()), home.clone()), default);
        let list = std::env::join_paths(["/a", "", "/b"]).expect("a list");
        assert_eq!(super::named(Some(list), home), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
