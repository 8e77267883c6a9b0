//! A flood of strangers at the port of a real agent: what they hold together, and whom they keep out.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

use super::{Authority, LIMIT, Validity, client_config, get_tls};

/// What all that have not shown whom they are may hold together.
const MOST: u64 = 32 << 20;

/// More than there are places, for one network and for all.
const FLOOD: usize = 300;

/// More than one network is given places.
const ATTACKERS: usize = 40;

/// Lines of its log that are kept until a test looks: what it says at its start is fewer.
const LINES: usize = 64;

/// An agent with a port; killed when dropped.
struct Program {
    child: Child,
    lines: Receiver<String>,
    authority: Authority,
    _directory: tempfile::TempDir,
}

impl Program {
    /// With its address.
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    fn start() -> (Self, SocketAddr) {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new("ours");
        let (chain, key) = authority.issue("127.0.0.1", Validity::Now);
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_nsdebug-agent"));
        // What sessions need is not asked of this test's user.
        command.args(["serve", "--tools", "host", "--no-session-cgroup", "--grace", "0"]);
        command.args(["--log-level", "info,agent::listen=warn", "--listen", "127.0.0.1:0"]);
        command.arg("--tls-cert").arg(file("tls.crt", &chain));
        command.arg("--tls-key").arg(file("tls.key", &key));
        command.arg("--client-ca").arg(file("ca.crt", &authority.certificate));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program");
        let lines = lines_of(child.stderr.take().expect("a pipe"));
        let program = Self { child, lines, authority, _directory: directory };
        let address = program.address();
        (program, address)
    }

    fn address(&self) -> SocketAddr {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect("it says where it listens");
            let word = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
            if let Some(address) = word {
                return address.parse().expect("an address");
            }
        }
    }

    /// The most memory that it ever had, in bytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes << 10
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a log, which is read to its end so that nobody waits for it.
fn lines_of(log: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES);
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    lines
}

/// How far a stranger goes before it says nothing more.
#[derive(Clone, Copy, Debug)]
enum Stranger {
    Silent,
    /// A first message that is as long as can be, and lacks its end.
    LongHello,
    /// A chain of certificates that is as long as can be, and lacks its end.
    LongChain,
}

impl Stranger {
    /// Any of them may be turned away at any moment, which is why no answer is looked at.
    fn come(self, from: Ipv4Addr, to: SocketAddr, client: &Arc<ClientConfig>) -> TcpStream {
        let stream = connect_from(from, to).expect("the kernel takes it");
        match self {
            Self::Silent => {}
            Self::LongHello => drop((&stream).write_all(&long_hello())),
            Self::LongChain => drop(long_chain(&stream, client)),
        }
        stream
    }
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Records of a `ClientHello` of as many bytes as a handshake's message may have.
fn long_hello() -> Vec<u8> {
    const LONGEST: usize = 0xffff;
    const RECORD: usize = 16 << 10;
    let length = u32::try_from(LONGEST - 4).expect("it fits").to_be_bytes();
    let mut message = vec![1, length[1], length[2], length[3]];
    message.resize(LONGEST - 1, 0);
    let records = message.chunks(RECORD).map(|part| {
        let length = u16::try_from(part.len()).expect("it fits").to_be_bytes();
        [&[22, 3, 1, length[0], length[1]], part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// A handshake up to nine tenths of the client's last words, most of which are its certificates.
fn long_chain(mut stream: &TcpStream, client: &Arc<ClientConfig>) -> Result<(), Box<dyn Error>> {
    let server = ServerName::try_from("127.0.0.1")?;
    let mut client = ClientConnection::new(Arc::clone(client), server)?;
    while client.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut stream)?;
        }
        if client.read_tls(&mut stream)? == 0 {
            return Err("turned away".into());
        }
        client.process_new_packets()?;
    }
    let mut words = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut words)?;
    }
    assert!(words.len() > 32 << 10, "{} bytes are not long", words.len());
    Ok(stream.write_all(&words[..words.len() / 10 * 9])?)
}

/// A client with a chain of almost 64 KiB, which its server has to have whole before it can refuse it.
fn with_long_chain(program: &Program) -> Arc<ClientConfig> {
    let (certificate, key) = Authority::new("other").issue("mallory", Validity::Now);
    let count = 60_000 / CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM").len();
    Arc::new(client_config(&program.authority, Some((certificate.repeat(count), key))))
}

/// Whether a client with a certificate and another address is served.
async fn assert_served(program: &Program, address: SocketAddr, meanwhile: &str) {
    let client = program.authority.issue("alice", Validity::Now);
    let answer = get_tls(address, &program.authority, Some(client)).await;
    let answer = answer.unwrap_or_else(|error| panic!("{meanwhile}: {error}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{meanwhile}: {answer}");
}

#[tokio::test]
async fn a_flood_of_strangers_holds_little_and_keeps_nobody_out() {
    let (program, address) = Program::start();
    let client = with_long_chain(&program);
    assert_served(&program, address, "nobody else").await;
    let before = program.peak();
    let one = |_: usize| Ipv4Addr::new(127, 0, 0, 2);
    let many =
        |number: usize| Ipv4Addr::from_bits(0x7f00_0100 + u32::try_from(number / 4).unwrap_or(0));
    let sources: [(&str, &dyn Fn(usize) -> Ipv4Addr); 2] = [("one", &one), ("many", &many)];
    for (name, source) in sources {
        for stranger in [Stranger::Silent, Stranger::LongHello, Stranger::LongChain] {
            let come = |number| stranger.come(source(number), address, &client);
            let flood: Vec<_> = (0..FLOOD).map(come).collect();
            let meanwhile = format!("{stranger:?} from {name}");
            for _ in 0..3 {
                assert_served(&program, address, &meanwhile).await;
            }
            let held = program.peak() - before;
            assert!(held < MOST, "{meanwhile}: they hold {held} bytes");
            drop(flood);
        }
    }
}

/// A client whose chain is checked a hundred times before it is refused: each certificate may be of our authority,
/// as far as names go.
fn with_costly_chain(program: &Program) -> Arc<ClientConfig> {
    let namesake = Authority::new("ours");
    let (certificate, key) = namesake.issue("mallory", Validity::Now);
    let chain = certificate + &namesake.certificate.repeat(100);
    Arc::new(client_config(&program.authority, Some((chain, key))))
}

/// A whole handshake, to its refusal.
fn refused(mut stream: TcpStream, client: &Arc<ClientConfig>) -> Result<(), Box<dyn Error>> {
    let server = ServerName::try_from("127.0.0.1")?;
    let mut client = ClientConnection::new(Arc::clone(client), server)?;
    loop {
        while client.wants_write() {
            client.write_tls(&mut stream)?;
        }
        if client.read_tls(&mut stream)? == 0 {
            return Err("turned away".into());
        }
        if client.process_new_packets().is_err() {
            return Ok(()); // the alert
        }
    }
}

/// Attackers who shake hands without a pause, and how many handshakes they have had refused.
struct Shaking {
    refused: Receiver<()>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Shaking {
    fn start(from: Ipv4Addr, to: SocketAddr, client: &Arc<ClientConfig>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = sync_channel(FLOOD);
        let shakes = |_| {
            let (stop, client, sender) = (Arc::clone(&stop), Arc::clone(client), sender.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let stream = connect_from(from, to).expect("the kernel takes it");
                    if refused(stream, &client).is_ok() {
                        let _ = sender.try_send(());
                    }
                }
            })
        };
        let threads = (0..ATTACKERS).map(shakes).collect();
        Self { refused: receiver, stop, threads }
    }

    /// Of those that have been refused since they were last looked at.
    fn count(&self) -> usize {
        self.refused.try_iter().count()
    }

    fn forget(&self) {
        let _ = self.count();
    }

    fn wait_for(&self, count: usize) {
        for _ in 0..count {
            self.refused.recv_timeout(LIMIT).expect("its handshakes have their turns too");
        }
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn a_flood_of_costly_handshakes_leaves_others_their_turn() {
    let (program, address) = Program::start();
    let client = with_costly_chain(&program);
    assert_served(&program, address, "nobody else").await;
    let shaking = Shaking::start(Ipv4Addr::new(127, 0, 0, 2), address, &client);
    for _ in 0..5 {
        shaking.wait_for(20);
        shaking.forget();
        assert_served(&program, address, "handshakes of another address").await;
        let before = shaking.count();
        assert!(before < ATTACKERS / 4, "{before} handshakes of another network came before");
    }
}
