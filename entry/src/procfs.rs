//! Files of `/proc`, whose length the kernel does not tell: one that is read in small pieces is made in pieces.

use std::fs::File;
use std::io::{self, Read};

/// Bytes that nearly all of them fit in, a mount table of a hundred mounts included.
const USUAL: usize = 16 << 10;

/// All that is left of `file`.
pub(crate) fn rest_of(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(USUAL);
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// The `mountinfo` of `process`, which is a number or `self`.
pub(crate) fn mounts_of(process: &str) -> io::Result<String> {
    let content = rest_of(File::open(format!("/proc/{process}/mountinfo"))?)?;
    String::from_utf8(content).map_err(io::Error::other)
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
}
