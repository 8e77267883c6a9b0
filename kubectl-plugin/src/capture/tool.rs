//! tcpdump in a pod: the words that start it, and what it says of its packets.

use capture::pcap::Expected;

/// Bytes of the kernel's buffer, in KiB: what 50 000 packets a second need while their reader waits a moment.
const BUFFER: &str = "16384";

/// What is captured in every pod, by construction the same: libpcap reads no file that mixes link types or snapshot
/// lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) interface: String,
    pub(crate) filter: Option<String>,
    pub(crate) snaplen: u32,
    /// Whether the kernel passes each packet on at once, and not up to a second later. Its buffer then has one place of
    /// `snaplen` bytes for each: of 50 000 packets a second one in two was lost with 262 144 bytes, few or none with 9216.
    pub(crate) is_live: bool,
}

impl Traffic {
    pub(crate) fn is_any(&self) -> bool {
        self.interface == "any"
    }

    pub(crate) fn expected(&self) -> Expected {
        let link = if self.is_any() { capture::LINUX_SLL2 } else { capture::ETHERNET };
        Expected { link, snaplen: self.snaplen }
    }

    /// Captures until it is told to end.
    pub(crate) fn command(&self) -> Vec<String> {
        let mut words = self.common();
        words.extend(["-U", "--time-stamp-precision=nano", "-B", BUFFER].map(str::to_owned));
        if self.is_live {
            words.push("--immediate-mode".to_owned());
        }
        words.extend(["-w", "-"].map(str::to_owned));
        words.extend(self.filter());
        words
    }

    /// Says whether interface and filter are ones, by compiling the filter, and captures nothing. Which interfaces
    /// there are follows what is wrong.
    pub(crate) fn check(&self) -> Vec<String> {
        const SCRIPT: &str = r#""$@" && exit; code=$?; tcpdump -D >&2; exit $code"#;
        let mut words = ["sh", "-c", SCRIPT, "tcpdump"].map(str::to_owned).to_vec();
        words.extend(self.common());
        words.push("-d".to_owned());
        words.extend(self.filter());
        words
    }

    fn common(&self) -> Vec<String> {
        let link = if self.is_any() { "LINUX_SLL2" } else { "EN10MB" };
        let snaplen = self.snaplen.to_string();
        ["tcpdump", "-i", &self.interface, "-y", link, "-s", &snaplen].map(str::to_owned).to_vec()
    }

    /// One word, so that it is not taken for an option; nothing where all packets are meant.
    fn filter(&self) -> impl Iterator<Item = String> {
        self.filter.iter().flat_map(|filter| ["--".to_owned(), filter.clone()])
    }
}

/// What tcpdump counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Packets that the filter selected.
    pub(crate) received: u64,
    /// Of them, those that the kernel had no room for.
    pub(crate) dropped: u64,
}

/// Bytes of the tool's words that are kept: enough for its reason to fail, and no list of a hostile program.
const MOST_WORDS: usize = 4 << 10;

/// What tcpdump says on stderr, line by line.
#[derive(Debug, Default)]
pub(crate) struct ToolWords {
    line: Vec<u8>,
    tally: Tally,
    is_listening: bool,
    /// Lines that are neither counts nor greetings.
    other: Vec<u8>,
}

impl ToolWords {
    /// Takes what came, and says whether it had new counts.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> bool {
        let before = self.tally;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MOST_WORDS.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.hear(String::from_utf8_lossy(&line).trim());
            }
        }
        self.tally != before
    }

    /// Whether packets are captured from now on.
    pub(crate) fn is_listening(&self) -> bool {
        self.is_listening
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// What the tool said that is not about its packets.
    pub(crate) fn other(&self) -> String {
        String::from_utf8_lossy(&self.other).trim().to_owned()
    }

    /// Counts come one a line at the end, and all in one line when the tool is asked for them.
    fn hear(&mut self, line: &str) {
        let line = line.strip_prefix("tcpdump: ").unwrap_or(line);
        self.is_listening |= line.starts_with("listening on ");
        let mut is_known = line.starts_with("listening on ") || line.starts_with("data link type ");
        for part in line.split(", ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            let what = what.strip_prefix("packets ").or_else(|| what.strip_prefix("packet "));
            match what {
                Some("received by filter") => self.tally.received = number,
                Some("dropped by kernel") => self.tally.dropped = number,
                Some("captured" | "dropped by interface") => {}
                _ => continue,
            }
            is_known = true;
        }
        let room = MOST_WORDS.saturating_sub(self.other.len());
        if !is_known && !line.is_empty() && room > line.len() {
            self.other.extend_from_slice(line.as_bytes());
            self.other.push(b'\n');
        }
    }
}

/// The interfaces in what `tcpdump -D` says, and what stands before them.
pub(crate) fn interfaces(words: &str) -> (String, Vec<String>) {
    let (mut before, mut names) = (Vec::new(), Vec::new());
    for line in words.lines() {
        let numbered = line.split_once('.').filter(|(number, _)| number.parse::<u32>().is_ok());
        match numbered.and_then(|(_, rest)| rest.split_whitespace().next()) {
            Some(name) => names.push(name.to_owned()),
            None => before.push(line),
        }
    }
    (before.join("\n"), names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Traffic {
        Traffic { interface: "any".into(), filter: None, snaplen: 96, is_live: true }
    }

    #[test]
    fn every_pod_is_captured_with_one_link_type_and_one_snapshot_length() {
        assert_eq!(
            any().command().join(" "),
            "tcpdump -i any -y LINUX_SLL2 -s 96 -U --time-stamp-precision=nano -B 16384 --immediate-mode -w -"
        );
        let of = Traffic { interface: "eth0".into(), is_live: false, ..any() };
        let of = Traffic { filter: Some("-d or tcp".into()), ..of };
        assert!(of.command().join(" ").starts_with("tcpdump -i eth0 -y EN10MB -s 96 -U "));
        assert!(!of.command().contains(&"--immediate-mode".to_owned()));
        assert_eq!(of.command()[of.command().len() - 2..], ["--", "-d or tcp"]);
        assert_eq!(of.check()[of.check().len() - 3..], ["-d", "--", "-d or tcp"]);
    }

    #[test]
    fn counts_are_taken_in_both_forms_and_in_pieces() {
        let mut words = ToolWords::default();
        assert!(
            !words.add(b"tcpdump: listening on any, link-type LINUX_SLL2, snapshot length 9\n")
        );
        assert!(words.add(b"tcpdump: 12 packets captured, 15 packets received by filter, 1 packet dropped by kernel\n"));
        assert_eq!(words.tally(), Tally { received: 15, dropped: 1 });
        assert!(!words.add(b"20 packets captured\n3"));
        assert!(words.add(b"0 packets received by filter\n10 packets dropped by kernel\n"));
        assert_eq!(words.tally(), Tally { received: 30, dropped: 10 });
        assert_eq!(words.other(), "");
    }

    #[test]
    fn what_is_wrong_is_kept_and_no_more_than_that() {
        let mut words = ToolWords::default();
        words.add(b"tcpdump: can't parse filter expression: syntax error\n");
        assert_eq!(words.other(), "can't parse filter expression: syntax error");
        for _ in 0..1000 {
            words.add(&[b'x'; 100]);
            words.add(b"\n");
        }
        assert!(words.other().len() <= MOST_WORDS);
    }

    #[test]
    fn the_list_of_interfaces_is_told_from_what_is_wrong() {
        let words = "eth9: No such device exists\n1.eth0 [Up, Running]\n2.any (Pseudo-device)\n";
        let (wrong, names) = interfaces(words);
        assert_eq!(
            (wrong.as_str(), names.join(" ").as_str()),
            ("eth9: No such device exists", "eth0 any")
        );
    }
}
