//! The only room with `unsafe`: one function is one system call that no safe crate offers.
//!
//! Arguments and results are owned or borrowed descriptors. What the helper may do only while it
//! is single-threaded takes a [`Alone`], which only a look at the kernel's count can make.

#![expect(unsafe_code, reason = "this module exists so that no other needs it")]

mod descriptors;
mod device_filter;
mod mount;
mod notify;
mod process;

pub(crate) use descriptors::{close_from, close_none, inherited, keep_only};
pub(crate) use device_filter::{Instruction, attach_device_filter, load_device_filter};
pub(crate) use mount::{Depth, restrict, restrict_apart};
pub(crate) use notify::{
    PendingCall, answer, filter_with_listener, receive, set_packet_option, still_waits,
};
pub(crate) use process::{
    Alone, Forked, default_sigpipe, fork, unshare_kinds, unshare_mounts, unshare_mounts_of_thread,
    unshare_pids,
};
