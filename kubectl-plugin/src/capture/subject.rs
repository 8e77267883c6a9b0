//! Whose packets are captured: from what is asked for to pods, what is known of them, and their sessions.

use std::collections::BTreeSet;
use std::net::IpAddr;

use capture::pcapng::Interface;
use futures_util::future::join_all;
use wire::{ApiTarget, SessionTarget};

use super::error::CaptureError;
use super::names::{self, Facts, KnownNames};
use super::tool::{self, ToolWords, Traffic};
use crate::cli::{CertificateFlags, ClusterFlags, UsageError};
use crate::connect::{self, Address, Connection, Credentials};
use crate::error::Failure;
use crate::kubernetes::Cluster;
use crate::many::member::Member;
use crate::many::select::{Wish, select};
use crate::many::session::{self, Deadline, Ends, pipes};
use crate::stdio::Sink;

/// Who is asked for sessions, and for which.
#[derive(Debug)]
pub(crate) enum Access {
    Cluster { flags: Box<ClusterFlags>, certificates: Box<CertificateFlags>, wish: Box<Wish> },
    Agent { address: Address, credentials: Box<Credentials>, targets: Vec<SessionTarget> },
}

/// The way to sessions, once it is open.
pub(super) enum OpenWay {
    Cluster(Box<Cluster>),
    Agent { address: Address, credentials: Box<Credentials> },
}

#[derive(Clone, Debug)]
pub(super) enum At {
    Api(ApiTarget),
    Agent(SessionTarget),
}

/// A pod whose packets are captured.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// `shop/web-1`.
    pub(super) name: String,
    pub(super) at: At,
    /// Empty where it is not known.
    pub(super) node: String,
    pub(super) interface: Interface,
    /// Why it is not captured.
    pub(super) refusal: Option<String>,
}

impl Subject {
    /// What its file is called, where each has one.
    pub(super) fn file_name(&self) -> String {
        self.name.replace('/', "_")
    }
}

pub(super) struct Subjects {
    pub(super) way: OpenWay,
    pub(super) all: Vec<Subject>,
    pub(super) names: Vec<(IpAddr, String)>,
}

pub(super) async fn find(access: Access, traffic: &Traffic) -> Result<Subjects, Failure> {
    match access {
        Access::Cluster { flags, certificates, wish } => {
            let cluster = Cluster::open(&flags, &certificates).await?;
            let (members, _) = select(&cluster, &wish).await?;
            let namespaces: BTreeSet<_> =
                members.iter().filter_map(|member| member.namespace().map(str::to_owned)).collect();
            let known = names::learn(&cluster, &namespaces).await;
            let subject = |member: Member| in_cluster(member, &known, traffic);
            let subjects = members.into_iter().map(subject).collect::<Result<_, _>>()?;
            let way = OpenWay::Cluster(Box::new(cluster));
            Ok(Subjects { way, all: subjects, names: known.names })
        }
        Access::Agent { address, credentials, targets } => {
            let subjects = targets.iter().map(|target| at_agent(target, traffic)).collect();
            let way = OpenWay::Agent { address, credentials };
            Ok(Subjects { way, all: subjects, names: Vec::new() })
        }
    }
}

fn in_cluster(member: Member, known: &KnownNames, traffic: &Traffic) -> Result<Subject, Failure> {
    const OF_ITS_NODE: &str =
        "it has the network of its node, whose packets include those of this capture";
    let ApiTarget::Pod { namespace, name } = &member.target else {
        return Err(UsageError::CaptureOfNode.into());
    };
    let facts = known.pod(namespace.as_str(), name.as_str());
    let node = Some(facts.node.clone()).filter(|node| !node.is_empty()).or(member.node.clone());
    let node = node.unwrap_or_default();
    let name = format!("{namespace}/{name}");
    let interface = interface(&name, &node, member.container.as_deref(), &facts, traffic);
    let refusal = facts.has_host_network.then(|| OF_ITS_NODE.to_owned());
    Ok(Subject { name, at: At::Api(member.target), node, interface, refusal })
}

fn at_agent(target: &SessionTarget, traffic: &Traffic) -> Subject {
    let name = match target {
        SessionTarget::Pod { namespace, name } => format!("{namespace}/{name}"),
        SessionTarget::Container(id) => format!("container/{id}"),
        SessionTarget::Node => "node".to_owned(),
    };
    let interface = interface(&name, "", None, &Facts::default(), traffic);
    let (at, node, refusal) = (At::Agent(target.clone()), String::new(), None);
    Subject { name, at, node, interface, refusal }
}

/// What the file says of a pod's packets.
fn interface(
    name: &str,
    node: &str,
    container: Option<&str>,
    facts: &Facts,
    traffic: &Traffic,
) -> Interface {
    let filter = traffic.filter.as_deref().unwrap_or_default();
    let known = [
        ("node", node),
        ("container", container.unwrap_or_default()),
        ("pod uid", facts.uid.as_str()),
        ("filter", filter),
    ];
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    let expected = traffic.expected();
    Interface {
        link: expected.link,
        snaplen: expected.snaplen,
        name: format!("{name}:{}", traffic.interface),
        description: known
            .map(|(key, value)| format!("{key} {value}"))
            .collect::<Vec<_>>()
            .join(", "),
        filter: filter.to_owned(),
        addresses: facts.addresses.clone(),
    }
}

/// Opens the session of `query` in `at`.
pub(super) async fn open(
    way: &OpenWay,
    at: &At,
    query: &str,
    deadline: Deadline,
) -> Result<Connection, Failure> {
    match (way, at) {
        (OpenWay::Cluster(cluster), At::Api(target)) => {
            session::open(cluster, target, query, deadline).await
        }
        (OpenWay::Agent { address, credentials }, At::Agent(target)) => {
            let path = format!("{}?{query}", target.path());
            Ok(connect::connect(address, credentials, &path).await?)
        }
        // A way finds subjects of its own kind only.
        _ => Err(UsageError::NoTarget.into()),
    }
}

/// Has tcpdump compile the filter before anything is captured: in one pod, as it is the same in all; where an
/// interface is named, in each, because not every pod has it.
pub(super) async fn check(
    way: &OpenWay,
    subjects: &[Subject],
    query: &str,
    traffic: &Traffic,
    deadline: Deadline,
) -> Result<(), Failure> {
    let mut subjects = subjects.iter().filter(|subject| subject.refusal.is_none());
    if traffic.is_any() {
        // A pod that cannot be entered says so when it is captured.
        let Some(subject) = subjects.next() else { return Ok(()) };
        let Ok(Some(words)) = judge(way, subject, query, deadline).await else { return Ok(()) };
        let (words, _) = tool::interfaces(&words);
        return Err(CaptureError::Refused { pod: subject.name.clone(), words }.into());
    }
    let judging =
        subjects.map(async |subject| (subject, judge(way, subject, query, deadline).await));
    let mut lists = Vec::new();
    for (subject, words) in join_all(judging).await {
        let Ok(Some(words)) = words else { continue };
        let (words, names) = tool::interfaces(&words);
        if !words.contains("No such device") && !words.contains("data link type") {
            return Err(CaptureError::Refused { pod: subject.name.clone(), words }.into());
        }
        lists.push(format!("{}: {words}; it has {}", subject.name, names.join(", ")));
    }
    if lists.is_empty() {
        return Ok(());
    }
    Err(CaptureError::Interface { interface: traffic.interface.clone(), lists }.into())
}

/// What the tool says where it refuses.
async fn judge(
    way: &OpenWay,
    subject: &Subject,
    query: &str,
    deadline: Deadline,
) -> Result<Option<String>, Failure> {
    let connection = open(way, &subject.at, query, deadline).await?;
    let (pipes, Ends { mut output, signals: _signals, asks: _asks }) = pipes(None);
    let mut words = ToolWords::default();
    let listening = async {
        while let Some(piece) = output.recv().await {
            if piece.to == Sink::Stderr {
                words.add(&piece.bytes);
            }
        }
    };
    let (outcome, ()) = tokio::join!(session::run(connection, pipes, deadline), listening);
    Ok((outcome?.code != 0).then(|| words.other()))
}
