//! Entering the namespaces of a container with tools it does not have.
//!
//! In the agent: [`Target::open`] takes hold of a process, [`Target::facts`] looks at it,
//! [`Plan::new`] decides, [`start`] starts a *helper*. The helper is this same program in a process
//! of one thread: it leaves the node's mount namespace, joins the target's other namespaces by one
//! `setns(2)`, gives up whatever a confined session may not hold, and only then forks the
//! *supervisor*, which is inside of the target's pid namespace and forks the *tool*. A [`Session`] is the agent's view of all three.
//!
//! Order is the design; docs/entering.md gives the reason for each place in it. Deliberately absent:
//! threads, containerd, Kubernetes, and any knowledge of who may do this.

mod capability;
mod cgroup;
mod child;
mod confine;
mod declared;
mod descendants;
mod facts;
mod helper;
mod image;
mod ipc;
mod kind;
mod message;
mod moment;
mod mounts;
mod name;
mod namespaces;
mod order;
mod outline;
mod plan;
mod privilege;
pub mod probe;
mod procfs;
mod profile;
pub mod pty;
mod rehearsal;
mod relay;
mod rings;
mod root;
mod seccomp;
mod session;
mod signs;
mod spawn;
mod supervisor;
mod survey;
mod sys;
mod target;
mod tool;
mod watch;
mod whereabouts;

pub use capability::{Capabilities, Capability};
pub use cgroup::{
    BadCpu, BadMemory, CgroupError, Cgroups, Closed, Cpu, Exhausted, Layout, Memory,
    OutOfProcesses, Resources, SessionCgroup, make_cgroups_writable,
};
pub use child::Child;
pub use declared::Declared;
pub use facts::{Facts, IdMap, Shared};
pub use helper::helper_main;
pub use image::{HelperImage, ImageError};
pub use kind::{BadKinds, Kind, Kinds};
pub use message::{Exit, Failure, Relayed, Step};
pub use moment::Moment;
pub use namespaces::in_initial_pids;
pub use outline::Outline;
pub use plan::{ConfinementRequest, Plan, PlanError, Request, Tool};
pub use profile::{BadRunAs, Profile, RunAs};
pub use rehearsal::{Rehearsal, Rehearsed};
pub use relay::relay_main;
pub use session::{Event, RelayLine, Session, SessionError};
pub use signs::{HostSigns, OfNode, Reached};
pub use spawn::{
    HELPER_ARG, RELAY_ARG, RelayedStdio, SpawnError, Stdio, Waiting, WaitingRelay, start,
    start_relayed,
};
pub use target::{Target, TargetError};
pub use whereabouts::Whereabouts;
