//! When a process started: what a pid of an earlier answer cannot be told from its successor's by.

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use crate::procfs::stat_field;

/// A moment in clock ticks, mostly of 10 ms, after the node's start (`CLOCK_BOOTTIME`), which is how
/// the kernel tells when a process started. The default is the node's start itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The beginning of the tick that is going on.
    #[must_use]
    pub fn now() -> Self {
        const NANOSECONDS: u64 = 1_000_000_000;
        let now = clock_gettime(ClockId::Boottime);
        let [seconds, rest] = [now.tv_sec, now.tv_nsec].map(i64::unsigned_abs);
        let ticks = clock_ticks_per_second();
        Self(seconds * ticks + rest / (NANOSECONDS / ticks))
    }

    /// Whether a process with this `stat` of proc(5) still runs, and has since before this moment.
    pub(crate) fn is_after_start(self, stat: &str) -> bool {
        // Its start is rounded down as well: one of this very tick may be the later one.
        started(stat).is_some_and(|ticks| ticks < self.0)
    }
}

/// When the process of this `stat` started, if it still runs: a zombie does nothing any more.
pub(crate) fn started(stat: &str) -> Option<u64> {
    let state = stat_field(stat, 3)?;
    (!matches!(state, "Z" | "X")).then(|| stat_field(stat, 22)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `stat` whose every field is its number.
    fn stat(name: &str) -> String {
        let fields: Vec<_> = (3..=30).map(|field| field.to_string()).collect();
        format!("1 ({name}) {}", fields.join(" "))
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        assert_eq!(started(&stat("a) b")), Some(22));
        assert_eq!(started(&stat("a").replace(") 3", ") Z")), None);
        assert_eq!(started(""), None);
    }

    #[test]
    fn only_a_start_in_an_earlier_tick_is_before_a_moment() {
        assert!(!Moment(21).is_after_start(&stat("web")));
        assert!(!Moment(22).is_after_start(&stat("web")));
        assert!(Moment(23).is_after_start(&stat("web")));
        assert!(!Moment(23).is_after_start("1 (web"), "not known is not before");
        assert!(!Moment::default().is_after_start(&stat("web").replace("22", "0")));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to look at")]
    fn the_clock_is_the_one_that_the_kernel_dates_processes_by() {
        let before = Moment::now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()));
        child.kill().and_then(|()| child.wait()).expect("an own child");
        let started = Moment(started(&stat.expect("a live process")).expect("its start"));
        assert!(before <= started && started <= Moment::now());
    }
}
