//! `--follow`: the pods of a selector as they come, restart and go, by the API server's own watch.
//!
//! A watch that ends begins again with a list. So no pod is missed, whatever ended it.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::core::WatchEvent;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::select::Followed;
use crate::kubernetes::error::ClusterError;
use crate::kubernetes::{Cluster, ListedPod};

/// What is seen of pods and not yet looked at: past it the watch waits.
const QUEUE: usize = 64;

/// Between two lists: a user who may not watch pods has them listed as often.
const AGAIN: Duration = Duration::from_secs(2);

/// Namespace and name of a pod.
pub(crate) type PodKey = (String, String);

#[derive(Debug)]
pub(crate) enum Seen {
    /// As it is now, by which selector; whether it was not in the first list.
    Pod(usize, Box<ListedPod>, IsNew),
    Gone(PodKey),
    /// The list of one selector is at its end: no other pods are there.
    All(usize, HashSet<PodKey>),
    /// Pods cannot be watched now. It is tried again.
    Trouble(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsNew(pub(crate) bool);

/// The pods of all that is `followed`, until what is returned is dropped.
pub(crate) fn follow(cluster: &Arc<Cluster>, followed: Vec<Followed>) -> mpsc::Receiver<Seen> {
    let (seen, see) = mpsc::channel(QUEUE);
    for (place, one) in followed.into_iter().enumerate() {
        let (cluster, seen) = (Arc::clone(cluster), seen.clone());
        tokio::spawn(async move { watch(&cluster, place, &one, &seen).await });
    }
    see
}

/// Ends when nobody looks any more.
async fn watch(cluster: &Cluster, place: usize, one: &Followed, seen: &mpsc::Sender<Seen>) {
    let mut is_new = IsNew(false);
    let mut is_in_trouble = false;
    loop {
        let watched = tokio::select! {
            watched = once(cluster, place, one, is_new, seen) => watched,
            () = seen.closed() => return,
        };
        match watched {
            Ok(()) => is_in_trouble = false,
            Err(error) if !is_in_trouble => {
                is_in_trouble = true;
                let _ = seen.send(Seen::Trouble(wire::chain(&error))).await;
            }
            Err(_) => {}
        }
        is_new = IsNew(true);
        sleep(AGAIN).await;
    }
}

/// Lists, and watches from there to the end of that watch.
async fn once(
    cluster: &Cluster,
    place: usize,
    one: &Followed,
    is_new: IsNew,
    seen: &mpsc::Sender<Seen>,
) -> Result<(), ClusterError> {
    let mut listed = Vec::new();
    let namespace = one.namespace.as_deref();
    let version = cluster.list(namespace, &one.query, |pod| listed.push(pod)).await?;
    let all = listed.iter().map(key).collect();
    for pod in listed {
        let _ = seen.send(Seen::Pod(place, Box::new(pod), is_new)).await;
    }
    let _ = seen.send(Seen::All(place, all)).await;
    let mut events = pin!(cluster.watch(namespace, &one.query, &version).await?);
    while let Some(event) = events.next().await {
        let one = match event? {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                Seen::Pod(place, Box::new(pod), IsNew(true))
            }
            WatchEvent::Deleted(pod) => Seen::Gone(key(&pod)),
            WatchEvent::Bookmark(_) => continue,
            // Too old a version, as a rule.
            WatchEvent::Error(_) => return Ok(()),
        };
        let _ = seen.send(one).await;
    }
    Ok(())
}

pub(crate) fn key(pod: &ListedPod) -> PodKey {
    (pod.metadata.namespace.clone(), pod.metadata.name.clone())
}
