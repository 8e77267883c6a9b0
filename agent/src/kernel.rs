//! What no kernel of some age keeps a tool from, whatever an agent does.
//!
//! The one thing here that goes by a version: to try it out would be to do it to the node.

use std::fmt;

/// A kernel that collects unreachable unix sockets in whichever process closes one (`unix_gc` in
/// `unix_release_sock`). What lies in them is let go of there, and may be a pipe whose lock a tool sleeps with: the
/// process that closes waits for the tool then, SIGKILL included. The agent and its relays have such sockets.
///
/// Linux 6.9 does it in a worker (`af_unix: Run GC on only one CPU`), and so do 6.6.93 and 6.1.141.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectsAtClose {
    release: String,
}

impl CollectsAtClose {
    /// Whether this is such a kernel.
    #[must_use]
    pub fn here() -> Option<Self> {
        let name = rustix::system::uname();
        Self::of(&name.release().to_string_lossy(), &name.version().to_string_lossy())
    }

    /// The `release` is a distribution's own, which may say what it is made of in `version`, as Debian's does.
    fn of(release: &str, version: &str) -> Option<Self> {
        let mut names = [release].into_iter().chain(version.split_whitespace());
        let is_told = names.any(|name| numbers(name).is_some_and(collects_aside));
        (!is_told).then(|| Self { release: release.escape_debug().to_string() })
    }
}

impl fmt::Display for CollectsAtClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Linux {} has a known defect: any container can block every process of the node that closes a unix socket, including the agent. Upgrade to Linux 6.9 or newer, or to at least 6.6.93 or 6.1.141 in their series",
            self.release
        )
    }
}

fn collects_aside([major, minor, patch]: [u32; 3]) -> bool {
    match (major, minor) {
        (6, 6) => patch >= 93,
        (6, 1) => patch >= 141,
        version => version >= (6, 9),
    }
}

/// Of `6.1.141-1-amd64`, the first three.
fn numbers(name: &str) -> Option<[u32; 3]> {
    let mut parts = name.splitn(3, '.');
    let [major, minor, rest] = [parts.next()?, parts.next()?, parts.next()?];
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some([major.parse().ok()?, minor.parse().ok()?, rest[..digits].parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024";

    #[test]
    fn kernels_that_collect_in_a_worker_are_told_by_their_numbers() {
        for release in ["6.9.0", "6.10.3-arch1", "7.0.0", "6.18.44-fc", "6.6.93", "6.1.141-generic"]
        {
            assert_eq!(CollectsAtClose::of(release, VERSION), None, "{release}");
        }
        for release in
            ["6.8.0-45-generic", "6.7.12", "6.6.92", "6.1.140", "5.15.200", "5.14.0-503.el9.x86_64"]
        {
            assert!(CollectsAtClose::of(release, VERSION).is_some(), "{release}");
        }
    }

    #[test]
    fn a_distribution_s_own_release_is_looked_through() {
        let of_debian = |of: &str| {
            CollectsAtClose::of("6.1.0-37-amd64", &format!("#1 SMP Debian {of} (2025-08-01)"))
        };
        assert_eq!(of_debian("6.1.147-1"), None);
        assert!(of_debian("6.1.140-1").is_some());
        let unknown = CollectsAtClose::of("some\nkernel", "").expect("nobody knows");
        assert!(
            unknown.to_string().starts_with(r"Linux some\nkernel has a known defect"),
            "{unknown}"
        );
    }
}
