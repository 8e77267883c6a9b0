//! One session: from a located container to the last byte.
//!
//! Order is safety here. The process is held first and confirmed after, so that a pid that was
//! given away in between cannot be entered; nothing is answered before the tool runs.

mod advice;
mod end;
mod error;
mod instead;
pub mod local;
mod outcome;
mod own;
pub mod place;
mod policy;
mod start;
pub(crate) mod stream;

pub use advice::Advice;
pub use end::{EndConditions, Lifetime, Limit, Running};
pub use error::StartError;
pub use outcome::SessionOutcome;
pub use own::{OwnPaths, UnknownMounts};
pub use policy::{Choice, Policy, PolicyError, unseen};
pub use start::{Held, Launcher};
pub use stream::{Ends, Finished, Socket, Wanted, pump};

use entry::{Facts, Kind, Kinds, Plan, Request, Target};

use crate::runtime::{ContainerRuntime, Located};

/// Takes hold of the container's process, and makes sure that it is the container's.
///
/// A process that has run since before containerd was asked had its number when containerd gave it. Only
/// where it may be younger, the number's first owner may be gone, and containerd is asked again.
pub async fn hold<R: ContainerRuntime>(
    runtime: &R,
    located: &Located,
) -> Result<Target, StartError> {
    located.check_runtime()?;
    let target = Target::open(located.pid)?;
    target.check_container(&located.id, located.cgroup.as_deref())?;
    if !target.runs_since_before(located.asked) {
        runtime.confirm(located).await?;
    }
    Ok(target)
}

/// What a sandbox has in common with the containers of its pod.
const OF_THE_POD: [Kind; 3] = [Kind::Net, Kind::Ipc, Kind::Uts];

/// The `request` as far as it makes sense where `located` only stands in for a container.
#[must_use]
pub fn within(located: &Located, request: Request) -> Request {
    if located.stands_in_for.is_none() {
        return request;
    }
    let shared = |kind: &Kind| request.kinds.is_none_or(|asked| asked.contains(*kind));
    let kinds: Kinds = OF_THE_POD.into_iter().filter(shared).collect();
    Request { kinds: Some(kinds), ..request }
}

/// What there is to know of the process that `target` holds and of its container.
pub fn facts(target: &Target, located: &Located) -> Result<Facts, StartError> {
    Ok(Facts { declared: located.declared.clone(), ..target.facts()? })
}

/// What would be done to `target` for `request`.
pub fn plan(target: &Target, request: Request) -> Result<Plan, StartError> {
    Ok(Plan::new(request, &target.facts()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{LocateError, Query};
    use entry::{Moment, Tool};

    /// A runtime with one container, of whatever kind.
    struct Only(Located);

    impl ContainerRuntime for Only {
        async fn locate(&self, _query: &Query) -> Result<Located, LocateError> {
            Ok(self.0.clone())
        }

        async fn confirm(&self, _located: &Located) -> Result<(), LocateError> {
            Ok(())
        }

        async fn probe(&self) -> Result<String, LocateError> {
            Ok("only".to_owned())
        }
    }

    fn located(runtime: &str, program: Option<&str>) -> Located {
        Located {
            id: "web".to_owned(),
            namespace: "k8s.io".to_owned(),
            pid: std::process::id(),
            asked: Moment::default(),
            cgroup: None,
            declared: None,
            runtime: runtime.to_owned(),
            program: program.map(str::to_owned),
            pod: None,
            stands_in_for: None,
        }
    }

    async fn refusal(runtime: &str, program: Option<&str>) -> Option<String> {
        let located = located(runtime, program);
        match hold(&Only(located.clone()), &located).await {
            Err(StartError::Locate(error @ LocateError::OtherRuntime { .. })) => {
                Some(error.to_string())
            }
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_container_behind_another_kernel_is_refused_with_the_reason() {
        for runtime in
            ["io.containerd.kata.v2", "io.containerd.runsc.v1", "io.containerd.runhcs.v1", ""]
        {
            let refusal = refusal(runtime, None).await.expect(runtime);
            assert!(refusal.contains(runtime) && refusal.contains("another kernel"), "{refusal}");
        }
        // As Docker has it: the usual shim, told to use another program.
        for program in ["/usr/local/bin/runsc", "kata-runtime"] {
            assert!(refusal("io.containerd.runc.v2", Some(program)).await.is_some(), "{program}");
        }
        for program in
            [None, Some("crun"), Some("/usr/bin/youki"), Some("nvidia-container-runtime")]
        {
            assert_eq!(refusal("io.containerd.runc.v2", program).await, None);
        }
        assert_eq!(refusal("io.containerd.runtime.v1.linux", None).await, None);
    }

    #[test]
    fn of_a_sandbox_only_what_its_pod_shares_is_joined() {
        let tool = Tool { argv: Vec::new(), env: Vec::new(), directory: None, terminal: false };
        let request = Request { kinds: None, join_user: false, limits: None, tool };
        let runs = located("io.containerd.runc.v2", None);
        assert_eq!(within(&runs, request.clone()).kinds, None);
        let sandbox = Located { stands_in_for: Some("container web is stopped".into()), ..runs };
        let kinds = |request| within(&sandbox, request).kinds.map(|kinds| kinds.to_string());
        assert_eq!(kinds(request.clone()).as_deref(), Some("ipc, net, uts"));
        let asked = Request { kinds: Some("net,pid".parse().expect("kinds")), ..request };
        assert_eq!(kinds(asked).as_deref(), Some("net"));
    }
}
