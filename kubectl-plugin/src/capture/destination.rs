//! Where packets go: a file by a name, or one that is open already, such as stdout or the pipe to Wireshark.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::error::CaptureError;
use super::files::Destination;

/// Where packets go, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Stdout,
    Wireshark,
    File(PathBuf),
    Split(PathBuf),
}

/// Opens what is not a file by a name.
pub(super) fn open(to: &To) -> Result<Destination, CaptureError> {
    match to {
        To::File(path) => Ok(Destination::Named(path.clone())),
        To::Split(folder) => Ok(Destination::Split(folder.clone())),
        To::Stdout => {
            crate::stdio::own_stdout().map(Destination::Open).map_err(CaptureError::Stdout)
        }
        To::Wireshark => wireshark().map(Destination::Open).map_err(CaptureError::Wireshark),
    }
}

/// Starts Wireshark, which is not waited for: it stays open with what it has.
#[expect(
    clippy::disallowed_methods,
    reason = "--wireshark asks for this program of the user's own"
)]
fn wireshark() -> io::Result<File> {
    use std::process::{Command, Stdio};
    let mut command = Command::new("wireshark");
    command.args(["-k", "-i", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn()?;
    let stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok(into_file(stdin))
}

#[cfg(unix)]
fn into_file(stdin: std::process::ChildStdin) -> File {
    std::os::fd::OwnedFd::from(stdin).into()
}

#[cfg(windows)]
fn into_file(stdin: std::process::ChildStdin) -> File {
    std::os::windows::io::OwnedHandle::from(stdin).into()
}
