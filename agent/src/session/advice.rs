//! What may help a person whose tool has failed, as far as that follows from what was asked for.
//!
//! The kernel says that something is not permitted, and not which profile permits it. A tool's output is not
//! read for that, for it holds the target's words. What is known is the command, its exit code and what the
//! session holds. So a hint is given only to a command that needs what its session does not have.

use entry::{Capability, ConfinementRequest, Exit, Profile, RunAs, Tool};

/// What runs the command that matters, in words of its own command line.
const WRAPPERS: [&str; 12] = [
    "sh", "bash", "timeout", "nice", "env", "time", "xargs", "watch", "stdbuf", "nohup", "taskset",
    "chrt",
];

/// They do nothing without `NET_ADMIN`.
const FILTERING: [&str; 2] = ["nft", "conntrack"];

/// Of iproute2: each shows without `NET_ADMIN`, and changes with it, by one of these words.
const ROUTING: [&str; 3] = ["ip", "tc", "bridge"];
const CHANGES: [&str; 9] =
    ["add", "del", "delete", "change", "replace", "set", "append", "prepend", "flush"];
/// The exit code of iproute2 where the kernel has refused.
const REFUSED: u8 = 2;

/// They trace, capture, signal, or look into processes.
const LOOKING: [&str; 8] =
    ["tcpdump", "strace", "gdb", "kill", "killall", "pkill", "fuser", "lsof"];

/// They change each file that they are given.
const CHANGING: [&str; 8] = ["touch", "rm", "rmdir", "mkdir", "tee", "truncate", "chmod", "chown"];
/// They write the last file that they are given.
const COPYING: [&str; 4] = ["cp", "mv", "ln", "install"];
/// What comes before a file to write.
const INTO: [&str; 3] = [">", "-w", "-o"];

/// They read, and 1 says that something could not be read.
const READING: [&str; 11] =
    ["cat", "ls", "head", "tail", "less", "find", "tar", "cp", "wc", "stat", "du"];

/// A greater code is not the tool's own: `timeout` has 124, a shell 126 and more.
const LAST_OF_TOOLS: u8 = 123;

/// What is known of a session before its tool has ended.
#[derive(Clone, Debug)]
pub struct Advice {
    /// The command line; behind a wrapper, also what stands in one of its words.
    words: Vec<String>,
    /// The words that may be the command.
    commands: usize,
    profile: Profile,
    run_as: Option<RunAs>,
    write: bool,
}

impl Advice {
    /// Of a `tool` that is held within `limits`. On a terminal people see for themselves what happens.
    #[must_use]
    pub fn of(tool: &Tool, limits: Option<&ConfinementRequest>) -> Option<Self> {
        let &ConfinementRequest { profile, run_as, write, .. } =
            limits.filter(|_| !tool.terminal)?;
        let words = tool.argv.iter().map(|word| word.to_string_lossy().into_owned());
        let mut words: Vec<String> = words.collect();
        let mut commands = 1;
        if words.first().is_some_and(|name| is_one_of(name, &WRAPPERS)) {
            let line = words.join(" ").replace('>', " > ");
            let apart = |c: char| c.is_whitespace() || ";|&()'\"".contains(c);
            let parts = line.split(apart).filter(|word| !word.is_empty());
            words = parts.map(str::to_owned).collect();
            commands = words.len();
        }
        Some(Self { words, commands, profile, run_as, write })
    }

    /// What may help where the tool has ended so.
    #[must_use]
    pub fn after(&self, exit: Exit) -> Option<String> {
        let Exit::Code(code @ 1..=LAST_OF_TOOLS) = exit else { return None };
        let hints = [self.network(code), self.writing(), self.looking(), self.reading()];
        hints.into_iter().flatten().next()
    }

    fn network(&self, code: u8) -> Option<String> {
        if self.profile.capabilities().contains(Capability::NetAdmin) {
            return None;
        }
        let changes = self.words.iter().any(|word| CHANGES.contains(&word.as_str()));
        let is_refused = code == REFUSED && changes && self.runs(&ROUTING);
        let profile = self.profile;
        (is_refused || self.runs(&FILTERING)).then(|| {
            format!(
                "the profile `{profile}` does not allow changing the network or reading its packet filter: --profile netadmin allows it"
            )
        })
    }

    fn writing(&self) -> Option<String> {
        let pairs = self.words.windows(2);
        let into = pairs.filter(|pair| INTO.contains(&pair[0].as_str())).map(|pair| &pair[1]);
        let copied = self.words.last().filter(|_| self.runs(&COPYING));
        let changed = self.words.iter().filter(|_| self.runs(&CHANGING));
        let writes = into.chain(copied).chain(changed).any(|word| is_of_target(word));
        (writes && !self.write).then(|| {
            let profile = if self.profile.may_write() { "" } else { " with --profile general" };
            format!("/target is read-only in this session: --write{profile} makes it writable")
        })
    }

    fn looking(&self) -> Option<String> {
        let profile = self.profile;
        (!profile.looks_into_processes() && self.runs(&LOOKING)).then(|| {
            format!(
                "the profile `{profile}` does not allow tracing, packet capture, or inspecting and signalling processes of other users: --profile general allows it"
            )
        })
    }

    fn reading(&self) -> Option<String> {
        let is_nobody = self.profile == Profile::Baseline && self.run_as.is_none();
        let reads = self.runs(&READING) && self.words.iter().any(|word| is_of_target(word));
        (is_nobody && reads).then(|| {
            "the profile `baseline` can read only files that every user can read: --profile restricted reads those of the target's user too"
                .to_owned()
        })
    }

    fn runs(&self, tools: &[&str]) -> bool {
        self.words[..self.commands].iter().any(|word| is_one_of(word, tools))
    }
}

/// Whether `word` names one of `tools`, with or without its directory.
fn is_one_of(word: &str, tools: &[&str]) -> bool {
    tools.contains(&word.rsplit('/').next().unwrap_or(word))
}

fn is_of_target(word: &str) -> bool {
    word.strip_prefix("/target").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use entry::HostSigns;

    fn advice(profile: Profile, words: &[&str]) -> Advice {
        let argv = words.iter().map(Into::into).collect();
        let tool = Tool { argv, env: Vec::new(), directory: None, terminal: false };
        Advice::of(&tool, Some(&limits(profile))).expect("no terminal")
    }

    fn limits(profile: Profile) -> ConfinementRequest {
        ConfinementRequest {
            tree: "/toolbox".into(),
            profile,
            run_as: None,
            write: false,
            host_targets: false,
            signs: HostSigns::default(),
            node: false,
        }
    }

    fn said(profile: Profile, words: &str, code: u8) -> Option<String> {
        let words: Vec<&str> = words.split(' ').collect();
        advice(profile, &words).after(Exit::Code(code))
    }

    #[track_caller]
    fn assert_helps(profile: Profile, words: &[&str], code: u8, with: &str) {
        let said = advice(profile, words).after(Exit::Code(code)).unwrap_or_default();
        assert!(said.contains(with), "{with} in {said:?} for {words:?}");
    }

    #[test]
    fn what_changes_the_network_is_told_which_profile_may() {
        let netadmin = "--profile netadmin";
        for words in [
            &["ip", "route", "add", "default", "via", "10.0.0.1"][..],
            &["/usr/sbin/tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1s"],
            &["sh", "-c", "ip link set eth0 down; exit 2"],
        ] {
            assert_helps(Profile::General, words, 2, netadmin);
        }
        assert_helps(Profile::General, &["nft", "list", "ruleset"], 1, netadmin);
        assert_helps(Profile::Baseline, &["conntrack", "-L"], 1, netadmin);
        // The command itself is wrong, or only looks.
        assert_eq!(said(Profile::General, "ip route add default by 10.0.0.1", 255), None);
        assert_eq!(said(Profile::General, "ip route get 10.0.0.1", 2), None);
        assert_eq!(said(Profile::Netadmin, "ip route add default via 10.0.0.1", 2), None);
    }

    #[test]
    fn what_writes_below_target_is_told_how() {
        for words in [
            &["touch", "/target/tmp/x"][..],
            &["cp", "/etc/hosts", "/target/tmp"],
            &["sh", "-c", "echo x >/target/tmp/x"],
            &["timeout", "5", "tee", "/target/tmp/x"],
            &["tcpdump", "-i", "any", "-w", "/target/tmp/x.pcap"],
        ] {
            assert_helps(Profile::General, words, 1, "--write makes it writable");
        }
        assert_helps(Profile::Baseline, &["rm", "/target/x"], 1, "--write with --profile general");
        for reads in ["cp /target/x /nowhere/x", "cat /target/x", "rm /tmp/x", "touch /targets/x"] {
            assert_eq!(said(Profile::General, reads, 1), None, "{reads}");
        }
        let mut writable = advice(Profile::General, &["touch", "/target/x/y"]);
        writable.write = true;
        assert_eq!(writable.after(Exit::Code(1)), None);
    }

    #[test]
    fn what_needs_a_right_is_told_which_profile_has_it_and_nothing_else_is() {
        for words in [&["strace", "-p", "1"][..], &["sh", "-c", "timeout 5 tcpdump -c 1"]] {
            assert_helps(Profile::Baseline, words, 1, "--profile general allows it");
            assert_helps(Profile::Restricted, words, 1, "the profile `restricted` does not allow");
        }
        for words in ["grep x /target/etc/hosts", "curl http://app/", "false", "grep strace x"] {
            assert_eq!(said(Profile::Baseline, words, 1), None, "{words}");
        }
        assert_eq!(said(Profile::General, "strace -p 1", 1), None);
    }

    #[test]
    fn who_is_nobody_is_told_how_to_be_the_target() {
        let cat = ["cat", "/target/run/secret"];
        assert_helps(Profile::Baseline, &cat, 1, "--profile restricted");
        let mut chosen = advice(Profile::Baseline, &cat);
        chosen.run_as = Some(RunAs::Target);
        assert_eq!(chosen.after(Exit::Code(1)), None);
        for profile in [Profile::Restricted, Profile::General] {
            assert_eq!(said(profile, "cat /target/run/secret", 1), None, "{profile}");
        }
    }

    #[test]
    fn neither_success_nor_a_signal_nor_a_terminal_has_a_hint() {
        let strace = advice(Profile::Baseline, &["strace", "-p", "1"]);
        for exit in [Exit::Code(0), Exit::Code(124), Exit::Code(127), Exit::Signal(9)] {
            assert_eq!(strace.after(exit), None);
        }
        let argv = vec!["strace".into()];
        let tool = Tool { argv, env: Vec::new(), directory: None, terminal: true };
        assert!(Advice::of(&tool, Some(&limits(Profile::Baseline))).is_none());
        assert!(Advice::of(&Tool { terminal: false, ..tool }, None).is_none());
    }
}
