//! A process number that became another process's: whatever moment that happens at, no other process is entered.
//!
//! The moments between two steps of a session are too short to be hit from outside, so the steps are taken here one
//! by one, with the container killed and its number given away in between.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use agent::runtime::{ContainerRuntime, Containerd, LocateError, Located, Query};
use agent::session::{self, StartError};
use entry::{Event, Exit, HelperImage, Moment, Plan, Request, Session, Stdio, Step, Target, Tool};
use harness::{Process, RunSpec, recycle, until};
use rustix::process::Signal;

use crate::stage::{PATIENCE, Stage};

/// Another process, with the number of one that is gone.
struct Stranger(Child);

impl Stranger {
    /// Kill `pid`, wait until no process has its number, and give that to another.
    fn in_place_of(pid: u32) -> Self {
        let process = Process::open(pid).expect("the container runs");
        process.signal(Signal::KILL);
        assert!(process.wait(PATIENCE), "process {pid} does not die");
        until("its number to be free", PATIENCE, || Process::open(pid).is_none());
        Self(recycle(pid, Command::new("sleep").arg("600")))
    }

    /// In a control group whose path says that it is in `container`.
    fn disguised(self, container: &str) -> Self {
        let hierarchies = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"].map(Path::new);
        let root = hierarchies.into_iter().find(|root| root.join("cgroup.procs").exists());
        let group = root.expect("a control group").join(container.trim_start_matches('/'));
        std::fs::create_dir_all(&group).expect("root can make a control group");
        std::fs::write(group.join("cgroup.procs"), self.0.id().to_string())
            .expect("root can move a process");
        self
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("an own child can be asked").is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // Both fail only where it has ended already, which its test has seen.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// containerd, with something that happens between its answer and what the session makes of it.
struct Then<F> {
    containerd: Containerd,
    happens: F,
    /// How often it was asked again.
    confirmed: AtomicUsize,
}

impl<F: Fn(&mut Located) + Send + Sync + 'static> ContainerRuntime for Then<F> {
    async fn locate(&self, query: &Query) -> Result<Located, LocateError> {
        let mut located = self.containerd.locate(query).await?;
        (self.happens)(&mut located);
        Ok(located)
    }

    async fn confirm(&self, located: &Located) -> Result<(), LocateError> {
        self.confirmed.fetch_add(1, Ordering::Relaxed);
        self.containerd.confirm(located).await
    }

    async fn probe(&self) -> Result<String, LocateError> {
        self.containerd.probe().await
    }
}

/// Look a container up as a session does, let `happens` happen, and take hold of what was found: that, and how often
/// containerd was asked again.
fn hold_after(
    stage: &Stage,
    id: &str,
    happens: impl Fn(&mut Located) + Send + Sync + 'static,
) -> (Result<Target, StartError>, usize) {
    let containerd = Containerd::new(&stage.containerd.socket());
    let runtime = Then { containerd, happens, confirmed: AtomicUsize::new(0) };
    let prefix = id.parse().expect("the ID of a container");
    let query = Query::Container { prefix, namespace: None };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let held = tokio.expect("a runtime on this thread").block_on(async {
        let located = runtime.locate(&query).await?;
        session::hold(&runtime, &located).await
    });
    (held, runtime.confirmed.into_inner())
}

/// A plan for `target` that leaves a file behind when it is carried out.
fn plan(target: &Target, marker: &str) -> Plan {
    let argv = ["touch", marker].map(Into::into).to_vec();
    let env = std::env::vars_os().collect();
    let tool = Tool { argv, env, directory: None, terminal: false };
    session::plan(target, Request { kinds: None, join_user: false, limits: None, tool })
        .expect("a plan")
}

/// Carry `plan` out: what was heard of it first, and at last.
fn carry_out(target: &Target, plan: &Plan) -> (Event, Event) {
    let program = harness::agent().get_program().to_owned();
    let image = HelperImage::sealed_copy(Path::new(&program)).expect("the agent's program");
    let null = || File::options().read(true).write(true).open("/dev/null").expect("opens").into();
    let stdio = Stdio { stdin: null(), stdout: null(), stderr: null() };
    let (waiting, helper) = entry::start(&image, entry::Resources::MEMORY).expect("a helper");
    let mut session = waiting.begin(target, plan, &stdio, None).expect("a session");
    let first = session.wait_event().expect("an event");
    let last = last_of(&mut session, first.clone());
    helper.wait().expect("the helper ends");
    (first, last)
}

fn last_of(session: &mut Session, first: Event) -> Event {
    match first {
        Event::Started => session.wait_event().expect("an event"),
        last => last,
    }
}

#[test]
fn the_steps_of_these_tests_make_a_session_where_nobody_dies() {
    let Some(stage) = Stage::shared() else { return };
    let _container = stage.containerd.run(&RunSpec::new("recycled-not"));
    let (target, _) = hold_after(&stage, "recycled-not", |_| {});
    let target = target.expect("the container");
    let marker = stage.file("entered-the-container");
    let heard = carry_out(&target, &plan(&target, &marker));
    assert_eq!(heard, (Event::Started, Event::Ended(Exit::Code(0))));
    assert!(Path::new(&marker).exists());
}

#[test]
fn containerd_is_asked_again_only_where_the_process_may_be_younger_than_its_answer() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("recycled-young"));
    let target = Target::open(container.pid()).expect("the container runs");
    until("it to be older than a question", PATIENCE, || target.runs_since_before(Moment::now()));
    let (held, confirmed) = hold_after(&stage, container.id(), |_| {});
    assert_eq!((held.expect("the container").pid(), confirmed), (container.pid(), 0));
    let at_the_nodes_start = |located: &mut Located| located.asked = Moment::default();
    let (held, confirmed) = hold_after(&stage, container.id(), at_the_nodes_start);
    assert_eq!((held.expect("the container").pid(), confirmed), (container.pid(), 1));
}

#[test]
fn a_container_that_dies_after_it_was_found_is_not_entered_by_its_number() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("recycled-found"));
    let stranger = Arc::new(Mutex::new(None));
    let made = Arc::clone(&stranger);
    let (refused, _) = hold_after(&stage, container.id(), move |located| {
        *made.lock().expect("whole") = Some(Stranger::in_place_of(located.pid));
    });
    let refused = wire::chain(&refused.expect_err("a stranger"));
    let expected = format!("process {} is not in the container recycled-found", container.pid());
    assert!(refused.contains(&expected), "{refused}");
    let mut stranger = stranger.lock().expect("whole").take().expect("a stranger");
    assert!(stranger.is_alive() && stranger.0.id() == container.pid());
}

#[test]
fn not_even_where_the_number_went_to_a_process_of_the_same_control_group() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("recycled-group"));
    let group = format!("{}/{}", stage.containerd.cgroup(), container.id());
    let stranger = Arc::new(Mutex::new(None));
    let made = Arc::clone(&stranger);
    let (refused, _) = hold_after(&stage, container.id(), move |located| {
        let disguised = Stranger::in_place_of(located.pid).disguised(&group);
        *made.lock().expect("whole") = Some(disguised);
    });
    // It is too young to be what containerd meant, which knows better and is asked again.
    let refused = wire::chain(&refused.expect_err("a stranger"));
    assert!(refused.contains("default/recycled-group is stopped with exit code 137"), "{refused}");
    assert!(stranger.lock().expect("whole").as_mut().expect("a stranger").is_alive());
}

#[test]
fn a_target_that_dies_once_it_is_held_is_not_entered_by_its_number() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("recycled-held"));
    let target = Target::open(container.pid()).expect("the container runs");
    let marker = stage.file("entered-a-stranger");
    let plan = plan(&target, &marker);
    let mut stranger = Stranger::in_place_of(container.pid());
    let (first, _) = carry_out(&target, &plan);
    let Event::Failed(failure) = &first else { panic!("it was entered: {first:?}") };
    assert_eq!(failure.step, Step::Join, "{failure:?}");
    let error = StartError::of(failure, &plan);
    assert_eq!(error.to_string(), "the target exited before it could be entered");
    assert_eq!(error.exit_code(), 125);
    assert!(!Path::new(&marker).exists(), "the tool ran");
    assert!(stranger.is_alive());
    let error = target.facts().expect_err("it is gone");
    assert_eq!(error.to_string(), format!("process {} has exited", container.pid()));
}

#[test]
fn an_argument_that_the_kernel_does_not_take_is_named_as_such() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("recycled-long"));
    // From a shell, the kernel would refuse the agent itself; over a wire it gets this far.
    let target = Target::open(container.pid()).expect("the container runs");
    let plan = plan(&target, &"x".repeat(200 << 10));
    let (first, _) = carry_out(&target, &plan);
    let Event::Failed(failure) = &first else { panic!("{first:?}") };
    let error = StartError::of(failure, &plan);
    assert_eq!(error.exit_code(), 126);
    assert!(error.to_string().contains("one argument may have 128 KiB"), "{error}");
}
