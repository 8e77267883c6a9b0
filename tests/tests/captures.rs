//! `capture`: packets of several containers in one file, counted, whatever happens to one of them.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{
    Agent, Container, Containerd, Listener, Neighbour, Process, Requirement, RunSpec, Running,
    Serve, Version, inside, run, skip, toolbox_tree, until,
};
use rustix::process::Signal;
use tempfile::TempDir;

/// A session that was given up is killed within seconds.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the numbered packets go.
const PORT: u16 = 9_999;
const FILTER: &str = "udp port 9999";

/// An agent with a toolbox, and two containers.
fn with_two(check: impl FnOnce(&Agent, [&Container<'_>; 2], &Path)) {
    let programs = ["tcpdump", "tshark", "capinfos"].map(Requirement::program);
    let containerd = Requirement::containerd(Version::chosen());
    if skip([containerd].into_iter().chain(programs)) {
        return;
    }
    let containerd = Containerd::start(Version::chosen());
    let one = containerd.run(&RunSpec::new("web-1"));
    let two = containerd.run(&RunSpec::new("web-2"));
    let agent = Serve::new().in_toolbox(toolbox_tree()).start(&containerd);
    let folder = TempDir::new().expect("a folder");
    check(&agent, [&one, &two], folder.path());
    until("nothing to be left of any session", LIMIT, || {
        agent.has_no_session() && one.processes().len() == 1
    });
}

/// A capture of these containers that has begun.
fn capture(agent: &Agent, containers: &[&str], words: &[&str]) -> Running {
    let capturing = Running::start(&mut command(agent, containers, words));
    capturing.wait_for_stderr("capturing ");
    capturing
}

fn command(agent: &Agent, containers: &[&str], words: &[&str]) -> Command {
    let mut plugin = agent.plugin(Listener::Unix);
    plugin.arg("capture").args(containers.iter().map(|id| format!("container/{id}"))).args(words);
    plugin
}

/// Sends `count` packets over the container's loopback.
fn send(container: &Container<'_>, count: u64) {
    inside(container.pid(), || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for number in 0..count {
            socket.send_to(&number.to_be_bytes(), ("127.0.0.1", PORT)).expect("it is sent");
        }
    });
}

/// Sends one packet more, which shows in the file that those before it are there.
fn send_words(container: &Container<'_>, words: &str) {
    inside(container.pid(), || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.send_to(words.as_bytes(), ("127.0.0.1", PORT)).expect("it is sent");
    });
}

/// Interface and time of every packet, as tshark shows them.
fn packets(file: &Path) -> Vec<(String, String)> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file).args(["-T", "fields", "-e", "frame.interface_name"]);
    let read = run(tshark.args(["-e", "frame.time_epoch"])).expect_success();
    let line = |line: &str| {
        let (name, time) = line.split_once('\t').expect("two fields");
        (name.to_owned(), time.to_owned())
    };
    read.out().lines().map(line).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name of letters")
}

#[test]
fn packets_of_two_containers_are_in_one_file_in_the_order_of_time() {
    with_two(|agent, [one, two], folder| {
        let file = folder.join("both.pcapng");
        let words = ["-f", FILTER, "--reason", "INC-1", "-w", text(&file)];
        let capturing = capture(agent, &["web-1", "web-2"], &words);
        for _ in 0..10 {
            send(one, 10);
            send(two, 5);
        }
        until("the packets to be counted", LIMIT, || {
            capturing.signal(Signal::USR1);
            packets(&file).len() == 150
        });
        capturing.signal(Signal::INT);
        let done = capturing.finish().expect_success();
        let packets = packets(&file);
        let of = |name: &str| packets.iter().filter(|(of, _)| of == name).count();
        assert_eq!((of("container/web-1:any"), of("container/web-2:any")), (100, 50), "{done}");
        assert!(packets.is_sorted_by_key(|(_, time)| time.clone()), "{packets:?}");
        assert!(done.err().contains("2 pods, 150 packets, 0 late, 0 dropped"), "{done}");
        let about = run(Command::new("capinfos").arg(&file)).expect_success().out();
        for said in
            ["Filter string = udp port 9999", "reason=INC-1", "Number of interfaces in file: 2"]
        {
            assert!(about.contains(said), "{about}");
        }
    });
}

#[test]
fn every_packet_is_written_or_counted_as_dropped() {
    const BURST: u64 = 200_000;
    with_two(|agent, [one, _], _| {
        let wire = Neighbour::of(one.pid());
        let address = wire.address().to_owned();
        // The kernel's buffer has 64 places of this size: packets are lost.
        let words = ["-f", FILTER, "-s", "262144", "-w", "-"];
        let capturing = capture(agent, &["web-1", "web-2"], &words);
        let socket = inside(one.pid(), || UdpSocket::bind("0.0.0.0:0").expect("a socket"));
        let to = (address.as_str(), PORT);
        for number in 0..BURST {
            // A full queue of the wire says so, and the packet is not sent.
            until("room on the wire", LIMIT, || socket.send_to(&number.to_be_bytes(), to).is_ok());
        }
        let mut before = None;
        let mut rounds = 0;
        until("tcpdump to have read its buffer", LIMIT * 3, || {
            let now = Some(capturing.stdout_length());
            rounds = if now == before { rounds + 1 } else { 0 };
            before = now;
            rounds > 50
        });
        socket.send_to(b"the last one", to).expect("it is sent");
        capturing.wait_for_stdout("the last one");
        capturing.signal(Signal::INT);
        let done = capturing.finish().expect_success();
        let said = done.err();
        let line = said.lines().find(|line| line.starts_with("2 pods, ")).expect("a sum");
        let numbers: Vec<u64> = line["2 pods, ".len()..]
            .split(", ")
            .filter_map(|part| {
                let digits: String = part.chars().filter(char::is_ascii_digit).collect();
                digits.parse().ok()
            })
            .collect();
        let [written, late, dropped] = numbers[..] else { panic!("{line}") };
        assert_eq!((written + dropped, late), (BURST + 1, 0), "{said}");
    });
}

#[test]
fn a_filter_that_is_none_is_one_error_and_leaves_no_file() {
    with_two(|agent, _, folder| {
        let file = folder.join("none.pcapng");
        let words = ["-f", "tcp prot 80", "-w", text(&file)];
        let done = run(&mut command(agent, &["web-1", "web-2"], &words)).expect_code(2);
        assert_eq!(done.err().matches("error: ").count(), 1, "{done}");
        assert!(done.err().contains("tcpdump refuses the capture in container/web-1"), "{done}");
        assert!(done.err().contains("syntax error"), "{done}");
        assert!(!file.exists());
    });
}

#[test]
fn an_interface_that_not_every_container_has_is_refused_with_those_that_it_has() {
    with_two(|agent, [one, _], folder| {
        let _wire = Neighbour::of(one.pid());
        let file = folder.join("none.pcapng");
        let words = ["-i", "eth0", "-w", text(&file)];
        let done = run(&mut command(agent, &["web-1", "web-2"], &words)).expect_code(2);
        assert!(done.err().contains("interface `eth0` cannot be captured everywhere"), "{done}");
        assert!(done.err().contains("container/web-2: "), "{done}");
        assert!(!done.err().contains("container/web-1: "), "{done}");
        assert!(done.err().contains("it has any, lo"), "{done}");
        let done =
            run(&mut command(agent, &["web-1"], &["-i", "eth0", "-w", text(&file), "--for", "1"]));
        let about = run(Command::new("capinfos").arg(&file)).expect_success().out();
        assert!(about.contains("Name = container/web-1:eth0"), "{done}{about}");
        assert!(about.contains("Encapsulation = Ethernet"), "{about}");
    });
}

#[test]
fn a_capture_ends_by_itself_at_its_limits_and_each_file_can_be_read_alone() {
    with_two(|agent, [one, two], folder| {
        let file = folder.join("limited.pcapng");
        let words = ["-f", FILTER, "-c", "5", "-w", text(&file)];
        let capturing = capture(agent, &["web-1"], &words);
        send(one, 50);
        let done = capturing.finish().expect_success();
        assert_eq!(packets(&file).len(), 5, "{done}");
        assert!(done.err().contains("1 pod, 5 packets, 0 late, 0 dropped"), "{done}");

        let file = folder.join("rotated");
        let words = ["-f", FILTER, "-C", "2k", "-c", "100", "-w", text(&file)];
        let capturing = capture(agent, &["web-1", "web-2"], &words);
        send(one, 100);
        send(two, 10);
        capturing.finish().expect_success();
        let files =
            std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
        let rotated: Vec<_> = files.filter(|path| text(path).contains("rotated")).collect();
        assert!(rotated.len() > 2, "{rotated:?}");
        assert_eq!(rotated.iter().map(|file| packets(file).len()).sum::<usize>(), 100);
    });
}

#[test]
fn each_container_has_a_file_of_its_own_if_that_is_asked_for() {
    with_two(|agent, [one, two], folder| {
        let split = folder.join("split");
        let words = ["-f", FILTER, "--split", text(&split), "-c", "30"];
        let capturing = capture(agent, &["web-1", "web-2"], &words);
        send(one, 20);
        send(two, 10);
        capturing.finish().expect_success();
        for (name, count) in [("web-1", 20), ("web-2", 10)] {
            let packets = packets(&split.join(format!("container_{name}.pcapng")));
            assert_eq!(packets.len(), count);
            assert!(packets.iter().all(|(of, _)| *of == format!("container/{name}:any")));
        }
    });
}

#[test]
fn a_container_that_is_not_there_costs_only_itself() {
    with_two(|agent, [one, _], folder| {
        let file = folder.join("one.pcapng");
        let words = ["-f", FILTER, "-w", text(&file), "-c", "3"];
        let capturing = capture(agent, &["web-1", "0badc0de"], &words);
        send(one, 3);
        let done = capturing.finish().expect_code(125);
        assert_eq!(packets(&file).len(), 3, "{done}");
        assert!(done.err().contains("capturing 1 of 2 pods"), "{done}");
        let row = done
            .err()
            .lines()
            .find(|line| line.starts_with("container/0badc0de"))
            .map(str::to_owned);
        assert!(row.is_some_and(|row| row.contains("no container")), "{done}");
    });
}

#[test]
fn a_container_that_stalls_makes_no_other_wait_for_longer_than_a_second_s_bound() {
    with_two(|agent, [one, two], _| {
        let capturing = capture(agent, &["web-1", "web-2"], &["-f", FILTER, "-w", "-"]);
        let tool = two.processes().into_iter().find(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "tcpdump"
        });
        let tool = Process::open(tool.expect("tcpdump runs")).expect("it runs");
        tool.signal(Signal::STOP);
        send(two, 10);
        send_words(two, "the last one");
        let length = capturing.stdout_length();
        send(one, 100);
        until("the packets of the other", LIMIT, || capturing.stdout_length() > length + 100 * 60);
        tool.signal(Signal::CONT);
        capturing.wait_for_stdout("the last one");
        capturing.signal(Signal::INT);
        let done = capturing.finish().expect_success();
        assert!(done.err().contains("2 pods, 111 packets, 11 late, 0 dropped"), "{done}");
    });
}

#[test]
fn a_reader_that_has_had_enough_ends_the_capture() {
    with_two(|agent, [one, _], _| {
        let mut capturing = command(agent, &["web-1"], &["-f", FILTER, "-w", "-", "--quiet"]);
        let mut capturing =
            capturing.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
        drop(capturing.stdout.take());
        until("its end", LIMIT, || {
            send(one, 1);
            capturing.try_wait().expect("an own child").is_some()
        });
        assert_eq!(capturing.wait().expect("an own child").code(), Some(141));
    });
}

#[test]
fn a_second_signal_waits_for_no_reader_and_what_is_not_written_is_said() {
    with_two(|agent, [one, _], folder| {
        let said = folder.join("said");
        let stderr = std::fs::File::create(&said).expect("a file");
        let words = ["-f", FILTER, "-w", "-"];
        let mut capturing = command(agent, &["web-1"], &words);
        capturing.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut capturing = capturing.spawn().expect("it starts");
        let err = || std::fs::read_to_string(&said).expect("its words");
        until("its beginning", LIMIT, || err().contains("capturing "));
        // More than a pipe and the program's own queues hold.
        send(one, 20_000);
        let process = Process::open(capturing.id()).expect("it runs");
        process.signal(Signal::INT);
        until("tcpdump to end", LIMIT, || one.processes().len() == 1);
        process.signal(Signal::TERM);
        until("its end", LIMIT, || capturing.try_wait().expect("an own child").is_some());
        assert_eq!(capturing.wait().expect("an own child").code(), Some(125), "{}", err());
        let row = err().lines().find(|line| line.starts_with("container/web-1")).map(str::to_owned);
        assert!(row.is_some_and(|row| row.contains(" not written")), "{}", err());
    });
}

#[test]
fn a_next_file_that_cannot_be_created_costs_nothing_of_those_before() {
    with_two(|agent, [one, _], folder| {
        let file = folder.join("rotated");
        std::fs::create_dir(folder.join("rotated1")).expect("a folder in its way");
        let words = ["-f", FILTER, "-C", "2k", "-w", text(&file)];
        let capturing = capture(agent, &["web-1"], &words);
        send(one, 100);
        let done = capturing.finish().expect_code(125);
        assert!(done.err().contains("cannot create "), "{done}");
        let sum = format!("1 pod, {} packets", packets(&file).len());
        assert!(done.err().contains(&sum), "{done}");
    });
}

#[test]
fn a_container_that_cannot_be_captured_says_why_in_tcpdump_s_words() {
    with_two(|agent, _, folder| {
        let file = folder.join("none.pcapng");
        let words = ["--profile", "restricted", "-w", text(&file)];
        let done = run(&mut command(agent, &["web-1"], &words)).expect_code(125);
        let row =
            done.err().lines().find(|line| line.starts_with("container/web-1")).map(str::to_owned);
        let row = row.expect("its row");
        assert!(row.contains("tcpdump exited with 1: "), "{done}");
        assert!(row.contains("ermi"), "{done}"); // of permission
    });
}
