//! A flood of strangers at every port of the program itself: what it holds, and who gets through meanwhile.
//!
//! The gateway is a process of its own here, so that its memory is measured and not the flood's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::apiserver::ApiServer;
use crate::authority::{Authority, nobody};
use crate::rig::{
    EXEC, LIMIT, TestAgent, ca_file, cluster, dial, get_document, get_plain, upgrade,
};

/// What strangers may hold, of all ports together.
const MOST_KIB: u64 = 32 << 10;

/// Connections of one source to one port, all the time. More than any source is given.
const EACH: usize = 80;

/// What most hurt a port that has no bounds.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Of a head that never ends: at the health port.
    PlainHead,
    /// The same behind a handshake: at the agents' port.
    Head,
    /// Of a first message that is said to be 64 KiB, without its last byte: at each port that has TLS.
    Hello,
    /// Not a word.
    Silence,
}

/// The gateway as a program.
struct Program {
    child: Child,
    api: ApiServer,
    authority: Authority,
    directory: tempfile::TempDir,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    api: SocketAddr,
    agents: SocketAddr,
    health: SocketAddr,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    async fn start() -> Self {
        let authority = Authority::new();
        let api = cluster(&authority).await;
        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = directory.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", api.address)}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).expect("a file");
        let [one, two, three] = [(); 3].map(|()| free_port());
        let ports = Ports { api: one, agents: two, health: three };
        let child = harness::gateway()
            .arg("serve")
            .arg(format!("--listen={}", ports.api))
            .arg(format!("--listen-agents={}", ports.agents))
            .arg(format!("--listen-health={}", ports.health))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args(["--dns-name=localhost", "--leave=0", "--grace=0", "--log-level=error"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let program = Self { child, api, authority, directory, ports };
        program
            .until("it is ready", async || program.page("/readyz").await.contains(" 200 "))
            .await;
        program
    }

    async fn page(&self, path: &str) -> String {
        match TcpStream::connect(self.ports.health).await {
            Ok(_) => get_plain(self.ports.health, path).await,
            Err(_) => String::new(), // it is still starting
        }
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waited = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, waited).await.is_ok(), "in vain: {what}");
    }

    /// KiB, as its `/proc/PID/status` says.
    fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the gateway runs");
        let value = status.lines().find_map(|line| line.strip_prefix(key)).expect("a value");
        value.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    async fn turned_away(&self) -> u64 {
        let page = self.page("/metrics").await;
        let count = |line: &str| {
            let line =
                line.strip_prefix("nsdebug_gateway_connections_refused_total{reason=\"Full\"} ");
            line.and_then(|count| count.parse().ok())
        };
        page.lines().find_map(count).unwrap_or(0)
    }

    /// As kube-apiserver, on a connection of its own.
    async fn ask(&self, head: &str) -> String {
        let talk = async {
            let mut stream = dial(self.ports.api, self.authority.front_proxy()).await.expect("TLS");
            stream.write_all(head.as_bytes()).await.expect("a request");
            let mut answer = vec![0; 4096];
            let read = stream.read(&mut answer).await.expect("an answer");
            String::from_utf8_lossy(&answer[..read]).into_owned()
        };
        tokio::time::timeout(LIMIT, talk).await.expect("an answer in time")
    }

    /// Everybody who has to get through does.
    async fn serves(&self) {
        let document = get_document("/apis/nsdebug.dev/v1alpha1", "x-remote-user: alice\r\n");
        for _ in 0..5 {
            let answer = self.ask(&document).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        let authority = ca_file(&self.api, self.directory.path());
        let agent =
            TestAgent::dialling(self.directory.path(), authority, self.ports.agents, "good");
        let opened = async || self.ask(&upgrade(EXEC, "")).await.starts_with("HTTP/1.1 101 ");
        self.until("a new agent has a session", opened).await;
        drop(agent.control);
        agent.served.await.expect("the agent stops");
    }
}

fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// Attacks `port` from `source` for as long as this is kept.
fn flood(floods: &mut JoinSet<()>, source: IpAddr, port: SocketAddr, attack: Attack) {
    for _ in 0..EACH {
        floods.spawn(async move {
            loop {
                // It ends as the gateway wants it, and is begun again.
                let _ = attacked(source, port, attack).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

async fn attacked(source: IpAddr, port: SocketAddr, attack: Attack) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    let mut stream = socket.connect(port).await?;
    match attack {
        Attack::Silence => held(stream).await,
        Attack::PlainHead => {
            let head = format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}", "a".repeat(395_000));
            stream.write_all(head.as_bytes()).await?;
            held(stream).await
        }
        Attack::Hello => {
            // Records of 16 KiB of one handshake message of type 1.
            let mut hello = vec![1, 0, 0xff, 0xff];
            hello.resize((64 << 10) - 1, 0);
            for part in hello.chunks(16 << 10) {
                let length = u16::try_from(part.len()).expect("small").to_be_bytes();
                stream.write_all(&[[22, 3, 1].as_slice(), &length, part].concat()).await?;
            }
            held(stream).await
        }
        Attack::Head => {
            let name = "localhost".try_into().expect("a name");
            let mut stream = TlsConnector::from(nobody()).connect(name, stream).await?;
            let head = format!("POST /connect HTTP/1.1\r\nhost: a\r\nx: {}", "a".repeat(125_000));
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            held(stream).await
        }
    }
}

async fn held(mut stream: impl AsyncReadExt + Unpin) -> std::io::Result<()> {
    let mut answer = [0; 512];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}

async fn withstands(sources: &[u8]) {
    let program = Arc::new(Program::start().await);
    program.serves().await;
    let before = program.memory("VmRSS:");
    let ports = program.ports;
    let mut floods = JoinSet::new();
    for source in sources {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, *source));
        for (port, attack) in [
            (ports.health, Attack::PlainHead),
            (ports.health, Attack::Silence),
            (ports.agents, Attack::Head),
            (ports.agents, Attack::Hello),
            (ports.api, Attack::Hello),
            (ports.api, Attack::Silence),
        ] {
            flood(&mut floods, source, port, attack);
        }
    }
    let is_full =
        async || program.memory("VmHWM:") > before + MOST_KIB || program.turned_away().await > 200;
    program.until("places are full", is_full).await;
    program.serves().await;
    let grown = program.memory("VmHWM:").saturating_sub(before);
    assert!(grown < MOST_KIB, "strangers hold {grown} KiB, of {before} KiB before");
    floods.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_address_costs_little_and_keeps_nobody_out() {
    withstands(&[66]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_from_several() {
    withstands(&[66, 67, 68, 69]).await;
}
