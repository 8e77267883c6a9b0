//! What a session may use: numbers, and how people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bounds of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    pub memory: Memory,
    /// Processes and threads.
    pub pids: u32,
    pub cpu: Cpu,
}

impl Resources {
    /// Of all sessions of a node. Memory: four that use all of theirs, half of what a node of 2 GiB has. Processes:
    /// twelve of them, so that one person's leave some, a tenth of what a kernel gives by default. Processor: a node of
    /// two has half a one for itself.
    pub const TOGETHER: Self = Self { memory: Memory(1 << 30), pids: 3072, cpu: Cpu(1500) };

    /// A debugger with the symbols of a large program fits; eight sessions fit beside a node's work.
    pub const MEMORY: Memory = Memory(256 << 20);
    /// A shell with a few pipelines needs thirty; the node's own limit is a hundred times this.
    pub const PIDS: u32 = 256;
    /// What one busy tool can use: a second busy one of the same session would be the application's.
    pub const CPU: Cpu = Cpu(1000);
}

impl Default for Resources {
    fn default() -> Self {
        Self { memory: Self::MEMORY, pids: Self::PIDS, cpu: Self::CPU }
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Memory(u64);

/// Thousandths of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory must be a number of bytes of at least 16Mi, for example 256Mi or 1Gi")]
pub struct BadMemory;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("processors must be a number of at least 0.01, for example 0.5, 500m or 2")]
pub struct BadCpu;

/// Helper, supervisor and a small tool need a third of this; less only fails in odd places.
const LEAST_MEMORY: u64 = 16 << 20;

/// The kernel's least quota is a millisecond (`min_cfs_quota_period`): of our period, a hundredth.
const LEAST_CPU: f64 = 0.01;

/// As many processors as no node has.
const MOST_CPU: f64 = 1e6;

/// Suffixes as Kubernetes writes them.
const UNITS: [(&str, u64); 6] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("k", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

impl Memory {
    pub(super) fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Memory {
    type Err = BadMemory;

    fn from_str(text: &str) -> Result<Self, BadMemory> {
        let suffixed = |(suffix, unit): (&str, u64)| Some((text.strip_suffix(suffix)?, unit));
        let (digits, unit) = UNITS.into_iter().find_map(suffixed).unwrap_or((text, 1));
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        match bytes {
            // The kernel's own counters are signed, and in pages.
            Some(bytes) if bytes >= LEAST_MEMORY && i64::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err(BadMemory),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, unit): &&(&str, u64)| self.0.is_multiple_of(*unit);
        let binary = &UNITS[..3];
        match binary.iter().rev().find(whole) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Cpu {
    /// Microseconds of processor time in `period` microseconds.
    pub(super) fn quota(self, period: u64) -> u64 {
        u64::from(self.0) * period / 1000
    }
}

impl FromStr for Cpu {
    type Err = BadCpu;

    fn from_str(text: &str) -> Result<Self, BadCpu> {
        let cores = match text.strip_suffix('m') {
            Some(digits) => digits.parse::<u32>().map(|number| f64::from(number) / 1000.0).ok(),
            None => text.parse::<f64>().ok(),
        };
        let cores = cores.filter(|cores| (LEAST_CPU..=MOST_CPU).contains(cores)).ok_or(BadCpu)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 10 and 1e9 by the line above"
        )]
        Ok(Self((cores * 1000.0).round() as u32))
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_as_in_a_pod() {
        let bytes = |text: &str| text.parse::<Memory>().map(Memory::bytes);
        assert_eq!(bytes("256Mi"), Ok(256 << 20));
        assert_eq!(bytes("1G"), Ok(1_000_000_000));
        assert_eq!(bytes("33554432"), Ok(32 << 20));
        for bad in ["", "Mi", "1Mi", "-1", "0.5Gi", "99999999999Gi", "256MiB"] {
            assert_eq!(bytes(bad), Err(BadMemory), "{bad}");
        }
        assert_eq!(Resources::MEMORY.to_string(), "256Mi");
        assert_eq!(Memory(1_000_000_000).to_string(), "1000000000");
    }

    #[test]
    fn processors_are_written_as_in_a_pod() {
        let quota = |text: &str| text.parse::<Cpu>().map(|cpu| cpu.quota(100_000));
        assert_eq!(quota("1"), Ok(100_000));
        assert_eq!(quota("500m"), quota("0.5"));
        for bad in ["", "0", "0.001", "-1", "NaN", "inf", "1e9", "5mm"] {
            assert_eq!(quota(bad), Err(BadCpu), "{bad}");
        }
        assert_eq!("0.25".parse::<Cpu>().map(|cpu| cpu.to_string()), Ok("250m".to_owned()));
    }
}
