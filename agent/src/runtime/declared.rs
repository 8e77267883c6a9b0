//! What an OCI spec says of what its container has of the node.
//!
//! Of containerd's copy, which nothing in the container can change.

use entry::{Capabilities, Capability, Declared, OfNode, Reached};
use serde::Deserialize;

/// The only parts of an OCI spec that matter.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Spec {
    process: Option<Process>,
    mounts: Option<Vec<Mount>>,
    linux: Option<Linux>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Process {
    capabilities: Option<Sets>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sets {
    bounding: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mount {
    destination: String,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    options: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    cgroups_path: Option<String>,
    namespaces: Option<Vec<Namespace>>,
    readonly_paths: Option<Vec<String>>,
    devices: Option<Vec<Node>>,
    resources: Option<Resources>,
}

/// A device that the runtime makes a node of.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Node {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    major: i64,
    minor: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    devices: Option<Vec<Device>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Device {
    allow: bool,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    access: Option<String>,
}

impl Spec {
    pub(super) fn cgroups_path(&self) -> Option<String> {
        self.linux.as_ref()?.cgroups_path.clone()
    }

    pub(super) fn declared(&self) -> Declared {
        let none = Linux::default();
        let linux = self.linux.as_ref().unwrap_or(&none);
        let reached = |mount: &Mount| {
            let what = mount.of_node(linux)?;
            Some(Reached { what, place: mount.destination.clone() })
        };
        let sets = self.process.as_ref().and_then(|process| process.capabilities.as_ref());
        let bounding = sets.and_then(|sets| sets.bounding.as_ref()).into_iter().flatten();
        let named = |name: &String| Capability::named(name.strip_prefix("CAP_").unwrap_or(name));
        let rules = linux.resources.as_ref().and_then(|resources| resources.devices.as_ref());
        let rules = || rules.into_iter().flatten();
        let nodes = linux.devices.iter().flatten().filter_map(Node::of_node);
        let by_rules = opens_disks(rules()).then(|| Reached {
            what: OfNode::Kernel(
                "a device rule that lets it open disks of the node, or the node's memory",
            ),
            place: "linux.resources.devices of its OCI spec".to_owned(),
        });
        let mounts = self.mounts.iter().flatten().filter_map(reached);
        let namespaces = linux.namespaces.as_ref().into_iter().flatten();
        Declared {
            reached: mounts.chain(nodes).chain(by_rules).collect(),
            capabilities: bounding.filter_map(named).collect::<Capabilities>(),
            opens_devices: opens_any(rules()),
            own_users: namespaces.into_iter().any(|namespace| namespace.kind == "user"),
        }
    }
}

impl Mount {
    fn of_node(&self, linux: &Linux) -> Option<OfNode> {
        let has = |option: &str| self.options.iter().flatten().any(|it| it == option);
        let read_only = has("ro") || has("rro");
        if self.kind == "bind" || has("bind") || has("rbind") {
            return Some(OfNode::File { path: self.source.clone(), read_only });
        }
        let is_covered =
            |settings: &str| linux.readonly_paths.iter().flatten().any(|path| path == settings);
        let orders = match self.kind.as_str() {
            _ if read_only => false,
            "proc" => !is_covered(&format!("{}/sys", self.destination.trim_end_matches('/'))),
            "sysfs" | "configfs" | "debugfs" | "efivarfs" | "securityfs" | "tracefs" => true,
            _ => false,
        };
        orders.then_some(OfNode::Kernel("settings of the kernel, writable"))
    }
}

impl Node {
    /// What that is of the node's. Of a disk nothing here says whose it is: it may be a volume, or what the node
    /// runs from.
    fn of_node(&self) -> Option<Reached> {
        let what = match self.kind.as_str() {
            "b" => "a disk of the node as a device",
            "c" | "u" if is_raw(self.major, self.minor) => {
                "the node's memory or its disks as a device"
            }
            _ => return None,
        };
        Some(Reached { what: OfNode::Kernel(what), place: self.path.clone() })
    }
}

/// Whether a device of characters is the machine's memory (`/dev/mem`, `/dev/kmem` and `/dev/port`), or gives
/// orders to disks (`/dev/sg0`).
fn is_raw(major: i64, minor: i64) -> bool {
    const MEMORY: i64 = 1;
    const GENERIC_SCSI: i64 = 21;
    major == GENERIC_SCSI || major == MEMORY && [1, 2, 4].contains(&minor)
}

/// Whether the `rules` of a control group, of which each counts more than those before, let some disk be opened, or
/// the machine's memory.
fn opens_disks<'d>(rules: impl IntoIterator<Item = &'d Device>) -> bool {
    rules.into_iter().fold(false, |opens, rule| {
        let access = rule.access.as_deref().unwrap_or("rwm");
        let is_all = matches!(rule.kind.as_deref(), None | Some("" | "a"));
        let is_disk = rule.kind.as_deref() == Some("b");
        let is_raw = rule.major.zip(rule.minor).is_some_and(|(major, minor)| is_raw(major, minor));
        if rule.allow {
            opens || (is_all || is_disk || is_raw) && access.contains(['r', 'w'])
        } else {
            opens && !(is_all && access.contains('r') && access.contains('w'))
        }
    })
}

/// Whether the `rules` of a control group let any disk be opened, whichever is made a node of, or the machine's
/// memory.
fn opens_any<'d>(rules: impl IntoIterator<Item = &'d Device>) -> bool {
    rules.into_iter().fold(false, |opens, rule| {
        let number = |number: Option<i64>| number.filter(|number| *number >= 0);
        let (major, minor) = (number(rule.major), number(rule.minor));
        let access = rule.access.as_deref().unwrap_or("rwm");
        let is_all = matches!(rule.kind.as_deref(), None | Some("" | "a"));
        let is_char = matches!(rule.kind.as_deref(), Some("c" | "u"));
        // The first major number is that of /dev/mem, /dev/kmem and /dev/port, beside /dev/null.
        let is_memory = major.is_none_or(|major| major == 1) && !matches!(minor, Some(3 | 5..=9));
        let is_any = is_all || if is_char { is_memory } else { minor.is_none() };
        if rule.allow {
            opens || is_any && access.contains(['r', 'w'])
        } else {
            opens && !(is_all && access.contains('r') && access.contains('w'))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn declared(spec: Value) -> Declared {
        serde_json::from_value::<Spec>(spec).expect("a spec").declared()
    }

    #[test]
    fn what_is_bound_is_told_by_its_path_on_the_node() {
        let told = declared(json!({"mounts": [
            {"destination": "/host", "type": "bind", "source": "/etc", "options": ["rbind", "ro"]},
            {"destination": "/w", "source": "/srv", "options": ["bind"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"},
        ]}));
        let file = |path: &str, read_only| OfNode::File { path: path.to_owned(), read_only };
        let found: Vec<_> = told.reached.into_iter().map(|one| (one.what, one.place)).collect();
        let expected = [(file("/etc", true), "/host"), (file("/srv", false), "/w")];
        assert_eq!(found, expected.map(|(what, place)| (what, place.to_owned())));
    }

    #[test]
    fn orders_to_the_kernel_are_told_from_what_each_container_has() {
        let orders = |mount: Value, covered: &[&str]| {
            let linux = json!({"readonlyPaths": covered});
            !declared(json!({"mounts": [mount], "linux": linux})).reached.is_empty()
        };
        let proc = |at: &str| json!({"destination": at, "type": "proc", "source": "proc"});
        assert!(!orders(proc("/proc"), &["/proc/bus", "/proc/sys"]));
        assert!(orders(proc("/proc"), &[]) && orders(proc("/open"), &["/proc/sys"]));
        let sys =
            |options: Value| json!({"destination": "/sys", "type": "sysfs", "options": options});
        assert!(!orders(sys(json!(["nosuid", "ro"])), &[]) && orders(sys(json!(["nosuid"])), &[]));
    }

    #[test]
    fn devices_are_open_where_no_rule_names_which() {
        let opens = |rules: Value| {
            declared(json!({"linux": {"resources": {"devices": rules}}})).opens_devices
        };
        let none = json!({"allow": false, "access": "rwm"});
        let usual = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"});
        let terminals = json!({"allow": true, "type": "c", "major": 136, "access": "rwm"});
        let make = json!({"allow": true, "type": "b", "access": "m"});
        let volume = json!({"allow": true, "type": "b", "major": 8, "minor": 16, "access": "rwm"});
        assert!(!opens(json!(null)) && !opens(json!([none, usual, terminals, make, volume])));
        for open in [
            json!({"allow": true, "access": "rwm"}),
            json!({"allow": true, "type": "a", "major": -1, "minor": -1}),
            json!({"allow": true, "type": "b", "major": 8, "access": "r"}),
            json!({"allow": true, "type": "c", "access": "rw"}),
            json!({"allow": true, "type": "c", "major": 1, "minor": 1, "access": "r"}),
        ] {
            assert!(opens(json!([none, open])), "{open}");
            assert!(!opens(json!([open, none])), "{open}");
        }
    }

    #[test]
    fn a_disk_that_is_given_or_may_be_opened_is_of_the_node() {
        let found = |linux: Value| {
            let told = declared(json!({"linux": linux}));
            told.reached.into_iter().map(|one| one.place).collect::<Vec<_>>()
        };
        let device = |path: &str, kind: &str, major: i64, minor: i64| json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": 432});
        let devices = json!([
            device("/dev/disk", "b", 254, 0),
            device("/dev/mem", "c", 1, 1),
            device("/dev/sg0", "c", 21, 0),
            device("/dev/fuse", "c", 10, 229),
            device("/dev/null", "c", 1, 3),
        ]);
        let given = found(json!({"devices": devices}));
        assert_eq!(given, ["/dev/disk", "/dev/mem", "/dev/sg0"]);
        let none = json!({"allow": false, "access": "rwm"});
        let opens = |rule: Value| found(json!({"resources": {"devices": [none, rule]}}));
        for rule in [
            json!({"allow": true, "type": "b", "major": 254, "minor": 0, "access": "rwm"}),
            json!({"allow": true, "type": "b", "access": "r"}),
            json!({"allow": true, "type": "c", "major": 1, "minor": 1, "access": "r"}),
            json!({"allow": true}),
        ] {
            assert_eq!(opens(rule.clone()), ["linux.resources.devices of its OCI spec"], "{rule}");
            let after = found(json!({"resources": {"devices": [rule, none]}}));
            assert!(after.is_empty(), "{rule}");
        }
        for rule in [
            json!({"allow": true, "type": "b", "access": "m"}),
            json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}),
            json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}),
        ] {
            assert!(opens(rule.clone()).is_empty(), "{rule}");
        }
    }

    #[test]
    fn what_it_may_come_to_hold_and_whose_users_it_has_are_told() {
        let told = declared(json!({
            "process": {"capabilities": {"bounding": ["CAP_MKNOD", "CAP_OF_TOMORROW"]}},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "user"}]},
        }));
        assert_eq!(told.capabilities, Capabilities::NONE.with(Capability::Mknod));
        assert!(told.own_users && !declared(json!({"linux": {}})).own_users);
    }
}
