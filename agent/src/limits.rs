//! What one session may use of the node, and the control groups that see to it.

use clap::builder::BoolishValueParser;
use entry::{CgroupError, Cgroups, Cpu, Layout, Memory, Resources};

/// Bounds of every session in a toolbox.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitArgs {
    /// Memory of one session in a toolbox, with its files in /tmp. Its packet buffers (tcpdump) may take the same
    /// amount in addition
    #[arg(long, env = "NSDEBUG_SESSION_MEMORY", value_name = "BYTES", default_value_t = Resources::MEMORY)]
    session_memory: Memory,

    /// Processes and threads of one session in a toolbox
    #[arg(
        long,
        env = "NSDEBUG_SESSION_PIDS",
        value_name = "COUNT",
        default_value_t = Resources::PIDS,
        value_parser = clap::value_parser!(u32).range(LEAST_PIDS..)
    )]
    session_pids: u32,

    /// Processors of one session in a toolbox
    #[arg(long, env = "NSDEBUG_SESSION_CPU", value_name = "CORES", default_value_t = Resources::CPU)]
    session_cpu: Cpu,

    /// Use no control groups. Sessions then have no limit of memory, processes and processor time, may outlive
    /// their supervisor, and can open every device that the target's image has a device file for
    #[arg(long, env = "NSDEBUG_NO_SESSION_CGROUP", value_parser = BoolishValueParser::new())]
    no_session_cgroup: bool,
}

/// Bounds of all sessions together, where they have some of their own.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "each is the name of a flag")]
pub struct TogetherArgs {
    /// Memory of all sessions in a toolbox together
    #[arg(long, env = "NSDEBUG_ALL_SESSIONS_MEMORY", value_name = "BYTES", default_value_t = Resources::TOGETHER.memory)]
    all_sessions_memory: Memory,

    /// Processes and threads of all sessions in a toolbox together
    #[arg(
        long,
        env = "NSDEBUG_ALL_SESSIONS_PIDS",
        value_name = "COUNT",
        default_value_t = Resources::TOGETHER.pids,
        value_parser = clap::value_parser!(u32).range(LEAST_PIDS..)
    )]
    all_sessions_pids: u32,

    /// Processors of all sessions in a toolbox together
    #[arg(long, env = "NSDEBUG_ALL_SESSIONS_CPU", value_name = "CORES", default_value_t = Resources::TOGETHER.cpu)]
    all_sessions_cpu: Cpu,
}

impl TogetherArgs {
    #[must_use]
    pub fn resources(self) -> Resources {
        let Self { all_sessions_memory, all_sessions_pids, all_sessions_cpu } = self;
        Resources { memory: all_sessions_memory, pids: all_sessions_pids, cpu: all_sessions_cpu }
    }
}

/// Helper, broker, supervisor and tool, and as many that the tool starts.
const LEAST_PIDS: i64 = 8;

/// Which sessions get control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLimits {
    /// None do.
    None,
    /// All do, with these limits.
    Toolbox(Resources),
    /// Sessions with the node's own tools do, to be ended by and without limits.
    Host,
}

/// Why there are no control groups for sessions.
#[derive(Debug, thiserror::Error)]
#[error(
    "sessions need control groups: mount /sys/fs/cgroup writable, or run them without limits (--no-session-cgroup)"
)]
pub struct NoCgroups {
    source: CgroupError,
}

impl LimitArgs {
    #[must_use]
    pub fn of(self, confined: bool) -> SessionLimits {
        let Self { session_memory, session_pids, session_cpu, no_session_cgroup } = self;
        let resources = Resources { memory: session_memory, pids: session_pids, cpu: session_cpu };
        match confined {
            _ if no_session_cgroup => SessionLimits::None,
            true => SessionLimits::Toolbox(resources),
            false => SessionLimits::Host,
        }
    }
}

impl SessionLimits {
    /// Makes ready for such sessions, where any get a control group; those with limits get one `together`, where
    /// the caller is to say it.
    pub fn cgroups(
        self,
        layout: Layout,
        together: Option<Resources>,
    ) -> Result<Option<Cgroups>, NoCgroups> {
        let (resources, together) = match self {
            Self::None => return Ok(None),
            Self::Toolbox(resources) => (Some(resources), together),
            Self::Host => (None, None),
        };
        let own = Cgroups::own(layout, resources, together);
        own.map(Some).map_err(|source| NoCgroups { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn limits(flags: &[&str], confined: bool) -> Result<SessionLimits, String> {
        let command = LimitArgs::augment_args(clap::Command::new("serve").no_binary_name(true));
        let matches = command.try_get_matches_from(flags).map_err(|error| error.to_string())?;
        let args = LimitArgs::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Ok(args.of(confined))
    }

    #[test]
    fn a_session_in_a_toolbox_is_bounded_without_a_word() {
        assert_eq!(limits(&[], true), Ok(SessionLimits::Toolbox(Resources::default())));
        assert_eq!(limits(&[], false), Ok(SessionLimits::Host));
        assert_eq!(limits(&["--no-session-cgroup"], true), Ok(SessionLimits::None));
    }

    #[test]
    fn a_limit_that_no_session_fits_in_is_refused_with_an_example() {
        let error = limits(&["--session-memory", "1Mi"], true).expect_err("too little");
        assert!(error.contains("256Mi"), "{error}");
        assert!(limits(&["--session-pids", "2"], true).is_err());
        assert!(limits(&["--session-cpu", "0"], true).is_err());
    }
}
