//! Tools do work: what each profile is there for, on the real tools of the toolbox.

use std::path::Path;
use std::process::Command;

use harness::session_process::SUPERVISOR;
use harness::{Container, Finished, Requirement, Running, Terminal, request, run, skip};

use crate::stage::Stage;

fn on_site(check: impl Fn(&Stage, &Container<'_>)) {
    if skip([Stage::requirement()]) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("site"));
    check(&stage, &site);
    assert_eq!(request(site.pid(), "/"), "hello from the container\n", "the target goes on");
}

fn expect(said: &Finished, text: &str) {
    assert!(said.code() == 0 && said.out().contains(text), "no {text:?}: {said}");
}

#[test]
fn general_looks_at_processes() {
    on_site(|stage, site| {
        let tool = |words: &[&str]| stage.session(site, "general", words);
        expect(&tool(&["ps", "-ef"]), "/target-app serve");
        expect(&tool(&["top", "-b", "-n", "1"]), "target-");
        expect(&tool(&["ss", "-tlnp"]), "target-app");
        expect(&tool(&["lsof", "-p", "1"]), "target-app");
        expect(&tool(&["cat", "/target/proc/1/comm"]), "target-app");
        expect(&tool(&["cat", "/etc/hostname"]), "");
        expect(&tool(&["ls", "-l", "/proc/1/fd"]), "socket:");
        let other = stage.session(site, "baseline", &["lsof", "-p", "1"]);
        assert!(!other.out().contains("IPv4"), "baseline sees no sockets: {other}");
    });
}

#[test]
fn general_shows_a_screen_of_processes() {
    on_site(|stage, site| {
        let mut command = stage.exec(site, &["--profile", "general", "-t", "-i"]);
        command.env("TERM", "xterm").args(["--", "htop"]);
        let mut screen = Terminal::start(&command, 30, 100);
        screen.wait_for("target-app");
        screen.press("q");
        let (code, shown) = screen.finish();
        assert_eq!(code, 0, "{shown}");
    });
}

#[test]
fn a_terminal_is_found_and_opened_by_its_name() {
    on_site(|stage, site| {
        let mut command = stage.exec(site, &["--profile", "general", "-t", "-i"]);
        command.args(["--", "sh", "-c", "tty && echo written by name > $(tty)"]);
        let (code, shown) = Terminal::start(&command, 30, 100).finish();
        assert!(code == 0 && shown.contains("/dev/pts/0"), "{shown}");
        assert!(shown.contains("written by name"), "{shown}");
    });
}

#[test]
fn general_traces_and_lets_go() {
    on_site(|stage, site| {
        let mut command = stage.exec(site, &["--profile", "general", "--", "strace", "-p", "1"]);
        let tracing = Running::start(&mut command);
        tracing.wait_for_stderr("attached");
        request(site.pid(), "/");
        tracing.wait_for_stderr("HTTP/1.1 200 OK");
        tracing.signal(rustix::process::Signal::INT);
        let said = tracing.finish();
        assert!(said.err().contains("detached"), "{said}");
    });
}

#[test]
fn who_may_not_trace_is_told_which_profile_could() {
    on_site(|stage, site| {
        for profile in ["restricted", "baseline"] {
            let said = stage.session(site, profile, &["strace", "-p", "1"]).expect_code(1);
            assert!(said.err().contains("Operation not permitted"), "{said}");
            let hint = format!("the profile `{profile}` does not allow tracing");
            assert!(said.err().contains(&hint), "{said}");
            assert!(said.err().trim_end().ends_with("--profile general allows it"), "{said}");
            let asked = stage.session(site, profile, &["probe", "reach", "1"]).expect_success();
            assert!(asked.out().contains("reach seize EPERM"), "{asked}");
        }
    });
}

#[test]
fn what_general_may_not_is_told_how_it_may() {
    on_site(|stage, site| {
        let said = |code, tool: &[&str]| {
            let done = stage.session(site, "general", tool).expect_code(code);
            done.err().lines().last().unwrap_or_default().to_owned()
        };
        let add = said(2, &["ip", "link", "add", "dummy0", "type", "dummy"]);
        assert!(
            add.starts_with("hint: ") && add.ends_with("--profile netadmin allows it"),
            "{add}"
        );
        let touch = said(1, &["touch", "/target/new"]);
        assert!(touch.starts_with("hint: ") && touch.contains("--write"), "{touch}");
        let missing = said(2, &["grep", "x", "/target/nowhere"]);
        assert!(missing.starts_with("grep: "), "{missing}");
    });
}

#[test]
fn general_looks_into_a_program() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let tree = repository.join("target/toolbox-gdb");
    let with_gdb = if tree.is_dir() {
        Requirement::Met
    } else {
        Requirement::Missing("no toolbox with gdb: run image/build.py toolbox-gdb".to_owned())
    };
    if skip([Stage::requirement(), with_gdb]) {
        return;
    }
    on_site(|stage, site| {
        let mut command = harness::agent();
        command.args(["exec", "--tools", "toolbox", "--containerd"]);
        command.arg(stage.containerd.socket()).arg("--toolbox").arg(&tree);
        command.args(["--container", site.id(), "--profile", "general", "--"]);
        command.args(["gdb", "-p", "1", "-batch", "-ex", "bt"]);
        expect(&run(&mut command), "#0");
    });
}

#[test]
fn general_captures_packets_and_nobody_takes_its_capture_over() {
    on_site(|stage, site| {
        let words = ["tcpdump", "-i", "any", "-U", "-w", "-", "tcp", "port", "8080"];
        let mut command = stage.exec(site, &["--profile", "general", "--"]);
        let capture = Running::start(command.args(words));
        capture.wait_for_stderr("listening on any");
        for file in ["go", "stop"] {
            let _ = std::fs::remove_file(stage.folder().join(file));
        }
        request(site.pid(), "/");
        capture.wait_for_stdout("hello from the container");
        // A program that gives up capabilities gives up what keeps its neighbours out.
        let status = run(&mut stage.inside(site, &["/probe/attacker", "try", "tcpdump"]));
        assert!(!status.out().contains("HOLE") && status.out().contains("tried"), "{status}");
        capture.signal(rustix::process::Signal::INT);
        capture.finish().expect_success();
    });
}

#[test]
fn general_asks_the_network() {
    on_site(|stage, site| {
        let tool = |words: &[&str]| stage.session(site, "general", words);
        expect(&tool(&["curl", "-s", "http://127.0.0.1:8080/"]), "hello from the container");
        expect(&tool(&["ping", "-c", "1", "127.0.0.1"]), "1 received");
        expect(&tool(&["ip", "address"]), "127.0.0.1");
        let dig = tool(&["dig", "+time=1", "+tries=1", "@127.0.0.1", "example.org"]);
        assert!(
            dig.out().contains("connection refused") || dig.out().contains("timed out"),
            "{dig}"
        );
    });
}

#[test]
fn netadmin_changes_the_network_and_general_may_not() {
    on_site(|stage, site| {
        let change = ["ip", "route", "add", "blackhole", "203.0.113.0/24"];
        let refused = stage.session(site, "general", &change);
        assert!(refused.code() != 0 && refused.err().contains("not permitted"), "{refused}");
        stage.session(site, "netadmin", &change).expect_success();
        expect(&stage.session(site, "netadmin", &["ip", "route"]), "blackhole 203.0.113.0/24");
        expect(&stage.session(site, "netadmin", &["tc", "qdisc", "show", "dev", "lo"]), "noqueue");
        let rules = stage.session(site, "netadmin", &["nft", "list", "ruleset"]);
        // A kernel without nftables says so itself.
        assert!(rules.code() == 0 || rules.err().contains("supported"), "{rules}");
        let node = run(Command::new("ip").args(["route", "show", "203.0.113.0/24"]));
        assert_eq!(node.out(), "", "the node's routes");
    });
}

#[test]
fn files_of_the_target_are_read_and_written_only_when_asked_for() {
    on_site(|stage, site| {
        let file = stage.folder().join("note");
        std::fs::write(&file, "written by the target\n").expect("a file in an own folder");
        let tool =
            |options: &[&str], words: &[&str]| run(stage.exec(site, options).arg("--").args(words));
        let general = ["--profile", "general"];
        expect(&tool(&general, &["cat", "/target/probe/note"]), "written by the target");
        let write = ["sh", "-c", "echo more >> /target/probe/note"];
        let refused = tool(&general, &write);
        assert!(refused.err().contains("Read-only file system"), "{refused}");
        tool(&["--profile", "general", "--write"], &write).expect_success();
        assert!(std::fs::read_to_string(&file).expect("the file").ends_with("more\n"));
        let refused = tool(&["--profile", "baseline", "--write"], &["true"]).expect_code(125);
        assert!(refused.err().contains("use --profile general"), "{refused}");
        assert!(Path::new(&file).exists());
    });
}

#[test]
fn a_tool_never_sees_the_processes_of_the_node() {
    if skip([Stage::requirement()]) {
        return;
    }
    let stage = Stage::set();
    let open = stage.containerd.run(&stage.spec("open").host_pid());
    let words = ["ps", "-e", "-o", "comm="];
    let refused = stage.session(&open, "general", &words).expect_code(125);
    assert!(refused.err().contains("pid namespace"), "{refused}");
    let mut allowed = stage.exec(&open, &["--profile", "baseline", "--allow-host-targets", "--"]);
    let said = run(allowed.args(words)).expect_success();
    assert_eq!(said.out(), format!("{SUPERVISOR}\nps\n"), "{said}");
}

#[test]
fn the_devices_of_a_session_open_and_do_what_they_do() {
    on_site(|stage, site| {
        let nodes = ["null", "zero", "full", "random", "urandom", "ptmx", "pts/ptmx"];
        let nodes = nodes.map(|node| format!("/dev/{node}"));
        let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
        for profile in ["restricted", "baseline", "general", "netadmin"] {
            for way in ["read", "write"] {
                let said = stage.session(site, profile, &[&["probe", way], &nodes[..]].concat());
                assert_eq!(said.out().matches(" done\n").count(), nodes.len(), "{profile}: {said}");
            }
            // The session's own terminal; and one more, whose other end is there and locked (EIO).
            let mut command = stage.exec(site, &["--profile", profile, "-t", "-i"]);
            let script = "echo a-terminal > /dev/tty; exec 3<> /dev/ptmx; probe read /dev/pts/1";
            command.args(["--", "bash", "-c", script]);
            let (code, shown) = Terminal::start(&command, 24, 80).finish();
            assert_eq!(code, 0, "{profile}: {shown}");
            assert!(shown.contains("a-terminal"), "{profile}: {shown}");
            assert!(shown.contains("/dev/pts/1 errno-5"), "{profile}: {shown}");
        }
    });
}
