//! The filter's language: instructions of the kernel's classic BPF, and what they are put together to.
//!
//! A jump skips as many instructions as its number says: the first where its condition holds, the
//! second where not.

use nix::libc;
use seccompiler::sock_filter;

// linux/bpf_common.h and linux/seccomp.h.
pub(super) const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K
pub(super) const ALLOW: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW
pub(super) const KILL: u32 = 0x8000_0000; // SECCOMP_RET_KILL_PROCESS
pub(super) const ASK: u32 = 0x7fc0_0000; // SECCOMP_RET_USER_NOTIF; without a listener the call answers ENOSYS
pub(super) const REFUSE: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO, with the errno in the low half

// struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6].
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
/// The low half of an argument, on little-endian machines.
pub(super) const ARGUMENT_0: u32 = 16;
pub(super) const ARGUMENT_1: u32 = 24;
pub(super) const ARGUMENT_2: u32 = 32;

/// The first number that did not exist when this list was made: Linux 6.15 ends at 467
/// (`open_tree_attr`). x32 calls have bit 30 set and fall under it too.
pub(super) const UNKNOWN_FROM: u32 = 468;

/// Of an argument, by the offset of its low half.
#[derive(Clone, Copy)]
pub(super) enum Condition {
    Is(u32, u32),
    /// It has one of these bits.
    Has(u32, u32),
}

/// Gives `answer` where all conditions hold, and else goes on behind it.
pub(super) fn when(conditions: &[Condition], answer: u32) -> Vec<sock_filter> {
    let after = conditions.len() * 2 + 1;
    let test = |(at, condition): (usize, &Condition)| {
        let (argument, code, value) = match *condition {
            Condition::Is(argument, value) => (argument, JUMP_EQUAL, value),
            Condition::Has(argument, bits) => (argument, JUMP_ANY_BIT, bits),
        };
        [load(argument), jump(code, value, 0, skip(after - (at + 1) * 2))]
    };
    conditions.iter().enumerate().flat_map(test).chain([give(answer)]).collect()
}

/// What is done for one call, and always ends with an answer.
pub(super) fn of_call(call: libc::c_long, body: Vec<sock_filter>) -> Vec<sock_filter> {
    [vec![jump(JUMP_EQUAL, number(call), 0, skip(body.len()))], body].concat()
}

/// Far fewer than a jump can skip.
fn skip(instructions: usize) -> u8 {
    u8::try_from(instructions).unwrap_or(u8::MAX)
}

pub(super) fn load(offset: u32) -> sock_filter {
    sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: offset }
}

pub(super) fn jump(condition: u16, value: u32, holds: u8, fails: u8) -> sock_filter {
    sock_filter { code: condition, jt: holds, jf: fails, k: value }
}

pub(super) fn give(answer: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: answer }
}

pub(super) fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(UNKNOWN_FROM)
}

pub(super) fn word(argument: libc::c_int) -> u32 {
    argument.cast_unsigned()
}
