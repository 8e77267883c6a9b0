//! The flags of `capture`: tcpdump's letters with tcpdump's meaning.
//!
//! `-i`, `-s` and `-c` are kubectl's letters elsewhere. Here the flags that have them there have none.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgGroup, Args};
use wire::TimeSpan;

use crate::target::Target;

/// What `-C` counts in: a million bytes, as tcpdump does.
const MILLION: u64 = 1_000_000;

#[derive(Clone, Debug, Args)]
#[command(
    group(ArgGroup::new("next file").args(["file_size", "file_time"]).multiple(true)),
    mut_arg("stdin", |arg| arg.short(None).hide(true)),
    mut_arg("server", |arg| arg.short(None)),
    mut_arg("container", |arg| arg.short(None)),
    mut_arg("tty", |arg| arg.hide(true)),
    mut_arg("write", |arg| arg.hide(true)),
    mut_arg("all_pods", |arg| arg.hide(true)),
    mut_arg("max_concurrent", |arg| arg.hide(true)),
)]
pub(crate) struct CaptureFlags {
    /// The targets; of a workload, all of its pods
    #[arg(value_name = "TARGET", conflicts_with_all = ["selector", "field_selector"])]
    pub(crate) targets: Vec<Target>,

    /// Only packets that match this expression of pcap-filter(7), such as `tcp port 80`
    #[arg(short = 'f', long, env = "NSDEBUG_FILTER", value_name = "FILTER")]
    pub(crate) filter: Option<String>,

    /// Interface in each pod, such as `eth0`; `any` has all of them, without Ethernet headers
    #[arg(
        short = 'i',
        long,
        env = "NSDEBUG_INTERFACE",
        value_name = "NAME",
        default_value = "any"
    )]
    pub(crate) interface: String,

    /// Bytes that are kept of each packet [default: 262144 in files, 9216 in a pipe, where the kernel has room for fewer]
    #[arg(short = 's', long, env = "NSDEBUG_SNAPSHOT_LENGTH", value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=262_144))]
    pub(crate) snapshot_length: Option<u32>,

    /// Keep headers only: 96 bytes of each packet
    #[arg(long, env = "NSDEBUG_HEADERS", value_parser = FalseyValueParser::new(), conflicts_with = "snapshot_length")]
    pub(crate) headers: bool,

    /// Write pcapng to this file; `-` is stdout
    #[arg(short = 'w', long, env = "NSDEBUG_FILE", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Write a file for each pod into this folder, which is created
    #[arg(long, env = "NSDEBUG_SPLIT", value_name = "DIR", conflicts_with = "file")]
    pub(crate) split: Option<PathBuf>,

    /// Start Wireshark and show the packets in it
    #[arg(long, env = "NSDEBUG_WIRESHARK", value_parser = FalseyValueParser::new(), conflicts_with_all = ["file", "split"])]
    pub(crate) wireshark: bool,

    /// End after this many packets
    #[arg(short = 'c', long, env = "NSDEBUG_COUNT", value_name = "COUNT")]
    pub(crate) count: Option<NonZeroU64>,

    /// Go on in another file after this size: millions of bytes, or with a unit such as `100MiB`
    #[arg(short = 'C', long, env = "NSDEBUG_FILE_SIZE", value_name = "SIZE", value_parser = millions)]
    pub(crate) file_size: Option<u64>,

    /// Go on in another file after this time: seconds, or with a unit such as `10m`. FILE may have `%Y%m%d%H%M%S`, in UTC
    #[arg(short = 'G', long, env = "NSDEBUG_FILE_TIME", value_name = "DURATION", value_parser = seconds)]
    pub(crate) file_time: Option<TimeSpan>,

    /// With -C, overwrite the first of this many files; with -G alone, end after them
    #[arg(
        short = 'W',
        long,
        env = "NSDEBUG_FILE_COUNT",
        value_name = "COUNT",
        requires = "next file"
    )]
    pub(crate) file_count: Option<NonZeroU32>,

    /// End after this time, such as `60s`
    #[arg(long = "for", env = "NSDEBUG_FOR", value_name = "DURATION", value_parser = seconds)]
    pub(crate) for_time: Option<TimeSpan>,

    /// End after this many bytes of all files, such as `200MiB`
    #[arg(long, env = "NSDEBUG_MAX_SIZE", value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,

    /// Return 1 if packets were dropped
    #[arg(long, env = "NSDEBUG_FAIL_ON_DROP", value_parser = FalseyValueParser::new())]
    pub(crate) fail_on_drop: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is a number, with or without one of the units k, M, G, KiB, MiB, GiB")]
pub(crate) struct BadSize;

/// As `-C` of tcpdump counts; a unit is a power of 1024, as there.
fn millions(text: &str) -> Result<u64, BadSize> {
    size(text, MILLION)
}

fn bytes(text: &str) -> Result<u64, BadSize> {
    size(text, 1)
}

fn size(text: &str, one: u64) -> Result<u64, BadSize> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "" => one,
        "k" | "K" | "KiB" => 1 << 10,
        "m" | "M" | "MiB" => 1 << 20,
        "g" | "G" | "GiB" => 1 << 30,
        _ => return Err(BadSize),
    };
    let number: u64 = number.parse().map_err(|_| BadSize)?;
    number.checked_mul(unit).filter(|size| *size > 0).ok_or(BadSize)
}

/// As `-G` of tcpdump counts, or with a unit.
fn seconds(text: &str) -> Result<TimeSpan, wire::BadTimeSpan> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { format!("{text}s").parse() } else { text.parse() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_millions_of_bytes_for_tcpdumps_letter_and_bytes_elsewhere() {
        assert_eq!((millions("100"), bytes("100")), (Ok(100_000_000), Ok(100)));
        for text in ["2k", "2K", "2KiB"] {
            assert_eq!((millions(text), bytes(text)), (Ok(2048), Ok(2048)), "{text}");
        }
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        for text in ["", "0", "MiB", "-1", "1 MiB", "1TB", "99999999999999999999", "99999999999G"] {
            assert_eq!(bytes(text), Err(BadSize), "{text}");
        }
    }

    #[test]
    fn times_without_a_unit_are_seconds() {
        let span = |text| seconds(text).map(|span| span.to_string()).ok();
        assert_eq!((span("90"), span("10m")), (span("90s"), span("600s")));
        assert_eq!(span("x"), None);
    }

    #[test]
    fn a_number_of_files_needs_what_ends_a_file() {
        let parsed = |more: &[&str]| {
            let line = ["nsdebug", "capture", "pod/a", "-w", "f", "-W", "3"];
            crate::cli::Arguments::read(line.iter().chain(more))
        };
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["-G", "60"]).is_ok());
        assert!(parsed(&["-C", "1"]).is_ok());
    }
}
