//! Clients that know nothing of us: the real `kubectl exec`, unchanged, behind a proxy that only rewrites the path.

use std::process::Command;

use harness::{Cluster, Finished, ReverseProxy, Running, Terminal, run};

use crate::stage::installed;

/// 200 MB of lines that differ.
const LINES: &str = "24000000";

/// `kubectl exec` in shop/api.
fn kubectl_exec(cluster: &Cluster, proxy: &ReverseProxy, arguments: &[&str]) -> Command {
    let mut kubectl = cluster.command("kubectl");
    kubectl.args(["--kubeconfig", proxy.kubeconfig(), "exec", "-n", "shop", "api"]);
    kubectl.args(arguments);
    kubectl
}

/// The same with a shell around it, where `$EXEC` is everything before `--`.
fn pipeline(cluster: &Cluster, proxy: &ReverseProxy, script: &str) -> Finished {
    let exec = format!("kubectl --kubeconfig {} exec -n shop api", proxy.kubeconfig());
    run(cluster.command("sh").env("EXEC", exec).args(["-c", script])).expect_success()
}

#[test]
fn kubectl_exec_runs_tools_that_the_image_does_not_have() {
    let Some(cluster) = installed() else { return };
    let proxy = ReverseProxy::start(&cluster, "admin");
    let ps = run(&mut kubectl_exec(&cluster, &proxy, &["--", "ps", "-ef"])).expect_success();
    assert!(ps.out().contains("/target-app serve children=2"), "{ps}");
    for code in [0, 1, 42, 255] {
        let exit = format!("echo said; echo warned >&2; exit {code}");
        let ended = run(&mut kubectl_exec(&cluster, &proxy, &["--", "sh", "-c", &exit]));
        assert_eq!((ended.code(), ended.out().as_str()), (code, "said\n"), "{ended}");
        assert!(ended.err().starts_with("warned\n"), "{ended}");
    }
}

#[test]
fn kubectl_exec_reads_stdin_to_its_end() {
    let Some(cluster) = installed() else { return };
    let proxy = ReverseProxy::start(&cluster, "admin");
    let mut cat = Running::start(&mut kubectl_exec(&cluster, &proxy, &["-i", "--", "cat"]));
    assert!(cat.write(b"one\n"));
    cat.wait_for_stdout("one\n");
    assert!(cat.write(b"two\n"));
    cat.close_stdin();
    assert_eq!(cat.finish().expect_success().out(), "one\ntwo\n");
}

#[test]
fn kubectl_exec_has_a_terminal() {
    let Some(cluster) = installed() else { return };
    let proxy = ReverseProxy::start(&cluster, "admin");
    let bash = kubectl_exec(&cluster, &proxy, &["-it", "--", "bash"]);
    let mut shell = Terminal::start(&bash, 30, 100);
    // Not as it is echoed: only as it is worked out.
    shell.press("stty size; echo ready-$((40+2))\r");
    shell.wait_for("ready-42");
    shell.resize(40, 120);
    shell.press("until stty size | grep '40 120'; do :; done; exit 7\r");
    let (code, shown) = shell.finish();
    assert_eq!(code, 7, "{shown}");
    assert!(shown.contains("30 100"), "{shown}");
}

#[test]
fn two_hundred_megabytes_go_through_kubectl_exec_each_way() {
    let Some(cluster) = installed() else { return };
    let proxy = ReverseProxy::start(&cluster, "admin");
    let expected = pipeline(&cluster, &proxy, &format!("seq 1 {LINES} | sha256sum")).out();
    let from = pipeline(&cluster, &proxy, &format!("$EXEC -- seq 1 {LINES} | sha256sum")).out();
    assert_eq!(from, expected);
    let to = pipeline(&cluster, &proxy, &format!("seq 1 {LINES} | $EXEC -i -- sha256sum")).out();
    assert_eq!(to, expected);
}
