//! Where a session is: in a container, as its runtime describes it, or on the node itself.

use entry::{Facts, Profile, Request, Target, Tool};
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
pub enum Place {
    Container(Box<Located>),
    Node,
}

/// What stands for a container's ID where there is no container.
const NODE: &str = "node";

impl Place {
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

fn words(tool: &Tool) -> Vec<String> {
    tool.argv.iter().map(|text| text.to_string_lossy().into_owned()).collect()
}
