//! What is said at the beginning, and at the end: a line a pod, and all of them together.

use capture::pcapng::Counts;

/// What became of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodRow {
    pub(super) pod: String,
    pub(super) counts: Counts,
    /// On the wire, of the packets that are written.
    pub(super) bytes: u64,
    /// Why there is not more of it.
    pub(super) reason: Option<String>,
    /// That reason is no failure.
    pub(super) is_excused: bool,
}

impl PodRow {
    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped_by_kernel.saturating_add(self.counts.dropped_by_us)
    }

    /// Whether it is not what was asked for.
    pub(super) fn has_failed(&self) -> bool {
        self.reason.is_some() && !self.is_excused
    }
}

/// Of `pods` pods that were asked for, `captured` are, on so many nodes as far as these are known.
pub(super) fn beginning(captured: usize, pods: usize, nodes: usize, what: &str) -> String {
    let many = |number: usize, one: &str| format!("{one}{}", if number == 1 { "" } else { "s" });
    let of = if captured == pods { String::new() } else { format!("{captured} of ") };
    let place =
        if nodes == 0 { String::new() } else { format!(" on {nodes} {}", many(nodes, "node")) };
    format!("capturing {of}{pods} {}{place} ({what})", many(pods, "pod"))
}

/// The table of `rows`, and what can be done about losses.
pub(super) fn table(rows: &[PodRow], late: u64, is_live: bool) -> String {
    let width = rows.iter().map(|row| row.pod.chars().count()).max().unwrap_or(0).max(3);
    let mut lines =
        vec![format!("{:width$}  {:>12}  {:>10}  {:>10}", "POD", "PACKETS", "BYTES", "DROPPED")];
    for row in rows {
        let (packets, bytes) = (grouped(row.counts.written), short(row.bytes));
        let dropped = grouped(row.dropped());
        let line = format!("{:width$}  {packets:>12}  {bytes:>10}  {dropped:>10}", row.pod);
        let remarks = remarks(row);
        lines.push(if remarks.is_empty() { line } else { format!("{line}  {remarks}") });
    }
    let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
    let packets = grouped(sum(&mut rows.iter().map(|row| row.counts.written)));
    let dropped = sum(&mut rows.iter().map(PodRow::dropped));
    let pods = if rows.len() == 1 { "1 pod".to_owned() } else { format!("{} pods", rows.len()) };
    lines.push(format!(
        "{pods}, {packets} packets, {} late, {} dropped",
        grouped(late),
        grouped(dropped)
    ));
    if rows.iter().any(|row| row.counts.dropped_by_kernel > 0) {
        let wider = if is_live {
            ", or write to a file with -w, which waits for packets a little"
        } else {
            ""
        };
        lines.push(format!(
            "use a narrower filter, or keep less of each packet: --headers or -s{wider}"
        ));
    }
    lines.join("\n")
}

fn remarks(row: &PodRow) -> String {
    let Counts { dropped_by_kernel, dropped_by_us, .. } = row.counts;
    let lost = [(dropped_by_kernel, "in the kernel"), (dropped_by_us, "not written")];
    let lost = lost.into_iter().filter(|(packets, _)| *packets > 0);
    let lost = lost.map(|(packets, how)| format!("{} {how}", grouped(packets)));
    let reason = row.reason.iter().map(|reason| reason.replace('\n', " "));
    lost.chain(reason).collect::<Vec<_>>().join("; ")
}

/// With a space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes as they are read: with one decimal, by units of 1024.
fn short(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, None);
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, Some(next));
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pod: &str, written: u64, dropped_by_kernel: u64) -> PodRow {
        let counts = Counts { written, dropped_by_kernel, ..Counts::default() };
        PodRow { pod: pod.into(), counts, bytes: written * 100, ..PodRow::default() }
    }

    #[test]
    fn every_pod_has_a_line_and_all_have_one() {
        let rows = [row("shop/web-1", 10_412, 0), row("shop/orders-2", 9_870, 113)];
        let expected = "\
POD                 PACKETS       BYTES     DROPPED
shop/web-1           10 412  1016.7 KiB           0
shop/orders-2         9 870   963.8 KiB         113  113 in the kernel
2 pods, 20 282 packets, 0 late, 113 dropped
use a narrower filter, or keep less of each packet: --headers or -s";
        assert_eq!(table(&rows, 0, false), expected);
        assert!(
            table(&rows, 0, true)
                .ends_with("-s, or write to a file with -w, which waits for packets a little")
        );
    }

    #[test]
    fn a_pod_that_failed_says_why_in_one_line() {
        let mut failed = row("shop/web-1", 0, 0);
        failed.reason = Some("Forbidden:\nno".into());
        let said = table(&[failed], 1, false);
        assert!(said.contains("  Forbidden: no\n1 pod, 0 packets, 1 late, 0 dropped"), "{said}");
    }

    #[test]
    fn numbers_of_a_hostile_tool_are_no_overflow() {
        let most = row("a", 1, u64::MAX);
        let most = PodRow { counts: Counts { dropped_by_us: 1, ..most.counts }, ..most };
        let said = table(&[most.clone(), most], 0, false);
        assert!(said.contains(", 18 446 744 073 709 551 615 dropped"), "{said}");
    }

    #[test]
    fn what_is_captured_is_said_in_numbers() {
        assert_eq!(
            beginning(5, 5, 1, "any, 96 bytes"),
            "capturing 5 pods on 1 node (any, 96 bytes)"
        );
        assert_eq!(beginning(0, 1, 0, "any"), "capturing 0 of 1 pod (any)");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!((grouped(0), grouped(1_234_567)), ("0".into(), "1 234 567".into()));
        assert_eq!(
            (short(1023), short(1024), short(1536 << 10)),
            ("1023 B".into(), "1.0 KiB".into(), "1.5 MiB".into())
        );
        assert_eq!(short(u64::MAX), "16383.9 PiB");
    }
}
