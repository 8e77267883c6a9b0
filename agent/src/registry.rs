//! The sessions that run, by ID: to be listed, and ended from outside.
//!
//! A session is in here from its start until its guard is dropped. Each caller sees its own; root of
//! the node sees all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entry::Profile;
use rustix::rand::{GetRandomFlags, getrandom};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use wire::{Forwarded, SessionInfo};

use crate::listen::Caller;
use crate::peer::Peer;
use crate::session::stream::traffic::Traffic;

/// Bytes of randomness in an ID: no two of the sessions that a node ever has are the same.
const ID_BYTES: usize = 8;

/// The name of one session: random, lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// A new one. The kernel refuses randomness only before it has booted.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; ID_BYTES];
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(format!("{:0width$x}", u64::from_ne_bytes(bytes), width = 2 * ID_BYTES)))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What there is to say of a session apart from its traffic.
#[derive(Clone, Debug)]
pub struct About {
    pub container: String,
    pub pod: Option<String>,
    pub pid: u32,
    pub command: Vec<String>,
    pub peer: Peer,
    pub profile: Option<Profile>,
    /// The pid namespace of others that the tool is in.
    pub pids: Option<u64>,
}

impl About {
    /// Whether the two are different people's and their tools would see each other. Whatever their profiles are: tools
    /// of one user with the same capabilities may signal and trace each other, and those of `baseline` are one user.
    fn endangers(&self, other: &Self) -> bool {
        self.pids.is_some() && self.pids == other.pids && self.peer.caller() != other.peer.caller()
    }
}

/// A session of another caller is where this one would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "session {id} of {caller} is in {container}: sessions of different callers cannot share its processes. Wait until it ends, ask {caller} to end it, or join no processes (--namespaces net)"
)]
pub struct Neighbour {
    id: String,
    caller: Caller,
    container: String,
}

/// All of them; clones share.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<SessionId, Entry>>>);

#[derive(Debug)]
struct Entry {
    about: About,
    started: OffsetDateTime,
    traffic: Arc<Traffic>,
    /// Who ended it.
    end: watch::Sender<Option<String>>,
}

/// A session's place in the registry.
#[derive(Debug)]
#[must_use = "the session is no longer listed when this is dropped"]
pub struct Registered {
    registry: Registry,
    id: SessionId,
    traffic: Arc<Traffic>,
    end: watch::Receiver<Option<String>>,
}

/// A session that was told to end.
#[derive(Debug)]
pub struct EndedSession {
    pub info: SessionInfo,
    end: watch::Sender<Option<String>>,
}

/// Why none was told to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchSession {
    #[error("no session of yours here has an ID that begins with `{given}`")]
    Unknown { given: String },
    #[error("`{given}` is the beginning of more than one session's ID, give more of it: {ids}")]
    Ambiguous { given: String, ids: String },
}

/// Sees that nobody else's session is where `about` would be.
fn alone(entries: &BTreeMap<SessionId, Entry>, about: &About) -> Result<(), Neighbour> {
    let neighbour = entries.iter().find(|(_, entry)| entry.about.endangers(about));
    neighbour.map_or(Ok(()), |(id, entry)| {
        let caller = entry.about.peer.caller();
        let About { container, pod, .. } = &entry.about;
        let container = pod.clone().unwrap_or_else(|| container.clone());
        Err(Neighbour { id: id.to_string(), caller, container })
    })
}

impl Registry {
    /// Takes `about` in, from before its tool starts until the result is dropped.
    pub fn enter(&self, id: SessionId, about: About) -> Result<Registered, Neighbour> {
        let mut entries = self.entries();
        alone(&entries, &about)?;
        let (end, ended) = watch::channel(None);
        let traffic = Arc::new(Traffic::begin());
        let started = OffsetDateTime::now_utc();
        let entry = Entry { about, started, traffic: Arc::clone(&traffic), end };
        entries.insert(id.clone(), entry);
        drop(entries);
        Ok(Registered { registry: self.clone(), id, traffic, end: ended })
    }

    /// Whether `about` would be taken in.
    pub fn look(&self, about: &About) -> Result<(), Neighbour> {
        alone(&self.entries(), about)
    }

    /// What `peer` may see, the oldest first.
    #[must_use]
    pub fn list(&self, peer: &Peer) -> Vec<SessionInfo> {
        let entries = self.entries();
        let mut seen: Vec<_> =
            entries.iter().filter(|(_, entry)| peer.oversees(&entry.about.peer)).collect();
        seen.sort_by_key(|(_, entry)| entry.traffic.since());
        seen.into_iter().map(|(id, entry)| entry.info(id)).collect()
    }

    /// Tells the session whose ID begins with `given` that `peer` ends it.
    pub fn end(&self, given: &str, peer: &Peer) -> Result<EndedSession, NoSuchSession> {
        let entries = self.entries();
        let found: Vec<_> = entries
            .iter()
            .filter(|(id, entry)| {
                !given.is_empty()
                    && id.as_str().starts_with(given)
                    && peer.oversees(&entry.about.peer)
            })
            .collect();
        match found[..] {
            [] => Err(NoSuchSession::Unknown { given: wire::shown(given) }),
            [(id, entry)] => {
                entry.tell_to_end(peer.to_string());
                Ok(EndedSession { info: entry.info(id), end: entry.end.clone() })
            }
            [..] => {
                let ids: Vec<_> = found.iter().map(|(id, _)| id.as_str()).collect();
                Err(NoSuchSession::Ambiguous { given: wire::shown(given), ids: ids.join(", ") })
            }
        }
    }

    /// Tells the sessions that a gateway has vouched for in these very words that it ends them, and the `cause`
    /// in words; how many there are.
    #[must_use]
    pub fn withdraw(&self, vouched: &Forwarded, cause: &str) -> usize {
        let is_meant = |peer: &Peer| match peer {
            Peer::Gateway { forwarded, .. } => **forwarded == *vouched,
            Peer::Root { .. } | Peer::Certificate { .. } => false,
        };
        let entries = self.entries();
        let meant = entries.values().filter(|entry| is_meant(&entry.about.peer));
        meant.map(|entry| entry.tell_to_end(format!("the gateway: {cause}"))).count()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<SessionId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Who was first stays the reason.
    fn tell_to_end(&self, by: String) {
        self.end.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(by);
            is_first
        });
    }

    fn info(&self, id: &SessionId) -> SessionInfo {
        let About { container, pod, pid, command, peer, profile, pids: _ } = &self.about;
        let [stdin_bytes, stdout_bytes, stderr_bytes] = self.traffic.bytes();
        SessionInfo {
            id: id.to_string(),
            container: container.clone(),
            pod: pod.clone(),
            pid: *pid,
            command: command.clone(),
            caller: peer.to_string(),
            profile: profile.map(|profile| profile.to_string()),
            // Only a year past 9999 has no such text.
            started: self.started.format(&Rfc3339).unwrap_or_default(),
            seconds: self.traffic.since().elapsed().as_secs(),
            stdin_bytes,
            stdout_bytes,
            stderr_bytes,
        }
    }
}

impl Registered {
    /// Where it is.
    pub(crate) fn container(&self) -> Option<String> {
        self.registry.entries().get(&self.id).map(|entry| entry.about.container.clone())
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Completes when a caller ends this session, with who that is.
    pub(crate) async fn ended(&self) -> String {
        let mut end = self.end.clone();
        // The guard that comes of it must not be held across a wait.
        let by = end.wait_for(Option::is_some).await.ok().and_then(|by| by.clone());
        match by {
            Some(by) => by,
            // The entry goes with `self`, so that this cannot be.
            None => std::future::pending().await,
        }
    }
}

impl EndedSession {
    /// Completes when nothing of the session is left.
    pub async fn gone(&self) {
        self.end.closed().await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::holder_named;
    use futures_util::FutureExt;

    const ROOT: Peer = Peer::Root { pid: Some(7) };

    fn named(name: &str) -> Peer {
        let address = "127.0.0.1:1".parse().expect("an address");
        Peer::Certificate { holder: holder_named(name), address }
    }

    fn enter(registry: &Registry, id: &str, peer: Peer) -> Registered {
        let command = vec!["ps".to_owned()];
        let container = "c".to_owned();
        let about =
            About { container, pod: None, pid: 1, command, peer, profile: None, pids: None };
        registry.enter(SessionId(id.to_owned()), about).expect("no neighbour")
    }

    fn ids(list: &[SessionInfo]) -> Vec<&str> {
        list.iter().map(|info| info.id.as_str()).collect()
    }

    #[test]
    fn ids_are_hexadecimal_and_differ() {
        let (one, two) = (SessionId::random().expect("an ID"), SessionId::random().expect("an ID"));
        assert!(one.0.len() == 16 && one.0.bytes().all(|b| b.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, two);
    }

    #[test]
    fn each_caller_sees_its_own_and_root_sees_all() {
        let registry = Registry::default();
        let (alice, namesake) = (named("alice"), named("alice"));
        let _all = [("a1", alice.clone()), ("b1", namesake.clone()), ("c1", ROOT)]
            .map(|(id, peer)| enter(&registry, id, peer));
        assert_eq!(ids(&registry.list(&alice)), ["a1"]);
        assert_eq!(ids(&registry.list(&namesake)), ["b1"]);
        assert_eq!(ids(&registry.list(&ROOT)), ["a1", "b1", "c1"]);
        let others = registry.end("b1", &alice).expect_err("another's");
        assert!(matches!(others, NoSuchSession::Unknown { .. }));
    }

    #[test]
    fn a_session_is_ended_by_any_unique_beginning_of_its_id() {
        let registry = Registry::default();
        let (one, two) = (enter(&registry, "ab12", ROOT), enter(&registry, "ab34", ROOT));
        let both = registry.end("ab", &ROOT).expect_err("two").to_string();
        assert!(both.ends_with("ab12, ab34"), "{both}");
        assert!(registry.end("", &ROOT).is_err() && registry.end("ff", &ROOT).is_err());
        let ended = registry.end("ab1", &ROOT).expect("one");
        assert_eq!(one.ended().now_or_never().as_deref(), Some("root (process 7)"));
        assert!(two.ended().now_or_never().is_none());
        assert!(ended.gone().now_or_never().is_none());
        drop(one);
        assert!(ended.gone().now_or_never().is_some());
        assert_eq!(ids(&registry.list(&ROOT)), ["ab34"]);
    }

    #[test]
    fn who_ended_it_first_stays_the_reason() {
        let registry = Registry::default();
        let alice = named("alice");
        let one = enter(&registry, "ab12", alice.clone());
        registry.end("ab12", &alice).expect("one");
        registry.end("ab12", &ROOT).expect("the same");
        let by = one.ended().now_or_never().expect("ended");
        assert!(by.starts_with("certificate alice"), "{by}");
    }

    #[test]
    fn a_gateway_ends_what_it_has_vouched_for_and_nothing_else() {
        let vouched = |user: &str, audit_id: &str| Forwarded {
            user: user.to_owned(),
            session_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            audit_id: audit_id.parse().expect("an ID"),
            pod_uid: Some("u1".to_owned()),
            container_id: None,
            waiting: None,
            host_target: false,
            max_profile: wire::Profile::General,
        };
        let through = |forwarded: Forwarded| Peer::Gateway {
            address: std::net::SocketAddr::from(([192, 0, 2, 1], 9443)),
            forwarded: Arc::new(forwarded),
        };
        let registry = Registry::default();
        let [one, two, three] = [
            ("a1", through(vouched("alice", "1"))),
            ("a2", through(vouched("alice", "2"))),
            ("b1", through(vouched("bob", "1"))),
        ]
        .map(|(id, peer)| enter(&registry, id, peer));
        let _roots = enter(&registry, "c1", ROOT);
        assert_eq!(registry.withdraw(&vouched("carol", "1"), "it is shutting down"), 0);
        assert_eq!(registry.withdraw(&vouched("alice", "1"), "it is shutting down"), 1);
        let by = one.ended().now_or_never();
        assert_eq!(by.as_deref(), Some("the gateway: it is shutting down"));
        assert!(two.ended().now_or_never().is_none() && three.ended().now_or_never().is_none());
    }

    #[test]
    fn nobody_is_beside_a_stranger_whatever_their_profiles_are() {
        let about = |peer: &Peer, profile, pids| About {
            container: "web".to_owned(),
            pod: None,
            pid: 1,
            command: vec!["ps".to_owned()],
            peer: peer.clone(),
            profile: Some(profile),
            pids: Some(pids),
        };
        let registry = Registry::default();
        let (alice, bob) = (named("alice"), named("bob"));
        let enter = |id: &str, about| registry.enter(SessionId(id.to_owned()), about);
        let _first = enter("aa", about(&alice, Profile::General, 7)).expect("the first");
        let refused = enter("bb", about(&bob, Profile::Baseline, 7)).expect_err("a stranger");
        for word in ["session aa of certificate alice", "is in web:", "--namespaces net"] {
            assert!(refused.to_string().contains(word), "{word}: {refused}");
        }
        let namesake = about(&named("alice"), Profile::Baseline, 7);
        assert!(enter("bc", namesake).is_err(), "her name is not her key");
        let _own = enter("cc", about(&alice, Profile::Netadmin, 7)).expect("her own");
        let _else = enter("dd", about(&bob, Profile::General, 8)).expect("elsewhere");
        for profile in [Profile::Restricted, Profile::Baseline] {
            let harmless = about(&named("carol"), profile, 9);
            let one = enter("ee", harmless.clone()).expect("the first there");
            let beside = About { peer: bob.clone(), ..harmless };
            assert!(enter("ff", beside.clone()).is_err(), "the same user: {profile}");
            let _without = enter("ff", About { pids: None, ..beside }).expect("it sees nobody");
            drop(one);
        }
    }
}
