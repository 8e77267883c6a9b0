//! Programs that outlive the process that started them: in a session of their own, their number and output in files.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::layout::Layout;
use crate::running::run;
use crate::wait::until_some;

/// A shell writes one line.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How much of a log a failure shows.
const SHOWN_LINES: usize = 30;
/// The number first, under its name only once it is whole; `exec` keeps it.
const SCRIPT: &str =
    r#"echo $$ >"$1.new" && mv "$1.new" "$1" && shift && exec "$@" </dev/null >>"$LOG" 2>&1"#;

/// Start `command` as `name`: its process number, which is that of its process group and session too.
pub(super) fn start(layout: &Layout, name: &str, command: &Command) -> u32 {
    let file = layout.path(&format!("daemons/{name}.pid"));
    // Fails when it never ran.
    let _ = std::fs::remove_file(&file);
    let mut setsid = Command::new("setsid");
    setsid.args(["--fork", "sh", "-c", SCRIPT, "sh"]).arg(&file);
    setsid.arg(command.get_program()).args(command.get_args());
    // Nothing of the caller's environment is meant for a server.
    setsid.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    setsid.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    setsid.env("LOG", layout.path(&format!("daemons/{name}.log")));
    setsid.stdin(Stdio::null());
    run(&mut setsid).expect_success();
    until_some(name, START_LIMIT, || pid(layout, name))
}

/// The process number of what was started as `name`.
pub(super) fn pid(layout: &Layout, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(layout.path(&format!("daemons/{name}.pid"))).ok()?;
    text.trim().parse().ok()
}

/// The end of what it wrote.
pub(super) fn log(layout: &Layout, name: &str) -> String {
    let bytes = std::fs::read(layout.path(&format!("daemons/{name}.log"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

pub(super) fn make_executable(path: &Path) {
    let file = File::open(path).expect("it was just written");
    file.set_permissions(PermissionsExt::from_mode(0o755)).expect("the file is ours");
}
