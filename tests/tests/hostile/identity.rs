//! Who a tool is: the user and groups of its target, with no more over files than the target's own processes have.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use harness::session_process::SUPERVISOR;
use harness::{Container, Finished, IdMap, RunSpec, Running, may_skip, request, run};

use crate::stage::{Stage, bind};

/// A server that is no root and never becomes one: with groups of its own.
pub(crate) const PLAIN: [&str; 3] = ["as", "1000:1000:2000,3000", "serve"];

/// What a tool of each profile holds beside the canary.
const HELD: [(&str, u64); 4] =
    [("restricted", 0), ("baseline", 0), ("general", 0x2020), ("netadmin", 0x3020)];
const TRACES_ALL: u64 = 1 << 19;
const CANARY: u64 = 1 << 35;

/// Says so for each process that cannot be looked into, but for the session's own supervisor.
fn look() -> String {
    format!(
        "for p in /proc/[0-9]*; do
        grep -qx {SUPERVISOR} $p/comm || readlink $p/cwd > /dev/null 2>&1 || echo closed; done"
    )
}

fn plain(stage: &Stage) -> Container<'_> {
    stage.containerd.run(&stage.spec("plain").arguments(&PLAIN))
}

fn field(said: &Finished, name: &str) -> String {
    let text = said.out();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("no {name}: {said}")).trim().replace('\t', " ")
}

fn permitted(said: &Finished) -> u64 {
    u64::from_str_radix(&field(said, "CapPrm"), 16).expect("a mask")
}

#[test]
fn a_tool_is_its_target_and_reads_no_more_files() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let plain = plain(&stage);
    for (profile, held) in HELD {
        let said = stage.session(&plain, profile, &["cat", "/proc/self/status"]).expect_success();
        let (id, groups) =
            if profile == "baseline" { ("65533", "") } else { ("1000", "2000 3000") };
        assert_eq!(field(&said, "Uid"), [id; 4].join(" "), "{profile}: {said}");
        assert_eq!(field(&said, "Gid"), [id; 4].join(" "), "{profile}: {said}");
        assert_eq!(field(&said, "Groups"), groups, "{profile}: {said}");
        assert_eq!(permitted(&said), held | CANARY, "{profile}: {said}");
        assert!(!said.err().contains("look into"), "{profile} sees all there is: {said}");
    }
    // A file of another user of the node, in a volume: the target cannot read it.
    let secret = stage.folder().join("secret");
    std::fs::write(&secret, "secret").expect("a file in an own folder");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("a mode");
    let read = ["probe", "read", "/target/probe/secret", "/proc/1/root/probe/secret"];
    for profile in ["restricted", "general", "netadmin"] {
        let said = stage.session(&plain, profile, &read);
        assert_eq!(said.out().matches(" EACCES\n").count(), 2, "{profile}: {said}");
    }
    // Nor by being another user.
    let mut root = stage.exec(&plain, &["--profile", "general", "--run-as", "0", "--"]);
    let refused = run(root.arg("true")).expect_code(125);
    assert!(refused.err().contains("cannot run as uid 0,"), "{refused}");
    // By its groups.
    std::os::unix::fs::chown(&secret, None, Some(3000)).expect("a group");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o640)).expect("a mode");
    let said = stage.session(&plain, "general", &read);
    assert_eq!(said.out().matches(" done\n").count(), 2, "{said}");
}

/// Every pod that is not root: each of these has said nothing there, and ended with 0.
#[test]
fn the_tools_work_beside_a_target_that_is_not_root() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let plain = plain(&stage);
    for profile in ["general", "netadmin"] {
        for (words, seen) in [
            (&["ss", "-tlnp"][..], "target-app"),
            (&["lsof", "-p", "1"], "IPv4"),
            (&["ls", "-l", "/proc/1/fd"], "socket:"),
            (&["sh", "-c", "fuser -v 8080/tcp 2>&1 || ls /proc/1/fd"], "1"),
            (&["sh", "-c", "timeout 1 strace -f -p 1 2>&1; [ $? = 124 ]"], "attached"),
            (&["ping", "-c", "1", "127.0.0.1"], "1 received"),
            (&["sh", "-c", "echo kept > $HOME/x && echo kept > /tmp/x && cat ~/x"], "kept"),
            (&["sh", "-c", "echo by-name > /dev/stdout; echo by-name > /dev/stderr"], "by-name"),
            (&["sh", "-c", "stat -c %a-%u /tmp; kill -0 1 && echo reached"], "1777-1000\nreached"),
        ] {
            let said = stage.session(&plain, profile, words);
            assert!(
                said.code() == 0 && said.out().contains(seen),
                "no {seen} of {words:?}: {said}"
            );
        }
    }
    let words = ["tcpdump", "-i", "any", "-U", "-w", "-", "tcp", "port", "8080"];
    let mut command = stage.exec(&plain, &["--profile", "general", "--"]);
    let capture = Running::start(command.args(words));
    capture.wait_for_stderr("listening on any");
    request(plain.pid(), "/");
    capture.wait_for_stdout("hello from the container");
    capture.signal(rustix::process::Signal::INT);
    capture.finish().expect_success();
}

#[test]
fn a_pod_of_several_users_is_seen_whole_or_it_is_said_whose_part_is_not() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let plain = plain(&stage);
    let look = ["sh", "-c", &look()];
    let whole = stage.session(&plain, "general", &look).expect_success();
    assert!(!whole.out().contains("closed") && !whole.err().contains("look into"), "{whole}");
    for other in ["0:0:0", "33:33:33"] {
        let words = ["/target-app", "as", other, "sleep", "600"];
        let other_user = Running::start(&mut stage.inside(&plain, &words));
        let uid = other.split(':').next().expect("a user");
        harness::until("the other user to be told", Duration::from_secs(10), || {
            let said = stage.session(&plain, "general", &look);
            let told = format!("cannot inspect processes of uid {uid} ");
            said.out().contains("closed") && said.err().contains(&told)
        });
        // Who may rule the node anyway looks into all of them.
        let mut all = stage.exec(&plain, &["--profile", "general", "--allow-host-targets", "--"]);
        let all = run(all.args(look)).expect_success();
        assert!(!all.out().contains("closed") && !all.err().contains("look into"), "{all}");
        drop(other_user);
        harness::until("it to be gone", Duration::from_secs(10), || plain.processes().len() == 1);
    }
    let mut all = stage.exec(&plain, &["--profile", "general", "--allow-host-targets", "--"]);
    let said = run(all.args(["cat", "/proc/self/status"])).expect_success();
    assert_eq!(permitted(&said), 0x2020 | TRACES_ALL | CANARY, "{said}");
    let baseline = stage.session(&plain, "baseline", &["cat", "/proc/self/status"]);
    assert_eq!(permitted(&baseline), CANARY, "{baseline}");
}

/// uid 0 of the node beside it would write to what only root of the node may, for that `/proc` is its own to mount.
#[test]
fn beside_a_user_namespace_no_tool_is_root_of_the_node() {
    const ORDERS: [&str; 3] =
        ["proc/sys/kernel/core_pattern", "proc/sys/kernel/modprobe", "proc/sysrq-trigger"];
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let map = IdMap { first_on_node: 100_000, count: 65536 };
    let mapped = stage.containerd.run(&own_proc(&stage, "mapped").user_namespace(map));
    let files: Vec<_> = ["/proc/1/root/open/", "/proc/1/root/", "/target/open/"]
        .iter()
        .flat_map(|root| ORDERS.map(|file| format!("{root}{file}")))
        .collect();
    let files = files.iter().map(String::as_str);
    let words: Vec<_> = ["probe", "write"].into_iter().chain(files).collect();
    for (profile, held) in HELD {
        let said = stage.session(&mapped, profile, &["cat", "/proc/self/status"]).expect_success();
        let id = if profile == "baseline" { "65533" } else { "100000" };
        assert_eq!(field(&said, "Uid"), [id; 4].join(" "), "{profile}: {said}");
        assert_eq!(permitted(&said), held | CANARY, "{profile}: {said}");
        let said = stage.session(&mapped, profile, &words);
        assert_eq!(said.out().lines().count(), words.len() - 2, "{said}");
        assert!(!said.out().contains(" done\n"), "under {profile}: {said}");
    }
    for user in ["0", "0:100000", "100000:0"] {
        let mut root = stage.exec(&mapped, &["--profile", "general", "--run-as", user, "--"]);
        let refused = run(root.arg("true")).expect_code(125);
        assert!(refused.err().contains("cannot run as uid"), "{refused}");
    }
    // What is in a user namespace of its own only who may rule the node looks into.
    let scripts = ["ss -tlnp", "readlink /proc/1/fd/*"];
    let sees = |said: Finished| said.out().contains("target-app") || said.out().contains("socket:");
    for script in scripts {
        let said = stage.session(&mapped, "general", &["sh", "-c", script]);
        assert!(said.err().contains("cannot inspect processes of uid"), "{said}");
        assert!(!sees(said), "{script}");
        let mut all = stage.exec(&mapped, &["--profile", "general", "--allow-host-targets", "--"]);
        assert!(sees(run(all.args(["sh", "-c", script]))), "{script}");
    }
}

/// With one more `/proc`, which nothing of is hidden or made read-only.
fn own_proc(stage: &Stage, id: &str) -> RunSpec {
    stage.spec(id).option(&["--mount", "type=proc,src=proc,dst=/open/proc,options=rw"])
}

/// Who drops what it holds, as ping does, drops what keeps its neighbours out: the same user, in the target, waits for it.
#[test]
fn a_tool_that_gives_up_what_it_holds_is_not_taken_over_by_its_own_user() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let plain = plain(&stage);
    let mut command = stage.exec(&plain, &["--profile", "general", "--"]);
    let ping = Running::start(command.args(["ping", "-i", "1", "127.0.0.1"]));
    ping.wait_for_stdout("icmp_seq=1");
    let mut user = stage.containerd.ctr_command(plain.namespace());
    user.args(["task", "exec", "--exec-id", "neighbour", "--user", "1000:1000", plain.id()]);
    let said = run(user.args(["/probe/attacker", "try", "ping"])).expect_success();
    assert!(said.out().contains("tried seize") && !said.out().contains("HOLE"), "{said}");
    ping.signal(rustix::process::Signal::INT);
    ping.finish().expect_success();
}

/// A program that asks for less by another way keeps it too: by what the next exec gives, and by how root's is made.
#[test]
fn no_way_but_another_user_gives_up_what_keeps_the_targets_processes_out() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let root = stage.containerd.run(&stage.spec("root"));
    let shown = ["cat", "/proc/self/status"];
    let before = permitted(&stage.session(&root, "general", &shown).expect_success());
    assert_eq!(before & CANARY, CANARY);
    for asked in [&["--bounding-set=-all"][..], &["--securebits=+noroot,+noroot_locked"]] {
        let words: Vec<_> = ["setpriv"].iter().chain(asked).chain(&shown).copied().collect();
        let said = stage.session(&root, "general", &words).expect_success();
        assert_eq!(permitted(&said), before, "{asked:?}: {said}");
    }
}

/// What the same user may do to a tool without looking into it, as kill(2), prlimit(2) and its like go by user alone: end
/// it or make it slower, and nothing that gives anything away.
#[test]
fn the_targets_own_user_can_end_a_tool_and_raise_no_limit_of_it() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let plain = plain(&stage);
    let session = stage.waiting(&plain, &["--profile", "general"]);
    let as_user = |words: &[&str]| {
        let mut user = stage.containerd.ctr_command(plain.namespace());
        user.args(["task", "exec", "--exec-id", words[1], "--user", "1000:1000", plain.id()]);
        run(user.arg("/probe/attacker").args(words)).expect_success()
    };
    let said = as_user(&["meddle", "probe"]);
    for (attempt, answer) in [
        ("raise-core", "EPERM"),
        ("migrate-pages", "EPERM"),
        ("move-pages", "EPERM"),
        ("write-comm", "EINVAL"),
        ("less-likely-killed", "EACCES"),
    ] {
        assert!(said.out().contains(&format!("{attempt} {answer}\n")), "{attempt}: {said}");
    }
    assert!(said.out().contains("signal done\n"), "it may be ended: {said}");
    let ended = session.finish();
    assert_eq!(ended.code(), 137, "{ended}");
}

/// The token that a pod has in its cluster, which everybody in the pod may read: who only looks does not become the pod.
#[test]
fn who_is_nobody_sees_no_token_of_the_pod() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let account = stage.account();
    let place = "/run/secrets/kubernetes.io/serviceaccount";
    // Shared mounts, as of a volume with propagation: what is hidden here is hidden from nobody else.
    let mount = format!("type=bind,src={},dst={place},options=rbind:rshared:rw", account.display());
    let site = stage.containerd.run(&stage.spec("site").option(&["--mount", &mount]));
    let token = format!("{place}/token");
    let seen = |profile: &str| {
        let (there, reached) = (format!("/target{token}"), format!("/proc/1/root{token}"));
        stage.session(&site, profile, &["probe", "read", &there, &reached]).out()
    };
    let said = seen("baseline");
    assert!(said.contains("token ENOENT\n") && said.contains("token EACCES\n"), "{said}");
    for profile in ["restricted", "general"] {
        assert!(seen(profile).contains(&format!("/target{token} done\n")), "{profile}");
    }
    // As the target's user it would see all that `restricted` does.
    let mut other = stage.exec(&site, &["--profile", "baseline", "--run-as", "target", "--"]);
    let refused = run(other.args(["cat", &format!("/target{token}")])).expect_code(125);
    assert!(refused.err().contains("cannot be used with the profile `baseline`"), "{refused}");
    let own = run(&mut stage.inside(&site, &["/probe/probe", "read", &token]));
    assert_eq!(own.out(), format!("{token} done\n"), "the target keeps it: {own}");
    assert!(account.join("token").is_file(), "and so does the node");
}

/// Who only looks has a user that no process around has: that one's files and memory would be its own.
#[test]
fn who_is_nobody_is_no_user_of_the_pod() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let own = "65533:65533:65533";
    let same = stage.containerd.run(&stage.spec("same").arguments(&["as", own, "serve"]));
    let said = stage.session(&same, "baseline", &["cat", "/proc/self/status"]).expect_success();
    assert_eq!(field(&said, "Uid"), ["65531"; 4].join(" "), "{said}");
    assert_eq!(field(&said, "Gid"), ["65531"; 4].join(" "), "{said}");
    let said = stage.session(&same, "baseline", &["sh", "-c", "cat /proc/1/environ && echo read"]);
    assert!(!said.out().contains("read"), "{said}");
    // A process that the target is not, but beside it.
    let plain = plain(&stage);
    let beside = ["/target-app", "as", own, "sleep", "600"];
    let other_user = Running::start(&mut stage.inside(&plain, &beside));
    let own_user = ["--profile", "general", "--run-as", "65533", "--", "true"];
    for options in [&["--profile", "baseline", "--", "true"][..], &own_user] {
        harness::until("it to be refused", Duration::from_secs(10), || {
            let refused = run(&mut stage.exec(&plain, options));
            refused.code() == 125
                && refused.err().contains("cannot run the tool with the user or group")
        });
    }
    stage.session(&plain, "general", &["true"]).expect_success();
    drop(other_user);
    harness::until("it to be let in", Duration::from_secs(10), || {
        stage.session(&plain, "baseline", &["true"]).code() == 0
    });
}

#[test]
fn a_target_with_a_writable_proc_or_sys_of_the_node_is_a_host_target() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let open = stage.containerd.run(&own_proc(&stage, "open"));
    let sys = bind(Path::new("/sys"), "/open/sys", "rw");
    let sys = stage.containerd.run(&stage.spec("opensys").option(&["--mount", &sys]));
    for (site, why) in [(&open, "/open/proc"), (&sys, "/open/sys")] {
        let refused = stage.session(site, "baseline", &["true"]).expect_code(125);
        assert!(refused.err().contains("host target") && refused.err().contains(why), "{refused}");
        let mut allowed = stage.exec(site, &["--profile", "baseline", "--allow-host-targets"]);
        run(allowed.args(["--", "true"])).expect_success();
    }
}
