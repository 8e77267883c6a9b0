//! The target of a command, looked for while the rest of its session gets ready.

use std::path::PathBuf;
use std::pin::pin;

use entry::{Plan, Request, Target};
use tokio::runtime::Builder;

use super::args::{ExecArgs, PodName};
use super::warning::warn;
use crate::runtime::{ContainerRuntime, Containerd, Query};
use crate::session::{self, PolicyError, StartError};
use crate::tools::Tools;

/// Where a target is to be found.
pub(super) enum Search {
    Process(u32),
    Containerd { socket: PathBuf, query: Query },
}

impl Search {
    pub(super) fn of(args: &ExecArgs) -> Self {
        match query(args) {
            Some(query) => Self::Containerd { socket: args.containerd.clone(), query },
            None => Self::Process(args.pid.map_or(0, i32::unsigned_abs)),
        }
    }

    /// Holds the target and decides what to do to it for the `request`. What has to be done besides is done
    /// `meanwhile`: once containerd has been asked, and before the request is put together.
    pub(super) fn planned<T>(
        self,
        request: impl FnOnce() -> Result<Request, PolicyError>,
        tools: Tools,
        meanwhile: impl FnOnce() -> T,
    ) -> (T, Result<(Target, Plan), StartError>) {
        match self {
            Self::Process(pid) => (meanwhile(), by_pid(pid, request)),
            Self::Containerd { socket, query } => {
                // One thread, which ends before the tool starts.
                match Builder::new_current_thread().enable_io().enable_time().build() {
                    Ok(runtime) => {
                        let containerd = Containerd::new(&socket);
                        runtime.block_on(asked(&containerd, &query, request, tools, meanwhile))
                    }
                    Err(source) => (meanwhile(), Err(StartError::Runtime { source })),
                }
            }
        }
    }
}

fn by_pid(
    pid: u32,
    request: impl FnOnce() -> Result<Request, PolicyError>,
) -> Result<(Target, Plan), StartError> {
    let request = request()?;
    let target = Target::open(pid)?;
    let plan = session::plan(&target, request)?;
    Ok((target, plan))
}

async fn asked<T>(
    containerd: &Containerd,
    query: &Query,
    request: impl FnOnce() -> Result<Request, PolicyError>,
    tools: Tools,
    meanwhile: impl FnOnce() -> T,
) -> (T, Result<(Target, Plan), StartError>) {
    let (located, done) = beside(containerd.locate(query), meanwhile).await;
    let planned = async {
        let request = request()?;
        let located = located?;
        let target = session::hold(containerd, &located).await?;
        if let Some(note) = located.note(tools, None) {
            warn(&note);
        }
        let facts = session::facts(&target, &located)?;
        let plan = Plan::new(session::within(&located, request), &facts)?;
        Ok((target, plan))
    };
    (done, planned.await)
}

/// Turns of the runtime after which a question is written, connecting included. One too few would cost a
/// wait; one too many costs a system call.
const TURNS: usize = 8;

/// Waits for an answer, and does something `meanwhile`, once the question is on its way.
async fn beside<A, T>(answer: impl Future<Output = A>, meanwhile: impl FnOnce() -> T) -> (A, T) {
    let mut answer = pin!(answer);
    for _ in 0..TURNS {
        tokio::select! {
            biased;
            answer = &mut answer => return (answer, meanwhile()),
            () = tokio::task::yield_now() => {}
        }
    }
    let done = meanwhile();
    (answer.await, done)
}

fn query(args: &ExecArgs) -> Option<Query> {
    let namespace = args.containerd_namespace.clone();
    match (&args.container, &args.pod) {
        (Some(prefix), _) => Some(Query::Container { prefix: prefix.clone(), namespace }),
        (None, Some(PodName { namespace: pods, name })) => Some(Query::Pod {
            namespace: pods.clone(),
            name: name.clone(),
            container: args.container_name.clone(),
            containerd_namespace: namespace,
            declared: false,
        }),
        (None, None) => None,
    }
}
