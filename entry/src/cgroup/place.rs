//! Where a process is in every hierarchy, as directories that this process can open.
//!
//! `/proc/PID/cgroup` has paths below the root of the reader's cgroup namespace, `mountinfo` says
//! which part of a hierarchy is mounted where. Only together do they name a directory.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The group that sessions are made below, and the leaf that this process moved into for it.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) directory: PathBuf,
    pub(super) leaf: Option<PathBuf>,
}

/// Which interface a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// One hierarchy, and the directory of the process's group in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnGroup {
    pub(super) version: Version,
    /// Of v1: what is mounted there. Of v2 the group itself says which it has.
    pub(super) controllers: Vec<String>,
    /// Where the hierarchy is mounted: nothing above this is ours to touch.
    pub(super) mount: PathBuf,
    pub(super) directory: PathBuf,
    /// The mount is, not the hierarchy: it could be mounted otherwise.
    pub(super) read_only: bool,
}

/// A line of `/proc/PID/cgroup`.
struct Membership<'a> {
    controllers: Vec<&'a str>,
    path: &'a Path,
}

/// A line of `mountinfo` that is about control groups.
struct CgroupMount {
    root: PathBuf,
    point: PathBuf,
    version: Version,
    options: Vec<String>,
    read_only: bool,
}

/// Every hierarchy that `membership` names and `mountinfo` makes reachable.
pub(super) fn places(membership: &str, mountinfo: &str) -> Vec<OwnGroup> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(CgroupMount::parse).collect();
    membership.lines().filter_map(Membership::parse).filter_map(|own| own.place(&mounts)).collect()
}

impl<'a> Membership<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).collect();
        Some(Self { controllers, path: Path::new(path) })
    }

    fn version(&self) -> Version {
        if self.controllers.is_empty() { Version::V2 } else { Version::V1 }
    }

    fn place(&self, mounts: &[CgroupMount]) -> Option<OwnGroup> {
        let reachable = mounts.iter().filter(|mount| self.is_of(mount));
        let mut found: Vec<_> = reachable
            .filter_map(|mount| Some((mount, mount.point.join(mount.below(self.path)?))))
            .collect();
        // A hierarchy may be mounted twice, once for reading only, as some container runtimes do.
        found.sort_by_key(|(mount, _)| mount.read_only);
        let (mount, directory) = found.into_iter().next()?;
        Some(OwnGroup {
            version: self.version(),
            controllers: self.controllers.iter().map(ToString::to_string).collect(),
            mount: mount.point.clone(),
            directory,
            read_only: mount.read_only,
        })
    }

    fn is_of(&self, mount: &CgroupMount) -> bool {
        let has = |name: &&str| mount.options.iter().any(|option| option == name);
        mount.version == self.version() && self.controllers.iter().all(has)
    }
}

impl CgroupMount {
    /// proc(5): `ID PARENT DEVICE ROOT POINT OPTIONS [TAG…] - TYPE SOURCE SUPER-OPTIONS`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point, options) = (mount.next()?, mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let version = match filesystem.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let super_options = filesystem.nth(1)?;
        let read_only = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Self {
            root: decoded(root),
            point: decoded(point),
            version,
            options: super_options.split(',').map(str::to_owned).collect(),
            read_only: read_only(options) || read_only(super_options),
        })
    }

    /// `path`, below what is mounted here. A path above our cgroup namespace has no name for us.
    fn below<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let leaves = |path: &Path| path.components().any(|part| part.as_os_str() == "..");
        let deleted = path.as_os_str().as_bytes().ends_with(b" (deleted)");
        let below = path.strip_prefix(&self.root).ok()?;
        (!deleted && !leaves(path) && !leaves(&self.root)).then_some(below)
    }
}

/// proc(5): space, tab, newline and backslash are written as three octal digits.
fn decoded(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let (b'\\', Some(code)) = (first, code) {
            bytes.push(code);
            rest = &tail[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 30 0:22 / /sys rw shared:7 - sysfs sysfs rw
32 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 25 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
35 25 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
";

    fn directories(membership: &str, mountinfo: &str) -> Vec<String> {
        let places = places(membership, mountinfo);
        places.iter().map(|place| place.directory.display().to_string()).collect()
    }

    #[test]
    fn every_hierarchy_of_a_hybrid_node_is_found() {
        let own = "4:memory:/a.slice/b\n3:cpu,cpuacct:/\n2:pids:/x\n1:name=systemd:/s\n0::/u\n";
        let places = places(own, HYBRID);
        let found: Vec<_> =
            places.iter().map(|p| (p.version, p.directory.to_str().expect("text"))).collect();
        assert_eq!(
            found,
            [
                (Version::V1, "/sys/fs/cgroup/memory/a.slice/b"),
                (Version::V1, "/sys/fs/cgroup/cpu,cpuacct/"),
                (Version::V1, "/sys/fs/cgroup/systemd/s"),
                (Version::V2, "/sys/fs/cgroup/unified/u"),
            ]
        );
        assert_eq!(places[1].controllers, ["cpu", "cpuacct"]);
    }

    #[test]
    fn a_container_finds_its_group_with_a_cgroup_namespace_and_without() {
        let mounted = "9 8 0:5 /kubepods/pod1/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(directories("0::/kubepods/pod1/abc\n", mounted), ["/sys/fs/cgroup/"]);
        assert_eq!(directories("0::/kubepods/pod1/abc/agent\n", mounted), ["/sys/fs/cgroup/agent"]);
        let of_its_own = "9 8 0:5 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(directories("0::/\n", of_its_own), ["/sys/fs/cgroup/"]);
    }

    #[test]
    fn what_lies_outside_of_the_mount_or_the_namespace_is_not_reachable() {
        let part = "9 8 0:5 /kubepods/pod1/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(directories("0::/kubepods/pod1/abcd\n", part).is_empty());
        assert!(directories("0::/../other\n", part).is_empty());
        let above = "9 8 0:5 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(directories("0::/\n", above).is_empty());
        let whole = "9 8 0:5 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(directories("0::/gone (deleted)\n", whole).is_empty());
    }

    #[test]
    fn spaces_in_a_path_are_decoded_and_a_writable_mount_is_preferred() {
        let mounts = "\
9 8 0:5 / /ro rw - cgroup2 cgroup ro
9 8 0:5 / /with\\040space\\134 rw - cgroup2 cgroup rw
";
        assert_eq!(directories("0::/a b\n", mounts), ["/with space\\/a b"]);
        assert!(!places("0::/\n", mounts)[0].read_only);
        assert!(places("0::/\n", mounts.lines().next().expect("a line"))[0].read_only);
    }
}
