//! A file tree as the kernel unpacks it at its start: cpio in its "newc" form, uncompressed.
//!
//! The format is in the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeSet;
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
/// What says that nothing follows.
const TRAILER: &str = "TRAILER!!!";

/// Files and folders, in the order in which they are unpacked.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// A folder, with all those above it.
    pub(super) fn folder(&mut self, path: &str) {
        if path.is_empty() || path == "/" || !self.folders.insert(path.to_owned()) {
            return;
        }
        self.folder(path.rsplit_once('/').map_or("", |(above, _)| above));
        self.entry(path, FOLDER, &[]);
    }

    /// A file that can be executed: `content` of the file at `from`.
    pub(super) fn program(&mut self, path: &str, from: &Path) {
        let content = std::fs::read(from);
        let content = content.unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.contain(path, PROGRAM, &content);
    }

    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.contain(path, FILE, content);
    }

    fn contain(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.folder(path.rsplit_once('/').map_or("", |(above, _)| above));
        self.entry(path, mode, content);
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let name = path.trim_start_matches('/');
        let length = |bytes: usize| u32::try_from(bytes).expect("less than 4 GiB");
        let (size, name_size) = (length(content.len()), length(name.len() + 1));
        // Inode, mode, uid, gid, links, time, size, four device numbers, length of the name, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").into_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_head_a_name_and_its_bytes_aligned() {
        let mut archive = Archive::default();
        archive.file("/a/b", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).expect("nothing but text");
        let heads: Vec<_> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(heads.len(), 3, "a folder, a file, the end");
        assert!(text[heads[0]..].starts_with("07070100000001000041ed"), "{text}");
        assert!(text[heads[1] + 110..].starts_with("a/b\0\0\x0012345\0\0\0"), "{text}");
    }
}
