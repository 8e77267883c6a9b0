//! Why a container is worth as much as its node: for the gateway and for `doctor` as a pod's spec tells it.
//! The agent decides again from what it observes, by the same list.
//!
//! Who may enter such a container may come to rule the node: by what its processes hold, by what of the
//! node it has mounted, or because its processes can take a tool over. What no spec tells is not seen here:
//! what a volume claim or a driver mounts may be a directory of the node as well.

mod list;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::profile::Profile;

pub use list::{
    CAPABILITIES, FOLDERS, HARMLESS_TO_READ, OF_CONTAINERS, RUNTIME_SOCKETS, WITH_OPEN_DEVICES,
};

/// What makes a target worth as much as its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Node,
    Network,
    Processes,
    Ipc,
    Privileged,
    /// One of [`CAPABILITIES`].
    Capability(&'static str),
    Unmasked,
    RuntimeSocket(String),
    Path(String),
    /// A volume of its own that it has as a device.
    Device(String),
    /// What [`by_profile`] says of it.
    Profile(Profile),
    /// A spec that cannot be read might hold anything.
    Unreadable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("is the node"),
            Self::Network => f.write_str("shares the node's network"),
            Self::Processes => f.write_str("shares the node's processes"),
            Self::Ipc => f.write_str("shares the node's ipc namespace"),
            Self::Privileged => f.write_str("is privileged"),
            Self::Capability(name) => write!(f, "may hold the capability {name}"),
            Self::Unmasked => f.write_str("has an unmasked /proc of the node's user namespace"),
            Self::RuntimeSocket(path) => {
                write!(f, "has the container runtime's socket {}", path.escape_debug())
            }
            Self::Path(path) => write!(f, "has the node's {} mounted", path.escape_debug()),
            Self::Device(path) => {
                write!(f, "has a disk as a device, at {}", path.escape_debug())
            }
            Self::Profile(profile) => {
                let what = match profile {
                    Profile::Netadmin => "reaches the node's network",
                    _ => "holds all",
                };
                write!(f, "is to be entered with the profile {profile}, which {what}")
            }
            Self::Unreadable => f.write_str("has a spec that cannot be read"),
        }
    }
}

/// Why a session of `profile` is worth as much as the node whatever its target is: `NET_ADMIN` reaches other
/// network namespaces by `link-netnsid`, the node's among them, and `sysadmin` holds everything. An operator
/// may have given that of `netadmin` away.
#[must_use]
pub fn by_profile(profile: Profile, netadmin_is_given_away: bool) -> Option<Reason> {
    let reaches_the_node = match profile {
        Profile::Restricted | Profile::Baseline | Profile::General => false,
        Profile::Netadmin => !netadmin_is_given_away,
        Profile::Sysadmin => true,
    };
    reaches_the_node.then_some(Reason::Profile(profile))
}

/// What of the node's file system makes a container worth the node. Everything does that may be written,
/// and everything that may be read but [`HARMLESS_TO_READ`]: keys, the kubelet's files, sockets.
#[must_use]
pub fn mounted(path: &str, read_only: bool) -> Option<Reason> {
    let trimmed = path.trim_end_matches('/');
    let last = trimmed.rsplit('/').next().unwrap_or_default();
    let is_called = |socket: &str| socket.rsplit('/').next() == Some(last);
    if RUNTIME_SOCKETS.into_iter().any(is_called) {
        return Some(Reason::RuntimeSocket(path.to_owned()));
    }
    let is_below = |above: &str| {
        let rest = trimmed.strip_prefix(above);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_plain = !trimmed.split('/').any(|part| part == "..");
    let is_harmless = read_only && is_plain && HARMLESS_TO_READ.into_iter().any(is_below);
    (!is_harmless).then(|| Reason::Path(path.to_owned()))
}

/// Why entering `container` of a pod with this `spec` of Kubernetes is worth as much as the node. Others
/// of the pod count where they share its processes: those can be traced, and their files reached.
#[must_use]
pub fn reason(spec: &impl Serialize, container: &str) -> Option<Reason> {
    let read = serde_json::to_value(spec).and_then(serde_json::from_value::<Spec>);
    let Ok(spec) = read else { return Some(Reason::Unreadable) };
    let shared = [
        (spec.host_network, Reason::Network),
        (spec.host_pid, Reason::Processes),
        (spec.host_ipc, Reason::Ipc),
    ];
    if let Some((_, why)) = shared.into_iter().find(|(shares, _)| *shares == Some(true)) {
        return Some(why);
    }
    spec.together_with(container).find_map(|container| spec.power(container))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    host_network: Option<bool>,
    #[serde(rename = "hostPID")]
    host_pid: Option<bool>,
    #[serde(rename = "hostIPC")]
    host_ipc: Option<bool>,
    host_users: Option<bool>,
    share_process_namespace: Option<bool>,
    containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Container>,
    #[serde(default)]
    ephemeral_containers: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    /// Of an ephemeral one: whose processes it shares.
    target_container_name: Option<String>,
    #[serde(default)]
    security_context: Security,
    #[serde(default)]
    volume_mounts: Vec<Mount>,
    #[serde(default)]
    volume_devices: Vec<Device>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Security {
    privileged: Option<bool>,
    proc_mount: Option<String>,
    #[serde(default)]
    capabilities: Added,
}

#[derive(Default, Deserialize)]
struct Added {
    #[serde(default)]
    add: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    name: String,
    read_only: Option<bool>,
}

/// A volume as it is, without a file system.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    device_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    host_path: Option<HostPath>,
}

#[derive(Deserialize)]
struct HostPath {
    path: String,
}

impl Spec {
    /// The container of this name and whichever share its processes.
    fn together_with<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Container> {
        let all = || {
            let plain = self.containers.iter().chain(&self.init_containers);
            plain.chain(&self.ephemeral_containers)
        };
        let all_share = self.share_process_namespace == Some(true);
        let whose = |container: &'a Container| {
            container.target_container_name.as_deref().unwrap_or(&container.name)
        };
        let meant = all().find(|container| container.name == name).map_or(name, whose);
        all().filter(move |container| all_share || whose(container) == meant)
    }

    fn power(&self, container: &Container) -> Option<Reason> {
        let Security { privileged, proc_mount, capabilities } = &container.security_context;
        if *privileged == Some(true) {
            return Some(Reason::Privileged);
        }
        if let Some(name) = capabilities.add.iter().find_map(|name| capability(name)) {
            return Some(Reason::Capability(name));
        }
        if proc_mount.as_deref() == Some("Unmasked") && self.host_users != Some(false) {
            return Some(Reason::Unmasked);
        }
        // The agent sees the number of a disk, and not whether it is a volume or what the node runs from.
        if let Some(Device { device_path }) = container.volume_devices.first() {
            return Some(Reason::Device(device_path.clone()));
        }
        let of_the_node = |mount: &Mount| {
            let volume = self.volumes.iter().find(|volume| volume.name == mount.name)?;
            mounted(&volume.host_path.as_ref()?.path, mount.read_only == Some(true))
        };
        container.volume_mounts.iter().find_map(of_the_node)
    }
}

/// Which of the list `added` gives; `ALL` gives all.
fn capability(added: &str) -> Option<&'static str> {
    let added = added.to_ascii_uppercase();
    let added = added.strip_prefix("CAP_").unwrap_or(&added);
    CAPABILITIES.into_iter().find(|name| added == *name || added == "ALL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn why(container: &str, change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut spec = json!({
            "containers": [{"name": "app"}, {"name": "sidecar"}],
            "initContainers": [{"name": "migrate"}],
            "ephemeralContainers": [{"name": "debugger"}],
        });
        change(&mut spec);
        reason(&spec, container).map(|reason| reason.to_string())
    }

    /// What is said of `app` with these fields of its own.
    fn of_app(fields: &Value, volumes: &Value) -> Option<String> {
        why("app", |spec| {
            for (name, value) in fields.as_object().expect("fields") {
                spec["containers"][0][name] = value.clone();
            }
            spec["volumes"] = volumes.clone();
        })
    }

    #[test]
    fn what_a_pod_shares_with_its_node_counts_for_each_container() {
        for (field, said) in [
            ("hostNetwork", "shares the node's network"),
            ("hostPID", "shares the node's processes"),
            ("hostIPC", "shares the node's ipc namespace"),
        ] {
            for container in ["app", "sidecar", "migrate", "debugger"] {
                assert_eq!(why(container, |spec| spec[field] = json!(true)).as_deref(), Some(said));
                assert_eq!(why(container, |spec| spec[field] = json!(false)), None);
            }
        }
    }

    #[test]
    fn each_capability_of_the_list_counts_however_it_is_written() {
        let added = |name: &str| {
            of_app(&json!({"securityContext": {"capabilities": {"add": [name]}}}), &json!([]))
        };
        for name in CAPABILITIES {
            let said = Some(format!("may hold the capability {name}"));
            assert_eq!(added(name), said);
            assert_eq!(added(&format!("cap_{}", name.to_lowercase())), said);
        }
        assert_eq!(added("ALL").as_deref(), Some("may hold the capability SYS_ADMIN"));
        for name in [WITH_OPEN_DEVICES, "NET_ADMIN", "NET_RAW", "SYS_CHROOT", "DAC_OVERRIDE"] {
            assert_eq!(added(name), None, "{name}");
        }
    }

    #[test]
    fn what_a_container_may_do_counts() {
        let secured = |security: Value| of_app(&json!({"securityContext": security}), &json!([]));
        assert_eq!(secured(json!({"privileged": true})).as_deref(), Some("is privileged"));
        assert_eq!(secured(json!({"privileged": false, "procMount": "Default"})), None);
        assert!(secured(json!({"procMount": "Unmasked"})).is_some());
        let apart = why("app", |spec| {
            spec["containers"][0]["securityContext"] = json!({"procMount": "Unmasked"});
            spec["hostUsers"] = json!(false);
        });
        assert_eq!(apart, None);
    }

    #[test]
    fn what_of_the_node_is_mounted_counts() {
        let said = |path: &str, read_only: Value| {
            let mount = json!({"volumeMounts": [{"name": "v", "readOnly": read_only}]});
            of_app(&mount, &json!([{"name": "v", "hostPath": {"path": path}}]))
        };
        let (writable, read_only) = (json!(null), json!(true));
        for path in ["/", "/etc", "/etc/ssl", "/var/lib/kubelet", "/run", "/usr/sharex", "/var"] {
            let expected = Some(format!("has the node's {path} mounted"));
            assert_eq!(said(path, read_only.clone()), expected);
            assert_eq!(said(path, writable.clone()), expected);
        }
        for path in HARMLESS_TO_READ {
            assert_eq!(said(path, read_only.clone()), None, "{path}");
            assert_eq!(said(&format!("{path}/x/"), read_only.clone()), None, "{path}");
            assert!(said(path, writable.clone()).is_some(), "{path}");
            assert!(said(&format!("{path}/../../etc"), read_only.clone()).is_some(), "{path}");
        }
        for socket in RUNTIME_SOCKETS {
            let name = socket.rsplit('/').next().expect("a name");
            for path in [socket.to_owned(), format!("/var/log/{name}")] {
                let expected = Some(format!("has the container runtime's socket {path}"));
                assert_eq!(said(&path, read_only.clone()), expected);
            }
        }
        for folder in FOLDERS {
            assert!(said(folder, writable.clone()).is_some(), "{folder}");
        }
        for path in ["/proc", "/proc/1/root", "/dev", "/dev/sda", "/dev/mem"] {
            for read_only in [writable.clone(), read_only.clone()] {
                let expected = Some(format!("has the node's {path} mounted"));
                assert_eq!(said(path, read_only), expected);
            }
        }
        for kind in ["BlockDevice", "CharDevice", "Socket"] {
            let mount = json!({"volumeMounts": [{"name": "v", "readOnly": true}]});
            let volume = json!([{"name": "v", "hostPath": {"path": "/srv/x", "type": kind}}]);
            assert!(of_app(&mount, &volume).is_some(), "{kind}");
        }
        let unused = of_app(&json!({}), &json!([{"name": "v", "hostPath": {"path": "/"}}]));
        assert_eq!(unused, None, "a volume that is not mounted");
        let claim = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        assert_eq!(of_app(&json!({"volumeMounts": [{"name": "v"}]}), &claim), None);
    }

    #[test]
    fn a_disk_as_a_device_counts_as_it_does_at_the_agent() {
        let device = json!({"volumeDevices": [{"name": "v", "devicePath": "/dev/xvda"}]});
        let claim = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        let expected = "has a disk as a device, at /dev/xvda";
        assert_eq!(of_app(&device, &claim).as_deref(), Some(expected));
    }

    #[test]
    fn a_neighbour_counts_where_it_shares_the_processes() {
        let privileged = json!({"privileged": true});
        for (list, at, name) in [
            ("containers", 1, "sidecar"),
            ("initContainers", 0, "migrate"),
            ("ephemeralContainers", 0, "debugger"),
        ] {
            let with = |more: fn(&mut Value), container: &str| {
                why(container, |spec| {
                    spec[list][at]["securityContext"] = privileged.clone();
                    more(spec);
                })
            };
            assert_eq!(with(|_| {}, "app"), None, "{name}");
            assert!(with(|_| {}, name).is_some(), "{name}");
            let together = |spec: &mut Value| spec["shareProcessNamespace"] = json!(true);
            assert!(with(together, "app").is_some(), "{name}");
        }
        let beside = |container: &str| {
            why(container, |spec| {
                let debugger = &mut spec["ephemeralContainers"][0];
                debugger["targetContainerName"] = json!("app");
                debugger["securityContext"] = privileged.clone();
            })
        };
        assert!(beside("app").is_some() && beside("debugger").is_some());
        assert_eq!(beside("sidecar"), None);
    }

    #[test]
    fn a_profile_that_reaches_the_node_counts_unless_that_is_given_away() {
        for profile in [Profile::Restricted, Profile::Baseline, Profile::General] {
            assert_eq!(by_profile(profile, false), None, "{profile}");
        }
        let said = |profile, given| by_profile(profile, given).map(|reason| reason.to_string());
        let netadmin = said(Profile::Netadmin, false).expect("it reaches the node");
        assert!(netadmin.ends_with("the profile netadmin, which reaches the node's network"));
        assert_eq!(said(Profile::Netadmin, true), None);
        for given in [false, true] {
            let sysadmin = said(Profile::Sysadmin, given).expect("it is root of the node");
            assert!(sysadmin.ends_with("the profile sysadmin, which holds all"), "{sysadmin}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts() {
        assert_eq!(reason(&json!({"containers": 7}), "app"), Some(Reason::Unreadable));
        assert_eq!(why("gone", |_| {}), None);
    }
}
