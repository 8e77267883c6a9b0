//! Files of `/proc` and of control groups. The kernel does not tell their length: a file that is read in small pieces
//! is made in pieces. Names in them are any bytes, which a process chooses: they are never a reason to see nothing.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::io::Errno;

/// Bytes that nearly all of them fit in, a mount table of a hundred mounts included.
const USUAL: usize = 16 << 10;

/// All that is left of `file`.
pub(crate) fn rest_of(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(USUAL);
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// The whole file, as [`text`].
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<String> {
    rest_of(File::open(path)?).map(text)
}

/// The `mountinfo` of `process`, which is a number or `self`.
pub(crate) fn mounts_of(process: &str) -> io::Result<String> {
    read(format!("/proc/{process}/mountinfo"))
}

/// A field of `stat` by its number in proc(5), from 3 on. The second is a name, which may hold anything, in parentheses.
pub(crate) fn stat_field(stat: &str, number: usize) -> Option<&str> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

/// What was read. A byte that is no part of a letter becomes a backslash and three octal digits, as the kernel writes
/// white space in `mountinfo`: so two names stay two, and a path can be had back.
pub(crate) fn text(content: Vec<u8>) -> String {
    String::from_utf8(content).unwrap_or_else(|error| escaped(error.as_bytes()))
}

fn escaped(content: &[u8]) -> String {
    let mut text = String::with_capacity(content.len());
    for chunk in content.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // To memory: it cannot fail.
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text
}

/// What was found of a process, or `None` of one that is gone. Every other error stays one: a process that cannot be
/// looked at is there.
pub(crate) fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if is_gone(&error) => Ok(None),
        other => other.map(Some),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_usual_is_read_to_its_end() {
        let long = vec![b'x'; 3 * USUAL + 1];
        assert_eq!(rest_of(&long[..]).expect("it can be read"), long);
        assert!(mounts_of("self").expect("a table").contains(" - "));
        assert!(mounts_of("no-process").is_err());
    }

    #[test]
    fn bytes_that_are_no_letters_are_told_apart_and_hide_nothing_beside_them() {
        let of = |bytes: &[u8]| text(bytes.to_vec());
        assert_eq!(of(b"Name:\t\xff\xfe\nUid:\t1"), "Name:\t\\377\\376\nUid:\t1");
        assert_eq!(of(b"/\xc3 /b"), "/\\303 /b", "half a letter takes nothing with it");
        assert_ne!(of(b"/\xff"), of(b"/\xfe"));
        assert_eq!(of("/é".as_bytes()), "/é");
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields_of_stat() {
        let stat = "1 (a) b) S 4 5\n";
        assert_eq!([3, 5].map(|number| stat_field(stat, number)), [Some("S"), Some("5")]);
        assert_eq!([2, 6].map(|number| stat_field(stat, number)), [None; 2]);
        assert_eq!(stat_field("1 (a", 3), None);
    }

    #[test]
    fn only_a_process_that_is_gone_is_not_there() {
        let gone = unless_gone(read("/proc/4294967295/stat"));
        assert_eq!(gone.expect("its absence"), None);
        let failed = |errno: Errno| unless_gone(Err::<(), _>(errno.into()));
        assert!(failed(Errno::SRCH).is_ok());
        for errno in [Errno::ACCESS, Errno::MFILE, Errno::NOMEM, Errno::IO] {
            assert!(failed(errno).is_err(), "{errno}");
        }
        assert!(unless_gone(Err::<(), _>(io::ErrorKind::InvalidData.into())).is_err());
    }
}
