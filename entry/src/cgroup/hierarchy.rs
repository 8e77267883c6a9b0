//! Which hierarchies sessions use, where in each their groups are, and what earlier owners left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::control::{Control, Layout, SESSIONS};
use super::directory::{make, subdirectories};
use super::owner::Owner;
use super::place::{Base, OwnGroup, Version, places};
use super::resources::{Memory, Resources};
use super::session::{Group, SessionCgroup};
use super::{CgroupError, read, v1, v2};

/// Where this process makes the control groups of sessions.
#[derive(Debug)]
pub struct Cgroups {
    used: Vec<Hierarchy>,
    /// Where any owner before us, perhaps with other limits, may have left something.
    everywhere: Vec<(Version, PathBuf)>,
    resources: Option<Resources>,
    owner: Owner,
    made: AtomicU64,
    leaf: Option<PathBuf>,
}

/// One hierarchy that sessions use.
#[derive(Debug)]
struct Hierarchy {
    version: Version,
    controls: Vec<Control>,
    sessions: PathBuf,
    /// What all that are in there may use together.
    together: Option<Resources>,
}

impl Cgroups {
    /// What memory a session has, where that is limited.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        self.resources.map(|resources| resources.memory)
    }

    /// Finds them, and makes what sessions' groups are to be in. Sessions get `resources`, or
    /// groups without limits, only to be ended by; all of them get what is `together`, or no such limit from us.
    pub fn own(
        layout: Layout,
        resources: Option<Resources>,
        together: Option<Resources>,
    ) -> Result<Self, CgroupError> {
        let membership = read("/proc/self/cgroup".into())?;
        let mountinfo = read("/proc/self/mountinfo".into())?;
        Self::among(&places(&membership, &mountinfo), layout, resources, together)
    }

    /// As [`Cgroups::own`], in the group at `directory` of a version 2 hierarchy.
    pub fn at(
        directory: &Path,
        layout: Layout,
        resources: Option<Resources>,
        together: Option<Resources>,
    ) -> Result<Self, CgroupError> {
        let place = OwnGroup {
            version: Version::V2,
            controllers: Vec::new(),
            mount: directory.to_owned(),
            directory: directory.to_owned(),
            read_only: false,
        };
        Self::among(&[place], layout, resources, together)
    }

    fn among(
        places: &[OwnGroup],
        layout: Layout,
        resources: Option<Resources>,
        together: Option<Resources>,
    ) -> Result<Self, CgroupError> {
        let owner = Owner::current().ok_or(CgroupError::NotMounted)?;
        let offers: Vec<_> = places.iter().map(|place| (place, offered(place, places))).collect();
        let mut used = Vec::new();
        let mut leaf = None;
        for (place, controls) in choose(&offers, resources.is_some())? {
            let base = match place.version {
                Version::V2 => v2::base(place, &controls, layout)?,
                Version::V1 => Base { directory: place.directory.clone(), leaf: None },
            };
            leaf = leaf.or(base.leaf);
            let sessions = base.directory.join(SESSIONS);
            used.push(Hierarchy { version: place.version, controls, sessions, together });
        }
        let places = places.iter().map(|place| (place.version, place.directory.join(SESSIONS)));
        let used_too = used.iter().map(|one| (one.version, one.sessions.clone()));
        let mut everywhere: Vec<_> = places.chain(used_too).collect();
        everywhere.sort_by(|one, other| one.1.cmp(&other.1));
        everywhere.dedup();
        let made = AtomicU64::new(0);
        let cgroups = Self { used, everywhere, resources, owner, made, leaf };
        cgroups.used.iter().try_for_each(Hierarchy::make)?;
        Ok(cgroups)
    }

    /// A group for one session, with its limits, and nobody in it.
    pub fn create(&self) -> Result<SessionCgroup, CgroupError> {
        let name = self.owner.name(self.made.fetch_add(1, Ordering::Relaxed));
        let mut session = SessionCgroup::new(self.resources);
        for hierarchy in &self.used {
            let group = hierarchy.group(&name);
            if make(&group.path).is_err() {
                // The last session of another owner has just taken the directory along.
                hierarchy.make()?;
                make(&group.path)?;
            }
            session.push(group)?;
        }
        Ok(session)
    }

    /// Ends what processes of this pid namespace that no longer live have left. Returns how many sessions that were.
    pub fn sweep(&self) -> Result<usize, CgroupError> {
        let mut left: BTreeMap<String, SessionCgroup> = BTreeMap::new();
        for (version, sessions) in &self.everywhere {
            for path in subdirectories(sessions) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let has_ended = |owner: Owner| owner != self.owner && owner.has_ended();
                if Owner::of_name(&name).is_some_and(has_ended) {
                    let session = left.entry(name).or_insert_with(|| SessionCgroup::new(None));
                    session.adopt(Group { version: *version, controls: Vec::new(), path });
                }
            }
        }
        let found = left.len();
        let ended: Vec<_> = left.into_values().map(|mut group| group.close()).collect();
        ended.into_iter().try_for_each(|closed| closed.map(drop)).map(|()| found)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for (_, sessions) in &self.everywhere {
            // Stays where another owner has a session.
            let _ = std::fs::remove_dir(sessions);
        }
        if let Some(leaf) = &self.leaf {
            v2::leave_leaf(leaf);
        }
    }
}

impl Hierarchy {
    fn make(&self) -> Result<(), CgroupError> {
        make(&self.sessions)?;
        if self.version == Version::V2 {
            v2::hand_down(&self.sessions, &self.controls)
                .map_err(|source| CgroupError::Delegate { path: self.sessions.clone(), source })?;
        }
        self.together.map_or(Ok(()), |together| self.limit_all(&together))
    }

    /// Bounds what all sessions use, those of other owners included.
    fn limit_all(&self, together: &Resources) -> Result<(), CgroupError> {
        let mut controls = self.controls.iter().filter(|control| control.is_handed_down());
        controls.try_for_each(|control| match self.version {
            Version::V1 => v1::limit_all(&self.sessions, *control, together),
            Version::V2 => v2::limit_all(&self.sessions, *control, together),
        })
    }

    fn group(&self, name: &str) -> Group {
        let path = self.sessions.join(name);
        Group { version: self.version, controls: self.controls.clone(), path }
    }
}

fn offered(place: &OwnGroup, places: &[OwnGroup]) -> Vec<Control> {
    let all = [Control::Memory, Control::Pids, Control::Cpu, Control::Devices, Control::Kill];
    let has = |place: &OwnGroup, control: Control| {
        place.controllers.iter().any(|name| name == control.as_str())
    };
    match place.version {
        Version::V1 => all.into_iter().filter(|control| has(place, *control)).collect(),
        // To find out what the kernel takes costs more than a group, and the list of version 1 goes before.
        Version::V2 => v2::offered(place, !places.iter().any(|one| has(one, Control::Devices))),
    }
}

/// For each control one place, of version 2 where that has it, but for devices; then what each place is used for.
fn choose<'a>(
    offers: &[(&'a OwnGroup, Vec<Control>)],
    limited: bool,
) -> Result<Vec<(&'a OwnGroup, Vec<Control>)>, CgroupError> {
    if offers.is_empty() {
        return Err(CgroupError::NotMounted);
    }
    let mut offers: Vec<_> = offers.iter().collect();
    offers.sort_by_key(|(place, _)| place.version == Version::V1);
    let mut chosen: Vec<(&OwnGroup, Vec<Control>)> = Vec::new();
    for (control, required) in [
        (Control::Memory, limited),
        (Control::Pids, limited),
        // Without it a session takes its share as any process does.
        (Control::Cpu, false),
        // Without it a node of any disk in an image is that disk.
        (Control::Devices, limited),
        // Without it processes are killed one by one.
        (Control::Kill, false),
    ] {
        if !limited && control != Control::Kill {
            continue;
        }
        let mut having = offers.iter().filter(|(_, has)| has.contains(&control));
        // What a container's runtime has to say of devices is in version 1, where that has it.
        let found = if control == Control::Devices { having.next_back() } else { having.next() };
        let Some((place, _)) = found else {
            if required {
                return Err(CgroupError::NoControl { what: control.as_str() });
            }
            continue;
        };
        match chosen.iter_mut().find(|(known, _)| known == place) {
            Some((_, controls)) => controls.push(control),
            None => chosen.push((place, vec![control])),
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_v1(controller: &str) -> OwnGroup {
        let directory = PathBuf::from("/sys/fs/cgroup").join(controller);
        let (version, controllers) = (Version::V1, vec![controller.to_owned()]);
        OwnGroup { version, controllers, mount: directory.clone(), directory, read_only: false }
    }

    fn unified() -> OwnGroup {
        OwnGroup { version: Version::V2, controllers: Vec::new(), ..of_v1("unified") }
    }

    #[test]
    fn a_hybrid_node_limits_by_version_1_and_kills_by_version_2() {
        let places = ["memory", "pids", "cpu", "devices", "freezer"].map(of_v1);
        let unified = unified();
        let mut offers: Vec<_> =
            places.iter().map(|place| (place, offered(place, &places))).collect();
        offers.push((&unified, vec![Control::Devices, Control::Kill]));
        let chosen = choose(&offers, true).expect("enough");
        let names: Vec<_> = chosen
            .iter()
            .map(|(place, controls)| (place.directory.file_name(), controls.as_slice()))
            .collect();
        let name = |name: &'static str| Some(std::ffi::OsStr::new(name));
        assert_eq!(
            names,
            [
                (name("memory"), &[Control::Memory][..]),
                (name("pids"), &[Control::Pids][..]),
                (name("cpu"), &[Control::Cpu][..]),
                (name("devices"), &[Control::Devices][..]),
                (name("unified"), &[Control::Kill][..]),
            ]
        );
    }

    #[test]
    fn version_2_is_enough_where_it_has_everything() {
        let (unified, freezer) = (unified(), of_v1("freezer"));
        let all =
            vec![Control::Memory, Control::Pids, Control::Cpu, Control::Devices, Control::Kill];
        let offers = [(&freezer, vec![Control::Kill]), (&unified, all.clone())];
        assert_eq!(choose(&offers, true).expect("enough"), [(&unified, all)]);
        assert_eq!(choose(&offers, false).expect("enough"), [(&unified, vec![Control::Kill])]);
    }

    #[test]
    fn what_cannot_be_limited_is_named() {
        let (memory, pids) = (of_v1("memory"), of_v1("pids"));
        let mut offers = vec![(&memory, offered(&memory, &[]))];
        let error = choose(&offers, true).expect_err("no pids");
        assert_eq!(error.to_string(), "no writable control group can limit pids");
        offers.push((&pids, offered(&pids, &[])));
        let error = choose(&offers, true).expect_err("no devices");
        assert_eq!(error.to_string(), "no writable control group can limit devices");
        assert!(choose(&offers, false).expect("nothing to limit").is_empty());
        assert!(choose(&[], false).is_err());
    }
}
