//! A tool that names another network by the number that its own has for it (link-netnsid), as NET_ADMIN may.
//!
//! One line for each attempt on a link of that network.

mod kernel;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use kernel::{call, name};

const USAGE: &str = "usage: netids LINK";

const AF_NETLINK: usize = 16;
const SOCK_RAW: usize = 3;
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const MAKE: u16 = 0x600;
const IFNAME: u16 = 3;
const LINKINFO: u16 = 18;
const INFO_KIND: u16 = 1;
const LINK_NETNSID: u16 = 37;
const TARGET_NETNSID: u16 = 46;
/// Of a message, and of what it says of a link.
const HEAD: usize = 16;
const LINK: usize = 16;

fn main() {
    let Some(link) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return;
    };
    let mut netlink = Netlink::open();
    let ids = netlink.ids();
    println!("ids {}", ids.len());
    for id in ids {
        let there = attribute(TARGET_NETNSID, &id);
        let named = [there.clone(), attribute(IFNAME, link.as_bytes())].concat();
        let kind = attribute(LINKINFO, &attribute(INFO_KIND, b"veth"));
        let made = [there, attribute(IFNAME, b"made0"), kind].concat();
        netlink.say("look", GETLINK, REQUEST, &[&[0; LINK], &named[..]].concat());
        netlink.say("make", NEWLINK, REQUEST | ACK | MAKE, &[&[0; LINK], &made[..]].concat());
        netlink.say("delete", DELLINK, REQUEST | ACK, &[&[0; LINK], &named[..]].concat());
    }
}

struct Netlink(File);

impl Netlink {
    fn open() -> Self {
        let socket = call(kernel::SOCKET, &[AF_NETLINK, SOCK_RAW, 0]).expect("a socket");
        // SAFETY: it was just opened, and nothing else has it.
        Self(unsafe { File::from_raw_fd(socket.try_into().expect("a descriptor")) })
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) {
        let length = u32::try_from(HEAD + body.len()).expect("it is short");
        let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]];
        self.0.write_all(&[&head.concat()[..], body].concat()).expect("an open socket");
    }

    /// Messages of one datagram: kind and body.
    fn hear(&mut self) -> Vec<(u16, Vec<u8>)> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.0.read(&mut buffer).expect("an answer");
        let mut rest = &buffer[..length];
        let mut messages = Vec::new();
        while rest.len() >= HEAD {
            let length = u32::from_ne_bytes(rest[..4].try_into().expect("four")) as usize;
            let kind = u16::from_ne_bytes(rest[4..6].try_into().expect("two"));
            messages.push((kind, rest[HEAD..length].to_vec()));
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        messages
    }

    fn say(&mut self, what: &str, kind: u16, flags: u16, body: &[u8]) {
        self.ask(kind, flags, body);
        let answer = self.hear().remove(0);
        let errno = match answer {
            (ERROR, body) => -i32::from_ne_bytes(body[..4].try_into().expect("four")),
            _ => 0,
        };
        println!("{what} {}", if errno == 0 { "done".to_owned() } else { name(errno) });
    }

    /// The numbers of networks that links of this one lead to.
    fn ids(&mut self) -> Vec<Vec<u8>> {
        self.ask(GETLINK, REQUEST | DUMP, &[0; LINK]);
        let mut found = Vec::new();
        loop {
            for (kind, body) in self.hear() {
                if kind == DONE {
                    return found;
                }
                found.extend(value(&body[LINK..], LINK_NETNSID));
            }
        }
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("it is short");
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn value(mut attributes: &[u8], wanted: u16) -> Option<Vec<u8>> {
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        if u16::from_ne_bytes([attributes[2], attributes[3]]) == wanted {
            return Some(attributes[4..length].to_vec());
        }
        attributes = &attributes[length.next_multiple_of(4).min(attributes.len())..];
    }
    None
}
