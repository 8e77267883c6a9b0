//! kube-rs' own exec, unchanged: `Api<Pod>::exec` and its `AttachedProcess`, behind the proxy that only rewrites the
//! path.

use std::time::Duration;

use futures_util::SinkExt;
use harness::{Cluster, ReverseProxy, inside};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess, TerminalSize};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::stage::installed;

/// A session that hangs is a failure, not a wait.
const LIMIT: Duration = Duration::from_secs(60);

/// Do `work` with what kube-rs makes of a kubeconfig: the pods of shop, as `user`.
fn with_pods<F: Future<Output = ()>>(
    cluster: &Cluster,
    user: &str,
    work: impl FnOnce(Api<Pod>) -> F + Send,
) {
    let proxy = ReverseProxy::start(cluster, user);
    inside(cluster.pid(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("an event loop").block_on(async {
            let read = Kubeconfig::read_from(proxy.kubeconfig()).expect("a kubeconfig");
            let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
            let client = Client::try_from(config.expect("it makes sense")).expect("a client");
            let work = work(Api::namespaced(client, "shop"));
            tokio::time::timeout(LIMIT, work).await.expect("an end");
        });
    });
}

/// All that is to be had of a process that has ended.
struct Ended {
    stdout: String,
    stderr: String,
    status: Status,
}

impl Ended {
    async fn of(mut attached: AttachedProcess) -> Self {
        let status = attached.take_status().expect("nobody took it");
        // Side by side: kube-rs reads on only while its caller takes what it has.
        let streams = (attached.stdout(), attached.stderr());
        let (stdout, stderr, status) = tokio::join!(text(streams.0), text(streams.1), status);
        attached.join().await.expect("the connection ends in order");
        Self { stdout, stderr, status: status.expect("a status before the end") }
    }

    /// As every client of Kubernetes finds it.
    fn code(&self) -> i32 {
        if self.status.status.as_deref() == Some("Success") {
            return 0;
        }
        assert_eq!(self.status.reason.as_deref(), Some("NonZeroExitCode"), "{:?}", self.status);
        let details = self.status.details.iter();
        let mut causes = details.flat_map(|details| details.causes.iter().flatten());
        let code = causes.find(|cause| cause.reason.as_deref() == Some("ExitCode"));
        let code = code.and_then(|cause| cause.message.as_deref()).expect("an exit code");
        code.parse().expect("a number")
    }
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = String::new();
    if let Some(mut stream) = stream {
        stream.read_to_string(&mut text).await.expect("text to its end");
    }
    text
}

#[test]
fn kube_rs_hears_both_streams_and_the_exit_code() {
    let Some(cluster) = installed() else { return };
    with_pods(&cluster, "admin", async |pods| {
        let asked = AttachParams::default();
        let ps = pods.exec("api", ["ps", "-ef"], &asked).await.expect("a session");
        let ps = Ended::of(ps).await;
        assert_eq!(ps.code(), 0);
        assert!(ps.stdout.contains("/target-app serve children=2"), "{}", ps.stdout);
        for code in [0, 1, 42, 255] {
            let exit = format!("echo said; echo warned >&2; exit {code}");
            let ended = pods.exec("api", ["sh", "-c", &exit], &asked).await.expect("a session");
            let ended = Ended::of(ended).await;
            assert_eq!((ended.code(), ended.stdout.as_str()), (code, "said\n"));
            assert_eq!(ended.stderr, "warned\n");
        }
    });
}

#[test]
fn kube_rs_writes_stdin_to_its_end() {
    let Some(cluster) = installed() else { return };
    with_pods(&cluster, "admin", async |pods| {
        let asked = AttachParams::default().stdin(true);
        let mut cat = pods.exec("api", ["cat"], &asked).await.expect("a session");
        let mut stdin = cat.stdin().expect("it was asked for");
        let lines: Vec<_> = (0..50_000).map(|number| number.to_string()).collect();
        let sent = lines.join("\n");
        let write = async {
            stdin.write_all(sent.as_bytes()).await.expect("cat reads");
            stdin.shutdown().await.expect("an end");
        };
        let ((), cat) = tokio::join!(write, Ended::of(cat));
        assert_eq!((cat.code(), cat.stderr.as_str()), (0, ""));
        assert!(cat.stdout == sent, "{} bytes of {}", cat.stdout.len(), sent.len());
    });
}

#[test]
fn kube_rs_has_a_terminal_of_the_size_that_it_says() {
    let Some(cluster) = installed() else { return };
    with_pods(&cluster, "admin", async |pods| {
        let asked = AttachParams::interactive_tty();
        let mut bash = pods.exec("api", ["bash"], &asked).await.expect("a session");
        let mut size = bash.terminal_size().expect("a terminal");
        size.send(TerminalSize { width: 120, height: 40 }).await.expect("it is told");
        let mut stdin = bash.stdin().expect("a terminal has one");
        // Not as it is echoed: only as it is worked out.
        let keys = b"until stty size | grep '40 120'; do :; done; echo ready-$((40+2)); exit 7\r";
        stdin.write_all(keys).await.expect("bash reads");
        let bash = Ended::of(bash).await;
        assert_eq!(bash.code(), 7, "{}", bash.stdout);
        assert!(bash.stdout.contains("ready-42"), "{}", bash.stdout);
    });
}

#[test]
fn kube_rs_hears_why_it_is_refused() {
    let Some(cluster) = installed() else { return };
    cluster.user("stranger", "strangers");
    with_pods(&cluster, "stranger", async |pods| {
        let asked = pods.exec("api", ["ps"], &AttachParams::default()).await;
        let Err(Error::Api(refusal)) = asked.map(drop) else { panic!("not refused") };
        assert_eq!(refusal.code, 403, "{refusal:?}");
        assert!(refusal.message.contains("User \"stranger\" cannot"), "{refusal:?}");
    });
}
