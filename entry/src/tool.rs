//! The tool-to-be: from the fork until it is another program.

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, execve, getppid};
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, ioctl_tiocsctty, set_parent_process_death_signal, setsid};
use rustix::thread::{Gid, ThreadNameSpaceType, Uid, move_into_thread_name_spaces};

use crate::message::{During, Failure, Step};
use crate::order::Order;
use crate::plan::{JoinUser, Plan, Tool};
use crate::privilege::become_tool as prepare;
use crate::rings::{Desk, Offered};
use crate::sys::{self, Alone};

/// Where a tool is looked for when its environment says nothing: as `execvp(3)` does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the tool-to-be says that it did not become the tool. Closes by itself when it did.
pub(crate) struct Report {
    supervisors: OwnedFd,
    tools: OwnedFd,
}

impl Report {
    pub(crate) fn new() -> Result<Self, Failure> {
        let (supervisors, tools) = pipe_with(PipeFlags::CLOEXEC).during(Step::ForkTool)?;
        Ok(Self { supervisors, tools })
    }

    /// The supervisor's side: waits for the exec, or for the report that there was none.
    pub(crate) fn failure(self) -> Option<Failure> {
        let Self { supervisors, tools } = self;
        drop(tools);
        let mut bytes = Vec::new();
        let broken = |error: io::Error| Some(Failure::new(Step::Exec, &error));
        match File::from(supervisors).read_to_end(&mut bytes) {
            Ok(0) => None,
            Ok(_) => postcard::from_bytes(&bytes)
                .map_or_else(|_| broken(io::ErrorKind::InvalidData.into()), Some),
            Err(error) => broken(error),
        }
    }

    fn send(&self, failure: &Failure) {
        let bytes = postcard::to_allocvec(failure).unwrap_or_default();
        let _ = rustix::io::write(&self.tools, &bytes); // a supervisor that is gone needs no report
    }
}

/// What the tool-to-be waits at until the supervisor has given up its privileges.
pub(crate) struct Gate {
    supervisors: OwnedFd,
    tools: OwnedFd,
}

impl Gate {
    pub(crate) fn new() -> Result<Self, Failure> {
        let (tools, supervisors) = pipe_with(PipeFlags::CLOEXEC).during(Step::ForkTool)?;
        Ok(Self { supervisors, tools })
    }

    /// Lets the tool-to-be pass; so does the supervisor's death.
    pub(crate) fn open(self) {
        drop(self);
    }

    fn wait(self) -> rustix::io::Result<()> {
        let Self { supervisors, tools } = self;
        drop(supervisors);
        loop {
            match rustix::io::read(&tools, &mut [0; 1][..]) {
                Ok(0) => return Ok(()),
                // Root in the target can interrupt this with a signal.
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Becomes the tool, or says through `report` why not.
pub(crate) fn run(
    order: &Order,
    alone: &Alone,
    supervisor: Pid,
    gate: Gate,
    rings: Option<Desk>,
    report: &mut Report,
) -> ! {
    let Err(failure) = become_tool(order, alone, supervisor, gate, rings);
    report.send(&failure);
    #[expect(clippy::exit, reason = "a forked process has no caller to return to")]
    std::process::exit(1)
}

fn become_tool(
    order: &Order,
    alone: &Alone,
    supervisor: Pid,
    gate: Gate,
    rings: Option<Desk>,
) -> Result<Infallible, Failure> {
    let Plan { tool, confinement, user, .. } = &order.plan;
    setsid().during(Step::NewSession)?;
    if tool.terminal {
        ioctl_tiocsctty(io::stdin()).during(Step::ControllingTerminal)?;
    }
    if let Some(user) = user {
        join_user(order.target.as_fd(), *user).during(Step::JoinUser)?;
    }
    if let Some(directory) = &tool.directory {
        std::env::set_current_dir(directory).during(Step::Directory)?;
    }
    sys::default_sigpipe(alone).during(Step::Exec)?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).during(Step::Exec)?;
    let listener = if confinement.is_some() { prepare().during(Step::Confine)? } else { None };
    // Without a broker, rings are refused and everything else works.
    let offered = rings.zip(listener).and_then(|(rings, listener)| rings.offer(listener).ok());
    // The supervisor gives up what it holds meanwhile.
    gate.wait().during(Step::Confine)?;
    let _ = offered.map(Offered::settle);
    set_parent_process_death_signal(Some(Signal::KILL)).during(Step::NewSession)?;
    // One that died before that line has sent nothing, and its session is over.
    if getppid() != supervisor {
        return Err(Failure { step: Step::NewSession, errno: Errno::ESRCH as i32, path: None });
    }
    Err(execute(tool))
}

#[expect(clippy::disallowed_methods, reason = "the user namespace is joined last, by the tool")]
fn join_user(target: std::os::fd::BorrowedFd<'_>, user: JoinUser) -> rustix::io::Result<()> {
    move_into_thread_name_spaces(target, ThreadNameSpaceType::USER)?;
    if user.become_root {
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_gid(Gid::ROOT)?;
        rustix::thread::set_thread_uid(Uid::ROOT)?;
    }
    Ok(())
}

/// Executes the tool, looking for it in `PATH` if its name has no slash. Returns why it could not.
fn execute(tool: &Tool) -> Failure {
    let nul = |_| Failure { step: Step::Exec, errno: Errno::EINVAL as i32, path: None };
    let strings =
        |texts: Vec<Vec<u8>>| texts.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let arguments = tool.argv.iter().map(|text| text.as_bytes().to_vec()).collect();
    let environment = tool
        .env
        .iter()
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
        .collect();
    let (arguments, environment) = match (strings(arguments), strings(environment)) {
        (Ok(arguments), Ok(environment)) => (arguments, environment),
        (Err(error), _) | (_, Err(error)) => return nul(error),
    };
    let attempt = |path: &Path| {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::ENOENT)?;
        execve(&path, &arguments, &environment)
    };
    let Err(failure) = search(tool, attempt);
    failure
}

/// Whether the tool could be executed here and as this process, as far as that shows without doing it.
pub(crate) fn look(tool: &Tool) -> Result<(), Failure> {
    if let Some(directory) = &tool.directory {
        std::env::set_current_dir(directory).during(Step::Directory)?;
    }
    search(tool, |path| {
        let found = rustix::fs::stat(path).map_err(errno)?;
        // What exec says of what is no file.
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(Errno::EACCES);
        }
        accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(errno)?;
        // What may be executed need not be readable: then exec alone knows.
        File::open(path).map_or(Ok(()), |file| check_format(&file))
    })
}

/// Whether this is a program, and the interpreter of a script is there.
fn check_format(file: &File) -> Result<(), Errno> {
    /// The kernel looks at no more of a first line (execve(2)).
    const FIRST_LINE: u64 = 256;
    let mut start = Vec::new();
    if file.take(FIRST_LINE).read_to_end(&mut start).is_err() || start.starts_with(b"\x7fELF") {
        return Ok(());
    }
    let line = start.strip_prefix(b"#!").ok_or(Errno::ENOEXEC)?;
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let interpreter = line.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
    if Path::new(OsStr::from_bytes(interpreter)).exists() { Ok(()) } else { Err(Errno::ENOENT) }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Makes the `attempt` on each file that the tool may be. Returns why none succeeded.
fn search<T>(tool: &Tool, attempt: impl Fn(&Path) -> Result<T, Errno>) -> Result<T, Failure> {
    let name = tool.argv.first().map_or(OsStr::new(""), |name| name.as_os_str());
    let mut refused = None;
    for candidate in candidates(name, tool) {
        match attempt(&candidate) {
            Ok(done) => return Ok(done),
            Err(Errno::ENOENT | Errno::ENOTDIR) if !candidate.exists() => {}
            Err(errno) => {
                // The agent may have other files: which of the two it is can only be seen here.
                let is_directory = errno == Errno::EACCES && candidate.is_dir();
                let said = if is_directory { Errno::EISDIR } else { errno };
                let failure = Failure {
                    step: Step::Exec,
                    errno: said as i32,
                    path: Some(candidate.into_os_string()),
                };
                // As the shells do: what may not be executed does not end the search.
                if errno != Errno::EACCES {
                    return Err(failure);
                }
                refused.get_or_insert(failure);
            }
        }
    }
    Err(refused.unwrap_or_else(|| Failure {
        step: Step::FindTool,
        errno: Errno::ENOENT as i32,
        path: Some(search_path(tool).to_os_string()),
    }))
}

fn candidates<'a>(name: &'a OsStr, tool: &'a Tool) -> Box<dyn Iterator<Item = PathBuf> + 'a> {
    if name.as_bytes().contains(&b'/') {
        return Box::new(std::iter::once(PathBuf::from(name)));
    }
    Box::new(std::env::split_paths(search_path(tool)).map(move |folder| {
        // An empty element means the current directory (environ(7)).
        if folder.as_os_str().is_empty() { Path::new(".").join(name) } else { folder.join(name) }
    }))
}

fn search_path(tool: &Tool) -> &OsStr {
    let set = tool.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    set.filter(|path| !path.is_empty()).unwrap_or(OsStr::new(DEFAULT_PATH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn tool(name: &str, path: Option<&str>) -> Tool {
        Tool {
            argv: vec![name.into()],
            env: path.map(|path| ("PATH".into(), path.into())).into_iter().collect(),
            directory: None,
            terminal: false,
        }
    }

    #[test]
    fn a_name_is_looked_for_in_each_directory_of_path_in_turn() {
        let tool = tool("ps", Some("/opt/bin::/bin"));
        let found: Vec<_> = candidates(OsStr::new("ps"), &tool).collect();
        assert_eq!(found, ["/opt/bin/ps", "./ps", "/bin/ps"].map(PathBuf::from));
    }

    #[test]
    fn a_name_with_a_slash_is_a_path_already() {
        let tool = tool("./ps", Some("/bin"));
        assert_eq!(
            candidates(OsStr::new("./ps"), &tool).collect::<Vec<_>>(),
            [PathBuf::from("./ps")]
        );
    }

    #[test]
    fn what_is_nowhere_is_not_found_and_says_where_it_was_looked_for() {
        let tool = tool("no-such-tool", Some("/usr/bin:/bin"));
        let failure = execute(&tool);
        assert_eq!(failure.step, Step::FindTool);
        assert_eq!(failure.path, Some(OsString::from("/usr/bin:/bin")));
        assert_eq!(look(&tool), Err(failure));
    }

    #[test]
    fn a_directory_is_found_and_cannot_be_executed() {
        let tool = tool("/usr", None);
        let failure = execute(&tool);
        assert_eq!(look(&tool).as_ref(), Err(&failure));
        assert_eq!((failure.step, failure.errno), (Step::Exec, Errno::EISDIR as i32));
        assert_eq!(failure.path, Some(OsString::from("/usr")));
    }
    #[test]
    fn what_is_no_program_or_has_no_interpreter_is_seen_without_running_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, errno) in
            [(&b"no program"[..], Errno::ENOEXEC), (b"#! /no/interpreter -x\n", Errno::ENOENT)]
        {
            let path = folder.path().join("tool");
            std::fs::write(&path, text).expect("a file");
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, executable).expect("a mode");
            let tool = tool(path.to_str().expect("text"), None);
            let failure = look(&tool).expect_err("it cannot run");
            assert_eq!((failure.step, failure.errno), (Step::Exec, errno as i32));
            assert_eq!(execute(&tool), failure);
        }
    }

    #[test]
    fn what_is_looked_for_and_could_run_is_not_run() {
        assert_eq!(look(&tool("sh", None)), Ok(()));
        let failure = look(&tool("/etc/passwd", None)).expect_err("it is no program");
        assert_eq!((failure.step, failure.errno), (Step::Exec, Errno::EACCES as i32));
    }
}
