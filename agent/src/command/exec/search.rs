//! The target of a command, looked for while the rest of its session gets ready.

use std::io;
use std::path::PathBuf;
use std::pin::pin;

use entry::{Plan, Request, Target};
use tokio::runtime::{Builder, Runtime};

use super::args::{ExecArgs, PodName};
use super::warning::warn;
use crate::runtime::{ContainerRuntime, Containerd, Query};
use crate::session::place::{self, FoundTarget, NotEntered};
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
        &self,
        request: impl FnOnce() -> Result<Request, PolicyError>,
        tools: Tools,
        meanwhile: impl FnOnce() -> T,
    ) -> (T, Result<(Target, Plan), StartError>) {
        match self {
            Self::Process(pid) => (meanwhile(), by_pid(*pid, request)),
            Self::Containerd { socket, query } => match runtime() {
                Ok(runtime) => {
                    let containerd = Containerd::new(socket);
                    runtime.block_on(asked(&containerd, query, request, tools, meanwhile))
                }
                Err(source) => (meanwhile(), Err(StartError::Runtime { source })),
            },
        }
    }

    /// The same `error`, where it is about another container, with the name that people know that by.
    pub(super) fn named(&self, error: StartError) -> StartError {
        let Self::Containerd { socket, query } = self else { return error };
        let (Query::Container { namespace, .. }
        | Query::Pod { containerd_namespace: namespace, .. }) = query;
        match runtime() {
            Ok(runtime) => {
                let containerd = Containerd::new(socket);
                runtime.block_on(place::named(error, namespace.clone(), &containerd))
            }
            Err(_) => error,
        }
    }
}

/// One thread, which ends before the tool starts.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
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
        let place = FoundTarget::Container(Box::new(located?));
        let target = place.hold(containerd).await?;
        if let Some(note) = place.note(tools, None) {
            warn(&note);
        }
        let facts = place.facts(&target)?;
        let plan = Plan::new(place.within(request), &facts)
            .map_err(|error| place.as_host_target(error.into(), NotEntered::ByCommand))?;
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
