//! What of the node's kernel and files a target has mounted.
//!
//! Pure: from `mountinfo` of the target and of the node. What the node's paths are, the device and the root of a
//! mount tell, which nobody in the target chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::signs::{OfNode, Reached};

/// One line of proc(5)'s `mountinfo`.
#[derive(Clone, Copy, Debug)]
struct Mount<'m> {
    device: &'m str,
    root: &'m str,
    place: &'m str,
    writable: bool,
    kind: &'m str,
}

impl<'m> Mount<'m> {
    fn parse(line: &'m str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(2);
        let (device, root, place) = (fields.next()?, fields.next()?, fields.next()?);
        let options = fields.next()?;
        let mut of_file_system = file_system.split(' ');
        let kind = of_file_system.next()?;
        let shared_options = of_file_system.nth(1).unwrap_or_default();
        let is_rw = |options: &str| options.split(',').any(|option| option == "rw");
        let writable = is_rw(options) && is_rw(shared_options);
        Some(Self { device, root, place, writable, kind })
    }
}

fn parsed(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(Mount::parse)
}

/// The kernel's numbers of all mounts in a `mountinfo`.
pub(crate) fn numbers(mounts: &str) -> BTreeSet<u32> {
    let number = |line: &str| line.split_once(' ')?.0.parse().ok();
    mounts.lines().filter_map(number).collect()
}

/// The kind of file system of the mount of this number.
pub(crate) fn kind(mounts: &str, number: u64) -> Option<&str> {
    let start = format!("{number} ");
    let line = mounts.lines().find(|line| line.starts_with(&start))?;
    line.split_once(" - ")?.1.split(' ').next()
}

/// What the target with the first `mountinfo` has of the node with the second.
pub(crate) fn reached(targets: &str, nodes: &str) -> Vec<Reached> {
    // What is mounted last over a place is what is there.
    let mounts: BTreeMap<_, _> = parsed(targets).map(|mount| (mount.place, mount)).collect();
    let nodes: Vec<_> = parsed(nodes).collect();
    let of_mount = |mount: &Mount<'_>| {
        let place = unescaped(mount.place).to_string_lossy().into_owned();
        let reached = |what| Reached { what, place: place.clone() };
        match mount.kind {
            "proc" if is_the_nodes_proc(mount, &nodes) => {
                vec![reached(OfNode::Kernel("the node's own /proc"))]
            }
            "proc" | "sysfs" | "cgroup" | "cgroup2" => {
                kernel(mount, &mounts).into_iter().map(OfNode::Kernel).map(reached).collect()
            }
            kind => {
                let settings = (mount.writable && SETTINGS.contains(&kind))
                    .then_some(OfNode::Kernel("settings of the kernel, writable"));
                let read_only = !mount.writable;
                let files = paths(mount, &nodes).map(|path| OfNode::File { path, read_only });
                settings.into_iter().chain(files).map(reached).collect::<Vec<_>>()
            }
        }
    };
    mounts.values().flat_map(of_mount).collect()
}

/// File systems by which the kernel takes orders, beside those that each container has.
const SETTINGS: [&str; 5] = ["configfs", "debugfs", "efivarfs", "securityfs", "tracefs"];

/// Whether a mount of what each container has gives more orders than a container's.
fn kernel(mount: &Mount<'_>, mounts: &BTreeMap<&str, Mount<'_>>) -> Option<&'static str> {
    match mount.kind {
        _ if !mount.writable => None,
        "proc" => proc(mount, mounts).then_some("kernel settings of /proc, writable"),
        "sysfs" => Some("kernel settings of /sys, writable"),
        _ => (mount.root == "/").then_some("all control groups, writable"),
    }
}

/// Whether a mount shows the node's processes: each of them has a link there to its root directory. Reading
/// suffices for that. Of the network's settings each process sees those of its own namespace.
fn is_the_nodes_proc(mount: &Mount<'_>, nodes: &[Mount<'_>]) -> bool {
    let of_network = Path::new(mount.root).starts_with("/sys/net");
    !of_network && nodes.iter().any(|node| node.kind == "proc" && node.device == mount.device)
}

/// Where the kubelet mounts what only the pod is to know; the last is the place of the token that the pod has in its
/// cluster, whichever program mounted it.
const SECRETS: [&str; 3] =
    ["kubernetes.io~secret", "kubernetes.io~projected", "secrets/kubernetes.io"];

/// Where on the node is what this process, with the first `mountinfo`, has at `path`.
pub(crate) fn on_node(path: &Path, own: &str, nodes: &str) -> Vec<String> {
    let nodes: Vec<_> = parsed(nodes).collect();
    let own: Vec<_> = parsed(own).collect();
    let place = |mount: &Mount<'_>| unescaped(mount.place);
    // Of those that are mounted over one place the last is what is there.
    let mount = own
        .iter()
        .filter(|mount| path.starts_with(place(mount)))
        .max_by_key(|mount| mount.place.len());
    let below = |mount: &Mount<'_>| path.strip_prefix(place(mount)).map(Path::to_owned);
    let Some((mount, Ok(below))) = mount.map(|mount| (mount, below(mount))) else {
        return Vec::new();
    };
    let found = paths(mount, &nodes).map(|found| Path::new(&found).join(&below));
    found.map(|found| found.to_string_lossy().trim_end_matches('/').to_owned()).collect()
}

/// Where the kubelet mounts what a driver of volumes gives. Secrets of such a driver are in memory only, as those of
/// the secrets-store driver are; other volumes are on disks.
const OF_DRIVERS: &str = "kubernetes.io~csi";

/// The places of a target's Secrets and tokens: everybody in the pod may read most of them.
pub(crate) fn secrets(targets: &str, nodes: &str) -> Vec<OsString> {
    let nodes: Vec<_> = parsed(nodes).collect();
    let is_secret = |mount: &Mount<'_>| {
        let in_memory = mount.kind == "tmpfs";
        let names = |path: &str| {
            SECRETS.iter().any(|secret| path.contains(secret))
                || in_memory && path.contains(OF_DRIVERS)
        };
        names(mount.place) || paths(mount, &nodes).any(|path| names(&path))
    };
    let places = parsed(targets).filter(is_secret);
    places.map(|mount| unescaped(mount.place).into()).collect()
}

/// A path as it is, of which the kernel writes white space and backslashes as `\\040`, and [`crate::procfs`] what is no
/// text.
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_owned();
    for part in parts {
        let byte = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(b'\\'));
        let rest = part.get(if byte.is_some() { 3 } else { 0 }..);
        plain.extend_from_slice(rest.unwrap_or_default().as_bytes());
    }
    OsString::from_vec(plain).into()
}

/// A `/proc` of a container is writable, and what gives orders is covered.
fn proc(mount: &Mount<'_>, mounts: &BTreeMap<&str, Mount<'_>>) -> bool {
    // Who covers this covers the rest, as far as this kernel has it.
    let settings = format!("{}/sys", mount.place.trim_end_matches('/'));
    let over = mounts.get(settings.as_str());
    let is_covered = over.is_some_and(|over| over.kind != "proc" || !over.writable);
    match mount.root.trim_start_matches('/') {
        "" => !is_covered,
        // The network's are those of a namespace.
        part => {
            part == "sysrq-trigger"
                || part == "sys"
                || part.starts_with("sys/") && !part.starts_with("sys/net")
        }
    }
}

/// Where on the node is what is mounted.
fn paths(mount: &Mount<'_>, nodes: &[Mount<'_>]) -> impl Iterator<Item = String> {
    let on_node = |node: &Mount<'_>| {
        // First what most are told apart by, and cheaply: this is done for each pair.
        if node.device != mount.device {
            return None;
        }
        let below = Path::new(mount.root).strip_prefix(node.root).ok()?;
        let place = Path::new(node.place);
        Some(if below.as_os_str().is_empty() { place.to_owned() } else { place.join(below) })
    };
    let paths: Vec<_> = nodes.iter().filter_map(on_node).collect();
    let plain = |path: PathBuf| unescaped(&path.to_string_lossy());
    paths.into_iter().map(move |path| plain(path).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::text;

    const NODE: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
23 22 0:22 / /proc rw - proc proc rw
24 22 0:23 / /sys rw - sysfs sysfs rw
25 22 0:24 / /run rw - tmpfs tmpfs rw
26 25 0:90 / /run/containerd/io.containerd.runtime.v2.task/k8s.io/a/rootfs rw - overlay overlay rw";

    /// What every pod has.
    const POD: &str = "\
900 800 0:90 / / rw - overlay overlay rw
901 900 0:91 / /proc rw,nosuid - proc proc rw
902 901 0:91 /sys /proc/sys ro,nosuid - proc proc rw
903 901 0:91 /sysrq-trigger /proc/sysrq-trigger ro - proc proc rw
904 900 0:92 / /sys ro - sysfs sysfs ro
905 904 0:26 /kubepods/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
906 900 254:0 /var/lib/kubelet/pods/u/etc-hosts /etc/hosts rw - ext4 /dev/root rw
907 900 254:0 /var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/x /data rw - ext4 /dev/root rw
908 900 0:24 /containerd/io.containerd.grpc.v1.cri/sandboxes/s/shm /dev/shm rw - tmpfs tmpfs rw
909 900 254:0 /srv/data /srv rw - ext4 /dev/root rw";

    /// What `line` adds to it.
    fn with(line: &str) -> Vec<Reached> {
        let usual = reached(POD, NODE);
        let all = reached(&format!("{POD}\n{line}"), NODE);
        all.into_iter().filter(|one| !usual.contains(one)).collect()
    }

    #[test]
    fn a_pod_gives_no_orders_and_its_files_are_told_by_their_paths() {
        let all = reached(POD, NODE);
        let files = all.iter().map(|reached| match &reached.what {
            OfNode::File { path, read_only: false } => path.as_str(),
            other => panic!("{other:?}"),
        });
        let expected = [
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io/a/rootfs",
            "/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/x",
            "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/s/shm",
            "/var/lib/kubelet/pods/u/etc-hosts",
            "/srv/data",
        ];
        assert_eq!(files.collect::<Vec<_>>(), expected);
        assert!(reached("", NODE).is_empty() && reached("a b c", "").is_empty());
    }

    #[test]
    fn a_path_of_a_container_is_told_by_where_it_is_on_the_node() {
        let own = "900 800 0:90 / / rw - overlay overlay rw\n\
                   901 900 0:24 /containerd /run/ctrd rw - tmpfs tmpfs rw";
        let found = |path: &str| on_node(Path::new(path), own, NODE);
        assert_eq!(found("/run/ctrd/a.sock"), ["/run/containerd/a.sock"]);
        assert_eq!(found("/run/ctrd"), ["/run/containerd"]);
        let root = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/a/rootfs";
        assert_eq!(found("/run/x/a.sock"), [format!("{root}/run/x/a.sock")]);
        assert_eq!(on_node(Path::new("/srv/a.sock"), NODE, NODE), ["/srv/a.sock"]);
        assert_eq!(on_node(Path::new("/run/a.sock"), NODE, NODE), ["/run/a.sock"]);
    }

    #[test]
    fn secrets_are_told_by_where_the_kubelet_has_them() {
        let node = format!(
            "{NODE}\n30 22 0:70 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/tls rw - tmpfs tmpfs rw"
        );
        let pod = format!(
            "{POD}\n950 900 0:70 / /etc/my\\040tls ro - tmpfs tmpfs rw\n\
             951 900 0:71 / /run/secrets/kubernetes.io/serviceaccount ro - tmpfs tmpfs rw"
        );
        let places = ["/etc/my tls", "/run/secrets/kubernetes.io/serviceaccount"];
        assert_eq!(secrets(&pod, &node), places);
        let volumes = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi";
        let node = format!(
            "{node}\n31 22 0:72 / {volumes}/vault/mount rw - tmpfs tmpfs rw\n\
             32 22 7:1 / {volumes}/disk/mount rw - ext4 /dev/sdb rw"
        );
        let pod = format!(
            "{POD}\n952 900 0:72 / /mnt/secrets-store ro - tmpfs tmpfs rw\n\
             953 900 7:1 / /data2 rw - ext4 /dev/sdb rw"
        );
        assert_eq!(secrets(&pod, &node), ["/mnt/secrets-store"], "and not the disk");
        assert!(secrets(POD, NODE).is_empty());
        assert_eq!(unescaped("/a\\134b\\x"), Path::new("/a\\b\\x"));
    }

    #[test]
    fn a_name_that_is_no_text_hides_no_mount_and_is_covered_where_it_is() {
        let node = "30 22 0:70 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/tls rw - tmpfs tmpfs rw";
        let others =
            b"77 22 254:0 /var/lib/kubelet/pods/o/volumes/\xff /x/\xff rw - ext4 /dev/root rw\n";
        let node = text([NODE.as_bytes(), b"\n", others, node.as_bytes()].concat());
        let moved = b"950 900 0:70 / /\xff\\040\xfe/tls ro - tmpfs tmpfs rw";
        let pod = text([POD.as_bytes(), b"\n", moved].concat());
        assert_eq!(secrets(&pod, &node), [OsString::from_vec(b"/\xff \xfe/tls".to_vec())]);
        // What is covered at one such name is open at another.
        let [open, covered]: [&[u8]; 2] = [
            b"951 900 0:91 / /\xff rw - proc proc rw\n",
            b"952 951 0:91 /sys /\xfe/sys ro - proc proc rw",
        ];
        let orders = reached(&text([open, covered].concat()), NODE);
        assert_eq!(orders.len(), 1, "{orders:?}");
    }

    #[test]
    fn orders_to_the_kernel_are_told_from_what_is_covered() {
        for (line, place) in [
            ("950 900 0:95 / /open/proc rw - proc proc rw", "/open/proc"),
            ("950 901 0:91 /sys /proc/sys rw - proc proc rw", "/proc"),
            ("950 901 0:91 /sys/kernel /kernel rw - proc proc rw", "/kernel"),
            ("950 900 0:92 / /open/sys rw - sysfs sysfs rw", "/open/sys"),
            ("950 900 0:26 / /groups rw - cgroup cgroup rw,memory", "/groups"),
            ("950 900 0:7 / /debug rw - debugfs debugfs rw", "/debug"),
        ] {
            let orders = with(line).into_iter().find(|one| matches!(one.what, OfNode::Kernel(_)));
            assert_eq!(orders.expect(line).place, place);
        }
        for line in [
            "950 901 0:91 /sys/net /proc/sys/net rw - proc proc rw",
            "950 900 0:95 / /open/proc ro - proc proc rw",
            "950 900 0:92 / /open/sys rw - sysfs sysfs ro",
        ] {
            assert!(with(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn the_nodes_own_processes_count_though_they_may_only_be_read() {
        for (line, place) in [
            ("950 900 0:22 / /hostproc ro - proc proc rw", "/hostproc"),
            ("950 900 0:22 / /hostproc ro - proc proc ro", "/hostproc"),
            ("950 900 0:22 /1 /init ro - proc proc rw", "/init"),
            ("950 900 0:22 /kcore /kcore ro - proc proc rw", "/kcore"),
        ] {
            let all = with(line);
            let [Reached { what: OfNode::Kernel(what), place: found }] = &all[..] else {
                panic!("{line}: {all:?}")
            };
            assert_eq!((*what, found.as_str()), ("the node's own /proc", place));
        }
        assert!(with("950 901 0:22 /sys/net /proc/sys/net ro - proc proc rw").is_empty());
    }

    #[test]
    fn files_are_told_by_where_they_are_on_the_node() {
        for (root, device, found) in [
            ("/", "254:0", "/"),
            ("/etc/cron.d", "254:0", "/etc/cron.d"),
            ("/containerd/containerd.sock", "0:24", "/run/containerd/containerd.sock"),
            ("/a\\040b", "0:24", "/run/a b"),
        ] {
            for (how, read_only) in [("rw", false), ("ro", true)] {
                let line = format!("950 900 {device} {root} /host {how} - ext4 /dev/root rw");
                let what = OfNode::File { path: found.to_owned(), read_only };
                assert_eq!(with(&line), [Reached { what, place: "/host".to_owned() }], "{root}");
            }
        }
        assert!(
            with("950 900 7:7 /etc /host rw - ext4 /dev/other rw").is_empty(),
            "not the node's"
        );
    }
}
