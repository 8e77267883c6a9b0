//! The program on a terminal of its own: raw while a tool has it, and as it was afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use wire::frame::{Channel, Size};
use wire::{Exit, Status};

use crate::scripted::{Agent, Said};

struct Terminal {
    controller: File,
    user: OwnedFd,
    before: Termios,
}

impl Terminal {
    fn new() -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&controller).expect("a terminal of ours");
        unlockpt(&controller).expect("a terminal without a lock");
        let name = ptsname(&controller, Vec::new()).expect("a name");
        let user = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other end");
        let before = tcgetattr(&user).expect("settings");
        let terminal = Self { controller: controller.into(), user, before };
        terminal.resize(80, 24);
        terminal
    }

    fn resize(&self, width: u16, height: u16) {
        let size = Winsize { ws_col: width, ws_row: height, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.user, size).expect("a size");
    }

    /// A shell on this terminal; stderr is not read by these tests but must be a terminal too.
    fn shell(&self, agent: &Agent) -> Child {
        let end = || Stdio::from(self.user.try_clone().expect("a descriptor"));
        let mut command = agent.command(&["web"]);
        command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        command.spawn().expect("the program")
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.user).expect("settings").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO)
    }

    fn is_as_before(&self) -> bool {
        let now = tcgetattr(&self.user).expect("settings");
        now.local_modes == self.before.local_modes
            && now.input_modes == self.before.input_modes
            && now.output_modes == self.before.output_modes
    }

    fn shown(&self, bytes: usize) -> Vec<u8> {
        let mut shown = vec![0; bytes];
        (&self.controller).read_exact(&mut shown).expect("something shown");
        shown
    }
}

fn size(width: u16, height: u16) -> Said {
    Said::Resize(Size { width, height })
}

#[test]
fn a_shell_takes_the_terminal_and_gives_it_back() {
    let terminal = Terminal::new();
    let agent = Agent::new(|mut session| async move {
        assert!(session.asked.contains("command=sh&stdin=true&stdout=true&tty=true&term=xterm "));
        assert_eq!(session.hear().await, Some(size(80, 24)));
        session.say(Channel::Stdout, b"$ ").await;
        assert_eq!(session.hear().await, Some(size(132, 50)));
        session.say(Channel::Stdout, b"wider ").await;
        // Ctrl-C is a key like any other, and Ctrl-D does not end stdin.
        assert_eq!(session.hear().await, Some(Said::Stdin(b"\x03\x04".to_vec())));
        session.status(Exit::Code(130), 8, 0).await;
        session.close(1000, "").await;
    });
    let child = terminal.shell(&agent);
    assert_eq!(terminal.shown(2), b"$ ");
    assert!(terminal.is_raw());
    terminal.resize(132, 50);
    // The terminal signals only the processes that it controls, of which the program is none here.
    kill_process(Pid::from_child(&child), Signal::WINCH).expect("a signal");
    assert_eq!(terminal.shown(6), b"wider ");
    (&terminal.controller).write_all(b"\x03\x04").expect("keys");
    assert_eq!(agent.finish(child).code, 130);
    assert!(terminal.is_as_before());
}

#[test]
fn the_terminal_is_given_back_when_the_agent_is_lost() {
    let terminal = Terminal::new();
    let agent = Agent::new(|mut session| async move {
        assert_eq!(session.hear().await, Some(size(80, 24)));
    });
    let child = terminal.shell(&agent);
    assert_eq!(agent.finish(child).code, 125);
    assert!(terminal.is_as_before());
    assert!(terminal.shown(6).starts_with(b"error:"));
}

#[test]
fn the_terminal_is_given_back_when_the_program_is_told_to_end() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let terminal = Terminal::new();
        let agent = Agent::new(|mut session| async move {
            session.say(Channel::Stdout, b"$ ").await;
            while session.hear().await.is_some() {}
        });
        let child = terminal.shell(&agent);
        terminal.shown(2);
        kill_process(Pid::from_child(&child), signal).expect("a signal");
        assert_eq!(agent.finish(child).code, code);
        assert!(terminal.is_as_before());
    }
}

#[test]
fn a_refusal_never_touches_the_terminal() {
    let terminal = Terminal::new();
    let agent = Agent::refusing(403, &Status::refusal(403, "Forbidden", "no"));
    let child = terminal.shell(&agent);
    assert_eq!(agent.finish(child).code, 125);
    assert!(terminal.is_as_before());
    assert_eq!(terminal.shown(11), b"error: no\r\n");
}
