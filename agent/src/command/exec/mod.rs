//! `exec`: one tool in one container, by this process and without a daemon.

mod args;
mod search;
mod warning;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use daemon::{failed, hint};
use entry::{Cgroups, Exit, HelperImage, ImageError, Layout, Profile, Request, Tool};
use wire::chain;

pub use args::{BadPodName, ExecArgs, PodName};

use crate::limits::{NoCgroups, SessionLimits};
use crate::profile::planned;
use crate::session::local::{self, Manner, Ready};
use crate::session::{Advice, Choice, OwnPaths, Policy, PolicyError, StartError};
use crate::tools::Tools;
use search::Search;
use warning::warn;

#[must_use]
pub fn run(args: ExecArgs) -> ExitCode {
    match enter(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = failed(&chain(&error), error.exit_code());
            if let Some(hint) = error.hint() {
                daemon::hint(&hint);
            }
            code
        }
    }
}

fn enter(args: ExecArgs) -> Result<u8, StartError> {
    let terminal = args.tty && io::stdin().is_terminal();
    if args.tty && !terminal {
        warn("stdin is not a terminal; going on without one");
    }
    let tools = args.tools;
    let search = Search::of(&args);
    let manner = Manner { stdin: args.stdin, total: args.session_limit, note: warn };
    let resources = args.limits.clone().of(tools == Tools::Toolbox);
    let explain = args.explain;
    let mut advice = None;
    let request = || {
        let request = request(args, terminal)?;
        advice = Advice::of(&request.tool, request.limits.as_ref());
        Ok(request)
    };
    if explain {
        let ((), planned) = search.planned(request, tools, || ());
        let (_, plan) = planned?;
        // A reader that has seen enough, such as `head`, is not worth a word.
        let _ = write!(io::stdout(), "{plan}");
        return Ok(0);
    }
    let cgroups = cgroups(resources)?;
    let image = image()?;
    let start = || Ready::new(&image, cgroups.as_ref());
    let (ready, planned) = search.planned(request, tools, start);
    let ready = ready?;
    let ran = match planned {
        Ok((target, plan)) => {
            // The kernel takes its time to dissolve the clone of a mount.
            let meanwhile = || {
                drop(image);
                sweep(cgroups.as_ref());
            };
            local::run(ready, &target, &plan, manner, meanwhile)
        }
        Err(error) => {
            ready.discard();
            Err(error)
        }
    };
    let local::LocalOutcome { exit, reason } = ran.map_err(|error| search.named(error))?;
    let advice = advice.filter(|_| reason.is_none()).and_then(|advice| advice.after(exit));
    if let Some(reason) = reason {
        warn(&reason);
    }
    if let Some(advice) = advice {
        hint(&advice);
    }
    Ok(match exit {
        Exit::Code(code) => code,
        Exit::Signal(number) => number.saturating_add(128),
    })
}

/// Ends what earlier sessions have left whose owner was killed.
fn sweep(cgroups: Option<&Cgroups>) {
    if let Some(Err(error)) = cgroups.map(Cgroups::sweep) {
        warn(&chain(&error));
    }
}

/// For a toolbox. The node's own tools start three times as fast without, and the user who runs them here
/// is root of the node and may end them.
fn cgroups(limits: SessionLimits) -> Result<Option<Cgroups>, NoCgroups> {
    match limits {
        SessionLimits::Host => Ok(None),
        limits => limits.cgroups(Layout::Command, None),
    }
}

fn policy(args: &ExecArgs) -> Result<Policy, PolicyError> {
    Ok(match args.tools {
        Tools::Host => Policy::Host,
        // Its user is root of the node already.
        Tools::Toolbox => Policy::Toolbox {
            tree: args.toolbox.clone(),
            most: Profile::Sysadmin,
            host_targets: args.allow_host_targets,
            node_network: true,
            own: OwnPaths::of([args.containerd.as_path()], [args.toolbox.as_path()])?,
        },
    })
}

fn request(args: ExecArgs, terminal: bool) -> Result<Request, PolicyError> {
    let policy = policy(&args)?;
    let ExecArgs { profile, run_as, write, namespaces, join_user, command, .. } = args;
    let profile = profile.map(planned);
    let limits = policy.limits(Choice { profile, run_as, write, node: false })?;
    let tool = tool(command, &policy, terminal);
    Ok(Request { kinds: namespaces, join_user, limits, tool })
}

/// The node's own tools find the caller's environment and directory, as under `nsenter`.
fn tool(argv: Vec<OsString>, policy: &Policy, terminal: bool) -> Tool {
    let (env, directory) = match policy {
        Policy::Host => (env::vars_os().collect(), None),
        Policy::Toolbox { .. } => (policy.environment(env::var_os("TERM")), Some("/".into())),
    };
    Tool { argv, env, directory, terminal }
}

/// A clone of this program's mount costs nothing; a kernel that cannot make one gets a copy.
fn image() -> Result<HelperImage, ImageError> {
    let program = Path::new("/proc/self/exe");
    HelperImage::read_only_clone(program).or_else(|_| HelperImage::sealed_copy(program))
}
