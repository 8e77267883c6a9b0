//! The one list of what makes a container worth its node. The gateway and `doctor` hold a pod's spec against
//! it, the agent what it observes.
//!
//! A path is absolute and without links, `/run` and never `/var/run`; `*` stands for one name of it.

/// What a container cannot have without being able to rule its node, without `CAP_`: it is one of these to
/// change the kernel, to read or write its memory and devices, to read any file, or to trace a process.
pub const CAPABILITIES: [&str; 9] = [
    "SYS_ADMIN",
    "SYS_PTRACE",
    "SYS_MODULE",
    "SYS_RAWIO",
    "DAC_READ_SEARCH",
    "BPF",
    "PERFMON",
    "SYSLOG",
    "SYS_BOOT",
];

/// One that counts only where devices are open, without `CAP_`. Each usual container has it, and a control
/// group that opens no disk; in a spec only a privileged container's devices are open, which counts itself.
pub const WITH_OPEN_DEVICES: &str = "MKNOD";

/// Where container runtimes listen, who start what they are asked for. To connect, reading suffices. One of
/// these names is such a socket wherever it is.
pub const RUNTIME_SOCKETS: [&str; 12] = [
    "/run/containerd/containerd.sock",
    "/run/containerd/containerd.sock.ttrpc",
    "/run/cri-dockerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/dockershim.sock",
    "/run/k0s/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock.ttrpc",
    "/run/podman/podman.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
];

/// Folders that decide what the node runs, or have its keys. Who writes to one, or to something in it, becomes
/// root there.
pub const FOLDERS: [&str; 20] = [
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib64",
    "/opt/cni",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/lib/k0s",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/snap/microk8s",
    "/var/spool/cron",
];

/// Of [`FOLDERS`], what belongs to one container each: root file systems, volumes, `/etc/hosts`. A spec names
/// none of it; each container's mounts are there.
pub const OF_CONTAINERS: [&str; 28] = [
    "/run/containerd/io.containerd.grpc.v1.cri/*/*",
    "/run/containerd/io.containerd.runtime.v1.linux/*/*",
    "/run/containerd/io.containerd.runtime.v2.task/*/*",
    "/run/containers/storage/*/*",
    "/run/k0s/containerd/io.containerd.grpc.v1.cri/*/*",
    "/run/k0s/containerd/io.containerd.runtime.v2.task/*/*",
    "/run/k3s/containerd/io.containerd.grpc.v1.cri/*/*",
    "/run/k3s/containerd/io.containerd.runtime.v2.task/*/*",
    "/var/lib/containerd/*/snapshots/*",
    "/var/lib/containerd/io.containerd.grpc.v1.cri/*/*",
    "/var/lib/docker/*/*/merged",
    "/var/lib/docker/containers/*",
    "/var/lib/docker/rootfs/*/*",
    "/var/lib/docker/volumes/*/_data",
    "/var/lib/k0s/containerd/*/snapshots/*",
    "/var/lib/k0s/containerd/io.containerd.grpc.v1.cri/*/*",
    "/var/lib/k0s/kubelet/plugins/kubernetes.io/*/*",
    "/var/lib/k0s/kubelet/pods/*/*",
    "/var/lib/kubelet/plugins/kubernetes.io/*/*",
    "/var/lib/kubelet/pods/*/*",
    "/var/lib/rancher/*/agent/containerd/*/snapshots/*",
    "/var/lib/rancher/*/agent/containerd/io.containerd.grpc.v1.cri/*/*",
    "/var/lib/rancher/k3s/storage/*",
    "/var/snap/microk8s/common/default-storage/*",
    "/var/snap/microk8s/common/run/containerd/io.containerd.grpc.v1.cri/*/*",
    "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/*/*",
    "/var/snap/microk8s/common/var/lib/containerd/io.containerd.grpc.v1.cri/*/*",
    "/var/snap/microk8s/common/var/lib/kubelet/pods/*/*",
];

/// Of the node's directories those that give nothing away to who only reads them: what is the same on every
/// machine, and its logs.
pub const HARMLESS_TO_READ: [&str; 16] = [
    "/bin",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/pki",
    "/etc/ssl/certs",
    "/etc/timezone",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/sbin",
    "/usr/share",
    "/usr/src",
    "/var/log",
];
