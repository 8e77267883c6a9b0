//! The devices that a session may open: those of its own `/dev`, and terminals.
//!
//! A target's image may have a node of any device, and `/proc/PID/root` leads to it past every mount
//! option of ours. Version 1 takes the list as text; version 2 a program, which is assembled here.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use crate::sys::{Instruction, load_device_filter};

/// A character device; with no minor number all of the major one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Device {
    major: u8,
    minor: Option<u8>,
}

/// To be read and written; nobody makes a node of any. In order: null, zero, full, random, urandom,
/// tty, ptmx, and the terminals of every devpts.
pub(super) const ALLOWED: [Device; 8] = [
    one(1, 3),
    one(1, 5),
    one(1, 7),
    one(1, 8),
    one(1, 9),
    one(5, 0),
    one(5, 2),
    Device { major: 136, minor: None },
];

const fn one(major: u8, minor: u8) -> Device {
    Device { major, minor: Some(minor) }
}

/// A line of `devices.allow`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            Some(minor) => write!(f, "c {}:{minor} rw", self.major),
            None => write!(f, "c {}:* rw", self.major),
        }
    }
}

/// `BPF_LDX | BPF_MEM | BPF_W`: a word at an offset from a pointer.
const LOAD: u8 = 0x61;
/// `BPF_ALU | BPF_MOV | BPF_X`.
const COPY: u8 = 0xbc;
/// `BPF_ALU | BPF_AND | BPF_K`.
const MASK: u8 = 0x54;
/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const SET: u8 = 0xb7;
/// `BPF_JMP | BPF_JEQ | BPF_K`: past so many instructions if equal.
const SKIP_IF: u8 = 0x15;
/// `BPF_JMP | BPF_JNE | BPF_K`.
const SKIP_UNLESS: u8 = 0x55;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;

/// What register 0 holds at the end is the answer; register 1 at the start points to words: what is
/// asked for with the type, major and minor number (`struct bpf_cgroup_dev_ctx`).
const ANSWER: u8 = 0;
const QUESTION: u8 = 1;
const ACCESS: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
const PART: u8 = 5;

/// The lower half of the first word, and `BPF_DEVCG_DEV_CHAR` there.
const TYPE: i32 = 0xffff;
const CHARACTER: i32 = 2;
/// `BPF_DEVCG_ACC_MKNOD`, in the upper half.
const MAKE: i32 = 1 << 16;

/// The program in the kernel, for version 2.
pub(crate) fn device_filter() -> io::Result<OwnedFd> {
    load_device_filter(&program())
}

/// One that allows to open what is [`ALLOWED`], and nothing else.
fn program() -> Vec<Instruction> {
    let word = |register, offset| Instruction::new(LOAD, (register, QUESTION), offset, 0);
    let mut program = vec![word(ACCESS, 0), word(MAJOR, 4), word(MINOR, 8)];
    for (mask, fine) in [(TYPE, CHARACTER), (MAKE, 0)] {
        program.push(Instruction::new(COPY, (PART, ACCESS), 0, 0));
        program.push(Instruction::new(MASK, (PART, 0), 0, mask));
        program.push(Instruction::new(SKIP_IF, (PART, 0), 2, fine));
        program.extend(answer(0));
    }
    for Device { major, minor } in ALLOWED {
        let rest = 2 + i16::from(minor.is_some());
        program.push(Instruction::new(SKIP_UNLESS, (MAJOR, 0), rest, major.into()));
        let minor = minor.map(|minor| Instruction::new(SKIP_UNLESS, (MINOR, 0), 2, minor.into()));
        program.extend(minor);
        program.extend(answer(1));
    }
    program.extend(answer(0));
    program
}

fn answer(allowed: i32) -> [Instruction; 2] {
    [Instruction::new(SET, (ANSWER, 0), 0, allowed), Instruction::new(EXIT, (0, 0), 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_takes_a_line_for_each() {
        let lines = ALLOWED.map(|device| device.to_string());
        assert_eq!((lines[0].as_str(), lines[7].as_str()), ("c 1:3 rw", "c 136:* rw"));
    }
}
