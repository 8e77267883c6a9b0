//! What a target's mounts make it: a container whose mounts reach the node's kernel or files is worth as much as the node.
//!
//! Pure: from `mountinfo` of the target and of the node to a reason. What the node's paths are, the device and
//! the root of a mount tell, which nobody in the target chooses.

use std::collections::BTreeMap;
use std::path::Path;

/// Folders of the node that decide what it runs. Whoever writes to one, or to something in it, becomes root there.
const RUNS_THE_NODE: [&str; 15] = [
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib64",
    "/root",
    "/run",
    "/sbin",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/spool/cron",
];

/// Where runtimes and the kubelet keep what belongs to containers: volumes, root file systems, `/etc/hosts`.
const OF_CONTAINERS: [&str; 7] = [
    "/run/containerd",
    "/run/containers",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker/containers",
    "/var/lib/docker/volumes",
    "/var/lib/kubelet/pods",
];

/// Whoever may connect to one has its runtime start what they like: reading suffices to get there.
const SOCKETS: [&str; 6] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/docker.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/podman/podman.sock",
];

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

/// By which of its mounts the target with the first `mountinfo` reaches the node with the second, or nothing.
pub(crate) fn exposed(targets: &str, nodes: &str) -> Option<String> {
    // What is mounted last over a place is what is there.
    let mounts: BTreeMap<_, _> =
        targets.lines().filter_map(Mount::parse).map(|mount| (mount.place, mount)).collect();
    let nodes: Vec<_> = nodes.lines().filter_map(Mount::parse).collect();
    mounts.values().find_map(|mount| {
        let why = match mount.kind {
            "proc" if mount.writable => proc(mount, &mounts)?,
            "sysfs" if mount.writable => "the kernel's own settings, writable".to_owned(),
            "cgroup" | "cgroup2" if mount.writable && mount.root == "/" => {
                "all control groups, writable".to_owned()
            }
            "proc" | "sysfs" | "cgroup" | "cgroup2" => return None,
            _ => paths(mount, &nodes).find_map(|path| file(&path, mount.writable))?,
        };
        Some(format!("it has {why}, at {}", mount.place.escape_debug()))
    })
}

/// Where the kubelet mounts what only the pod is to know; the last is the place of the token that the pod has in its
/// cluster, whoever mounted it.
const SECRETS: [&str; 3] =
    ["kubernetes.io~secret", "kubernetes.io~projected", "secrets/kubernetes.io"];

/// The places of a target's Secrets and tokens: everybody in the pod may read most of them.
pub(crate) fn secrets(targets: &str, nodes: &str) -> Vec<String> {
    let nodes: Vec<_> = nodes.lines().filter_map(Mount::parse).collect();
    let is_secret = |mount: &Mount<'_>| {
        let names = |path: &str| SECRETS.iter().any(|secret| path.contains(secret));
        names(mount.place) || paths(mount, &nodes).any(|path| names(&path))
    };
    let places = targets.lines().filter_map(Mount::parse).filter(is_secret);
    places.map(|mount| unescaped(mount.place)).collect()
}

/// A path as it is, of which `mountinfo` writes white space and backslashes as `\\040`.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte {
            Some(byte) => plain.push(char::from(byte)),
            None => plain.push('\\'),
        }
        plain.push_str(part.get(if byte.is_some() { 3 } else { 0 }..).unwrap_or_default());
    }
    plain
}

/// A `/proc` of a container is writable, and what gives orders is covered.
fn proc(mount: &Mount<'_>, mounts: &BTreeMap<&str, Mount<'_>>) -> Option<String> {
    // Who covers this covers the rest, as far as this kernel has it.
    let settings = format!("{}/sys", mount.place.trim_end_matches('/'));
    let over = mounts.get(settings.as_str());
    let is_covered = over.is_some_and(|over| over.kind != "proc" || !over.writable);
    let orders = match mount.root.trim_start_matches('/') {
        "" => !is_covered,
        // The network's are those of a namespace.
        part => {
            part == "sysrq-trigger"
                || part == "sys"
                || part.starts_with("sys/") && !part.starts_with("sys/net")
        }
    };
    orders.then(|| "what gives orders to the kernel, writable".to_owned())
}

/// Where on the node is what is mounted.
fn paths(mount: &Mount<'_>, nodes: &[Mount<'_>]) -> impl Iterator<Item = String> {
    let on_node = |node: &Mount<'_>| {
        let below = Path::new(mount.root).strip_prefix(node.root).ok()?;
        (node.device == mount.device).then(|| Path::new(node.place).join(below))
    };
    let paths: Vec<_> = nodes.iter().filter_map(on_node).collect();
    paths.into_iter().map(|path| {
        let path = path.to_string_lossy().into_owned();
        let path = path.strip_prefix("/var/run").map_or(path.clone(), |rest| format!("/run{rest}"));
        if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path }
    })
}

fn file(path: &str, writable: bool) -> Option<String> {
    let inside = |path: &str, folder: &str| Path::new(path).starts_with(folder);
    if let Some(socket) = SOCKETS.into_iter().find(|socket| inside(socket, path)) {
        return Some(format!("a way to the runtime's socket {socket} of the node"));
    }
    let of_containers = OF_CONTAINERS.iter().any(|folder| path != *folder && inside(path, folder));
    let runs = |folder: &&str| inside(path, folder) || inside(folder, path);
    let runs_node = RUNS_THE_NODE.iter().any(runs);
    (writable && runs_node && !of_containers)
        .then(|| format!("{} of the node, writable", path.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn with(line: &str) -> Option<String> {
        exposed(&format!("{POD}\n{line}"), NODE)
    }

    #[test]
    fn what_every_pod_has_is_nothing() {
        assert_eq!(exposed(POD, NODE), None);
        assert_eq!(exposed("", NODE), None);
        assert_eq!(exposed("a b c", ""), None);
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
        assert!(secrets(POD, NODE).is_empty());
        assert_eq!(unescaped("/a\\134b\\x"), "/a\\b\\x");
    }

    #[test]
    fn orders_to_the_kernel_are_told_from_what_is_covered() {
        for (line, place) in [
            ("950 900 0:95 / /open/proc rw - proc proc rw", "/open/proc"),
            ("950 901 0:91 /sys /proc/sys rw - proc proc rw", "/proc"),
            ("950 901 0:91 /sys/kernel /kernel rw - proc proc rw", "/kernel"),
            ("950 900 0:92 / /open/sys rw - sysfs sysfs rw", "/open/sys"),
            ("950 900 0:26 / /groups rw - cgroup cgroup rw,memory", "/groups"),
        ] {
            let why = with(line).unwrap_or_else(|| panic!("{line}"));
            assert!(why.ends_with(&format!(", at {place}")), "{why}");
        }
        for line in [
            "950 901 0:91 /sys/net /proc/sys/net rw - proc proc rw",
            "950 900 0:95 / /open/proc ro - proc proc rw",
            "950 900 0:92 / /open/sys rw - sysfs sysfs ro",
        ] {
            assert_eq!(with(line), None, "{line}");
        }
    }

    #[test]
    fn files_that_run_the_node_are_told_by_where_they_are_there() {
        for (root, device, found) in [
            ("/", "254:0", "runtime's socket"),
            ("/etc/cron.d", "254:0", "/etc/cron.d of the node"),
            ("/var/lib", "254:0", "/var/lib of the node"),
            ("/var/lib/kubelet/pods", "254:0", "/var/lib/kubelet/pods of the node"),
            ("/containerd/containerd.sock", "0:24", "/run/containerd/containerd.sock"),
            ("/containerd", "0:24", "runtime's socket"),
            ("/systemd", "0:24", "/run/systemd of the node"),
        ] {
            let why = with(&format!("950 900 {device} {root} /host rw - ext4 /dev/root rw"));
            assert!(why.as_ref().is_some_and(|why| why.contains(found)), "{root}: {why:?}");
        }
        // Who may only read changes nothing, and needs no more than that to connect.
        assert_eq!(with("950 900 254:0 /etc /host ro - ext4 /dev/root rw"), None);
        assert!(with("950 900 0:24 /docker.sock /host ro - tmpfs tmpfs rw").is_some());
    }
}
