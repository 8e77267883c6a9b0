//! Where a session is: in a container, as its runtime describes it, or on the node itself.

use entry::{Facts, PlanError, Profile, Request, Target, Tool};
use tracing::info_span;

use super::{StartError, facts, hold, within};
use crate::peer::Peer;
use crate::registry::{About, SessionId};
use crate::runtime::{ContainerRuntime, LocateError, Located, Query};
use crate::tools::Tools;

/// What a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    Runtime(Query),
    Node,
}

/// What that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundTarget {
    Container(Box<Located>),
    Node,
}

/// Why a host target is not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEntered {
    /// The agent enters none.
    ByAgent,
    /// The agent enters those that its gateway allows.
    ByGateway,
    /// The command of a user on the node was not told to.
    ByCommand,
}

impl NotEntered {
    /// The end of the message, and what to do.
    fn said(self) -> (&'static str, &'static str) {
        match self {
            Self::ByAgent => (
                "host targets are not allowed here",
                "run the agent with --allow-host-targets (chart: hostTargets)",
            ),
            Self::ByGateway => (
                "the pod's spec does not show this, so the gateway did not check the user's right to host targets",
                "with that right, use --profile netadmin: the gateway then checks it",
            ),
            Self::ByCommand => {
                ("host targets are not entered by default", "--allow-host-targets enters it")
            }
        }
    }
}

/// What stands for a container's ID where there is no container.
const NODE: &str = "node";

impl FoundTarget {
    pub async fn find<R: ContainerRuntime>(runtime: &R, aim: &Aim) -> Result<Self, LocateError> {
        match aim {
            Aim::Runtime(query) => Ok(Self::Container(Box::new(runtime.locate(query).await?))),
            Aim::Node => Ok(Self::Node),
        }
    }

    /// Takes hold of a process that is there, and makes sure of that.
    pub async fn hold<R: ContainerRuntime>(&self, runtime: &R) -> Result<Target, StartError> {
        match self {
            Self::Container(located) => hold(runtime, located).await,
            Self::Node => Ok(Target::of_node()?),
        }
    }

    /// The same `error`, where it is about another container, with the name that people know that by.
    pub async fn named_in<R: ContainerRuntime>(
        &self,
        error: StartError,
        runtime: &R,
    ) -> StartError {
        named(error, self.located().map(|located| located.namespace.clone()), runtime).await
    }

    /// The same `error`, where it is that this is a host target: what people know it by, and `because` of what it
    /// is not entered.
    #[must_use]
    pub fn as_host_target(&self, error: StartError, because: NotEntered) -> StartError {
        match (self, error) {
            (Self::Node, StartError::Plan(PlanError::HostTarget { .. })) => {
                StartError::NodeNotAllowed
            }
            (Self::Container(located), StartError::Plan(PlanError::HostTarget { why, .. })) => {
                let target = match &located.pod {
                    Some(pod) => format!("container {}", pod.with_container()),
                    None => format!("container {}", located.id),
                };
                let (because, hint) = because.said();
                StartError::HostTarget { target, why, because, hint }
            }
            (_, error) => error,
        }
    }

    /// What there is to know of the process that `target` holds.
    pub fn facts(&self, target: &Target) -> Result<Facts, StartError> {
        match self {
            Self::Container(located) => facts(target, located),
            Self::Node => Ok(target.facts()?),
        }
    }

    /// The `request` as far as it makes sense here.
    #[must_use]
    pub fn within(&self, request: Request) -> Request {
        match self {
            Self::Container(located) => within(located, request),
            Self::Node => request,
        }
    }

    /// What a person should know before the output, or nothing. `waiting` says why a container does not run.
    #[must_use]
    pub fn note(&self, tools: Tools, waiting: Option<&str>) -> Option<String> {
        match self {
            Self::Container(located) => located.note(tools, waiting),
            Self::Node => None,
        }
    }

    /// The `request`, whose shell says on a terminal where it is.
    #[must_use]
    pub fn named_in_prompt(&self, mut request: Request) -> Request {
        let prompt = format!("{}:\\w\\$ ", self.name()).into();
        // A shell would run what a stranger's name has in it.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-./".contains(&b);
        if request.tool.terminal && self.name().bytes().all(is_plain) {
            request.tool.env.push(("PS1".into(), prompt));
        }
        request
    }

    /// As short as a person tells it from others.
    fn name(&self) -> String {
        /// Digits of an ID, as runtimes print it.
        const SHORT: usize = 12;
        match self {
            Self::Container(located) => match &located.pod {
                Some(pod) if pod.container.is_empty() => pod.name.clone(),
                Some(pod) => format!("{}/{}", pod.name, pod.container),
                None => located.id.chars().take(SHORT).collect(),
            },
            Self::Node => NODE.to_owned(),
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        match self {
            Self::Container(located) => located.pid,
            Self::Node => Target::OF_NODE,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Container(located) => &located.id,
            Self::Node => NODE,
        }
    }

    fn located(&self) -> Option<&Located> {
        match self {
            Self::Container(located) => Some(located),
            Self::Node => None,
        }
    }

    /// What the list of sessions says of one here.
    #[must_use]
    pub fn about(&self, tool: &Tool, peer: Peer, profile: Option<Profile>) -> About {
        let pod = self.located().and_then(|located| located.pod.as_ref());
        About {
            container: self.id().to_owned(),
            pod: pod.map(|pod| format!("{pod}/{}", pod.container.escape_debug())),
            pid: self.pid(),
            command: words(tool),
            peer,
            profile,
            pids: None,
        }
    }

    /// Whose session it is and where, for the log: what is done there is the audit's alone.
    #[must_use]
    pub fn span(&self, id: &SessionId, peer: &Peer) -> tracing::Span {
        let pod = self.located().and_then(|located| located.pod.as_ref());
        let pod = pod.map(ToString::to_string);
        info_span!("session", %id, container = self.id(), pod, pid = self.pid(), %peer)
    }
}

/// The same `error`, where it is about another container of this `namespace` of containerd, or of any, with the
/// name that people know that by.
pub async fn named<R: ContainerRuntime>(
    error: StartError,
    namespace: Option<String>,
    runtime: &R,
) -> StartError {
    let StartError::Traceable { container: Some(id) } = error else { return error };
    let pod = match id.parse() {
        Ok(prefix) => runtime.locate(&Query::Container { prefix, namespace }).await.ok(),
        Err(_) => None,
    };
    let named = pod.and_then(|located| located.pod).map(|pod| pod.with_container());
    StartError::Traceable { container: Some(named.unwrap_or(id)) }
}

fn words(tool: &Tool) -> Vec<String> {
    tool.argv.iter().map(|text| text.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::PodIdentity;
    use entry::Moment;

    fn located(id: &str, pod: Option<(&str, &str)>) -> Located {
        let pod = pod.map(|(name, container)| PodIdentity {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: "u1".to_owned(),
            container: container.to_owned(),
        });
        Located {
            id: id.to_owned(),
            namespace: "k8s.io".to_owned(),
            pid: 7,
            asked: Moment::default(),
            cgroup: None,
            declared: None,
            runtime: String::new(),
            program: None,
            pod,
            stands_in_for: None,
        }
    }

    fn prompt(id: &str, pod: Option<(&str, &str)>, terminal: bool) -> Option<String> {
        let located = located(id, pod);
        let tool = Tool { argv: vec!["sh".into()], env: Vec::new(), directory: None, terminal };
        let request = Request { kinds: None, join_user: false, limits: None, tool };
        let request = FoundTarget::Container(Box::new(located)).named_in_prompt(request);
        let prompt = request.tool.env.into_iter().find(|(name, _)| name == "PS1");
        prompt.map(|(_, prompt)| prompt.to_string_lossy().into_owned())
    }

    #[test]
    fn a_shell_on_a_terminal_says_where_it_is() {
        let id = "0123456789abcdef";
        let api = Some(("api-0", "app"));
        assert_eq!(prompt(id, api, true).as_deref(), Some(r"api-0/app:\w\$ "));
        assert_eq!(prompt(id, Some(("api-0", "")), true).as_deref(), Some(r"api-0:\w\$ "));
        assert_eq!(prompt(id, None, true).as_deref(), Some(r"0123456789ab:\w\$ "));
        assert_eq!(prompt(id, api, false), None);
    }

    #[test]
    fn a_host_target_is_named_as_people_know_it_with_what_would_allow_it() {
        let error = || {
            let (pid, name, why) = (7, "sleep".to_owned(), "it shares the node's net".to_owned());
            StartError::Plan(PlanError::HostTarget { pid, name, why })
        };
        let place = FoundTarget::Container(Box::new(located("0123", Some(("api-0", "app")))));
        let said = |because| place.as_host_target(error(), because).to_string();
        let refused = said(NotEntered::ByAgent);
        assert!(
            refused.starts_with("container app of pod shop/api-0 is a host target"),
            "{refused}"
        );
        assert!(refused.ends_with("host targets are not allowed here"), "{refused}");
        let unasked = said(NotEntered::ByGateway);
        assert!(unasked.contains("the user's right to host targets"), "{unasked}");
        let untold = place.as_host_target(error(), NotEntered::ByCommand).hint();
        assert!(
            untold.as_ref().is_some_and(|hint| hint.contains("--allow-host-targets")),
            "{untold:?}"
        );
        let node = FoundTarget::Node.as_host_target(error(), NotEntered::ByAgent).to_string();
        assert!(node.starts_with("sessions on the node itself are not allowed"), "{node}");
    }

    #[test]
    fn no_name_is_given_to_a_shell_that_would_run_it() {
        for name in ["$(reboot)", "a`b`", "a\\b", "a b", "ä"] {
            assert_eq!(prompt("0123", Some((name, "app")), true), None, "{name}");
        }
    }
}
