//! What a container has of its node counts, whatever its process shows of it: that one may change its root, or make
//! itself a user namespace, and the rest of the container keeps what it has.

use std::path::Path;
use std::process::Command;

use harness::{Container, Finished, Serve, agent as nsdebug, app_binary, may_skip, refused, run};
use serde_json::{Value, json};

use crate::stage::{Stage, bind};

/// What a target is told to do that shows none of its mounts but the one of `/probe`.
const BELOW: &[&str] = &["below", "/probe", "serve"];
/// The same of one that shows none at all.
const ELSEWHERE: &[&str] = &["elsewhere", "serve"];

/// A session by the number of the process, where nobody asks containerd.
fn by_pid(stage: &Stage, site: &Container<'_>, options: &[&str], words: &[&str]) -> Finished {
    let mut command = stage.exec_by(&["--pid", &site.pid().to_string()]);
    run(command.args(options).arg("--").args(words))
}

#[test]
fn a_target_that_changes_its_root_hides_nothing_that_makes_it_a_host_target() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let socket = stage.containerd.socket();
    let etc = Path::new("/etc");
    for (name, of_node, how, said, hides) in [
        ("writes", etc, "rw", "/etc of the node", BELOW),
        ("reads", etc, "ro", "/etc of the node", BELOW),
        ("asks", &socket, "ro", "runtime's socket", BELOW),
        ("orders", Path::new("/sys"), "rw", "/sys of the node", BELOW),
        ("elsewhere", etc, "rw", "/etc of the node", ELSEWHERE),
    ] {
        let mount = bind(of_node, "/hidden", how);
        let spec = stage.spec(name).option(&["--mount", &mount]).arguments(hides);
        let site = stage.containerd.run(&spec);
        let shown = std::fs::read_to_string(format!("/proc/{}/mountinfo", site.pid()));
        assert!(!shown.expect("mounts").contains("/hidden"), "{name} does not hide it");
        for profile in ["baseline", "general"] {
            let refused = stage.session(&site, profile, &["true"]).expect_code(125);
            let word = refused.err();
            assert!(word.contains("host target") && word.contains(said), "{name}: {refused}");
            assert!(word.contains("/hidden"), "{name}: {refused}");
            let refused = by_pid(&stage, &site, &["--profile", profile], &["true"]);
            let word = refused.expect_code(125).err();
            let seen = if name == "orders" { "kernel settings of /sys" } else { said };
            assert!(word.contains("host target") && word.contains(seen), "{name}: {word}");
            assert!(word.contains("/hidden"), "{name}: {word}");
        }
        let allowed = ["--profile", "baseline", "--allow-host-targets"];
        by_pid(&stage, &site, &allowed, &["true"]).expect_success();
    }
}

#[test]
fn one_that_hides_nothing_of_the_node_is_entered_and_its_token_is_covered() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let account = stage.account();
    let place = "/run/secrets/kubernetes.io/serviceaccount";
    let mount = bind(&account, place, "ro");
    let spec = stage.spec("below").option(&["--mount", &mount]).arguments(BELOW);
    let site = stage.containerd.run(&spec);
    let token = format!("/target{place}/token");
    for profile in ["baseline", "general"] {
        let words = ["probe", "read", &token];
        let seen = stage.session(&site, profile, &words).out();
        let also = by_pid(&stage, &site, &["--profile", profile], &words).out();
        let expected = if profile == "baseline" { "ENOENT" } else { "done" };
        for said in [seen, also] {
            assert_eq!(said, format!("{token} {expected}\n"), "{profile}");
        }
    }
}

#[test]
fn a_target_that_makes_itself_a_user_namespace_gives_up_nothing_of_its_container() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let apart = ["apart", "serve"];
    let mount = bind(Path::new("/etc"), "/hidden", "rw");
    let writes = stage.spec("writes").option(&["--mount", &mount]).arguments(&apart);
    let traces = stage.spec("traces").option(&["--cap-add", "CAP_SYS_PTRACE"]).arguments(&apart);
    for (spec, said) in [(writes, "/etc of the node"), (traces, "CAP_SYS_PTRACE")] {
        let site = stage.containerd.run(&spec);
        assert_ne!(site.namespace_of("user"), namespace_of_this("user"), "it left");
        let refused = stage.session(&site, "baseline", &["true"]).expect_code(125);
        let word = refused.err();
        assert!(word.contains("host target") && word.contains(said), "{refused}");
    }
    let plain = stage.containerd.run(&stage.spec("plain").arguments(&apart));
    stage.session(&plain, "baseline", &["true"]).expect_success();
}

fn namespace_of_this(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
    link.to_string_lossy().into_owned()
}

/// A container like `model` that may open what `devices` say, which no option of `ctr` gives.
fn with_devices(stage: &Stage, model: &Container<'_>, devices: &Value) -> String {
    let told =
        stage.containerd.ctr(model.namespace(), &["containers", "info", "--spec", model.id()]);
    let mut spec: Value = serde_json::from_str(&told.expect_success().out()).expect("a spec");
    let id = format!("devices-{}", devices.as_array().map_or(0, Vec::len));
    let root = stage.path().join(&id);
    std::fs::create_dir(&root).expect("a folder in an own folder");
    std::fs::copy(app_binary(), root.join("target-app")).expect("a copy");
    spec["root"] = json!({"path": root});
    spec["process"]["args"] = json!(["/target-app", "sleep", "600"]);
    spec["linux"]["resources"]["devices"] = devices.clone();
    spec["linux"]["cgroupsPath"] = json!(format!("{}/{id}", stage.containerd.cgroup()));
    let file = stage.path().join(format!("{id}.json"));
    std::fs::write(&file, spec.to_string()).expect("a file in an own folder");
    let (file, runc) =
        (file.display().to_string(), stage.path().join("runc").display().to_string());
    let run = ["run", "--detach", "--null-io", "--runc-root", &runc, "--config", &file, &id];
    stage.containerd.ctr(model.namespace(), &run).expect_success();
    id
}

#[test]
fn a_container_that_may_make_devices_and_open_them_is_a_host_target() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let model = stage.containerd.run(&stage.spec("model").arguments(&["sleep", "600"]));
    let none = json!({"allow": false, "access": "rwm"});
    let closed = with_devices(&stage, &model, &json!([none]));
    let disks = json!({"allow": true, "type": "b", "access": "rwm"});
    let open = with_devices(&stage, &model, &json!([none, disks]));
    let session = |id: &str, options: &[&str]| {
        let mut command = stage.exec_by(&["--container", id, "--profile", "baseline"]);
        run(command.args(options).args(["--", "true"]))
    };
    session(&closed, &[]).expect_success();
    let refused = session(&open, &[]).expect_code(125);
    let word = refused.err();
    assert!(word.contains("CAP_MKNOD, and its devices are open"), "{refused}");
    session(&open, &["--allow-host-targets"]).expect_success();
    for id in [closed, open] {
        stage.containerd.ctr(model.namespace(), &["task", "delete", "--force", &id]);
        stage.containerd.ctr(model.namespace(), &["containers", "delete", &id]);
    }
}

#[test]
fn a_target_with_the_nodes_own_proc_is_a_host_target_though_it_may_only_read_it() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    for (name, of_node) in [("all-of-it", "/proc"), ("one-process", "/proc/1")] {
        let mount = bind(Path::new(of_node), "/hostproc", "ro");
        let site = stage.containerd.run(&stage.spec(name).option(&["--mount", &mount]));
        for profile in ["baseline", "general"] {
            // Without containerd's copy of its spec, too.
            let refused = by_pid(&stage, &site, &["--profile", profile], &["true"]);
            let word = refused.expect_code(125).err();
            let said = "it has the node's own /proc, at /hostproc";
            assert!(word.contains("host target") && word.contains(said), "{name}: {word}");
            stage.session(&site, profile, &["true"]).expect_code(125);
        }
        let allowed = ["--profile", "baseline", "--allow-host-targets"];
        by_pid(&stage, &site, &allowed, &["true"]).expect_success();
    }
}

#[test]
fn a_way_to_a_socket_that_the_agent_itself_uses_makes_a_host_target_whatever_it_is_called() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let asked = stage.path().join("ways");
    std::fs::create_dir(&asked).expect("a folder in an own folder");
    let socket = asked.join("c.sock");
    std::fs::hard_link(stage.containerd.socket(), &socket).expect("another name of a socket");
    let name = socket.to_str().expect("a plain path");
    let agent = Serve::new().in_toolbox(&stage.tree()).asking(&socket).start(&stage.containerd);
    let own = agent.socket().to_owned();
    let folder = own.parent().expect("a folder");
    for (id, mounted, said) in [
        ("asked", asked.as_path(), &socket),
        ("asked-itself", &socket, &socket),
        ("listens", folder, &own),
        ("listens-itself", &own, &own),
    ] {
        let mount = bind(mounted, "/way", "ro");
        let site = stage.containerd.run(&stage.spec(id).option(&["--mount", &mount]));
        let refused = refused(&mut agent.exec(id, &["true"]), 125);
        let why = format!("{} of this agent, or a directory around it, at /way", said.display());
        assert!(refused.err().contains(&why), "{id}: {refused}");
        drop(site);
    }
    // By `exec`, which asks the same containerd and listens nowhere.
    let mount = bind(&asked, "/way", "ro");
    let site = stage.containerd.run(&stage.spec("by-exec").option(&["--mount", &mount]));
    let mut command = nsdebug();
    command.args(["exec", "--tools", "toolbox", "--containerd", name, "--toolbox"]);
    command.arg(stage.tree()).args(["--container", site.id(), "--", "true"]);
    let refused = run(&mut command).expect_code(125);
    assert!(
        refused.err().contains("c.sock of this agent, or a directory around it, at /way"),
        "{refused}"
    );
    let others = bind(&stage.folder(), "/other", "ro");
    let plain = stage.containerd.run(&stage.spec("plain").option(&["--mount", &others]));
    run(&mut agent.exec(plain.id(), &["true"])).expect_success();
}

#[test]
fn a_container_with_a_disk_of_the_node_is_a_host_target() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    // No disk has this number: the kernel has none for devices of its own.
    let disk = stage.path().join("disk");
    run(Command::new("mknod").arg(&disk).args(["b", "259", "1048000"])).expect_success();
    let device = disk.to_str().expect("a plain path");
    let site = stage.containerd.run(&stage.spec("disk").option(&["--device", device]));
    for profile in ["baseline", "general"] {
        let refused = stage.session(&site, profile, &["true"]).expect_code(125);
        let word = refused.err();
        let said = format!("it has a disk of the node as a device, at {device}");
        assert!(word.contains("host target") && word.contains(&said), "{refused}");
    }
    let allowed = ["--profile", "general", "--allow-host-targets", "--", "true"];
    run(&mut stage.exec(&site, &allowed)).expect_success();
}

/// Mounts of a node of its own, whose first process is this shell: one of them has a name that is no text. Beside it a
/// target with a Secret, which is told by where the node has it. `$1` is an own folder; the rest is a session without
/// its target and its command.
const NODE_WITH_A_NAMELESS_MOUNT: &str = r#"
set -e
cd "$1"; shift
mkdir -p kubernetes.io~secret/tls vol/a vol/b creds
mount -t tmpfs secret kubernetes.io~secret/tls
echo TOPSECRET > kubernetes.io~secret/tls/password
chmod 755 kubernetes.io~secret/tls
mount --bind vol/a vol/b
mv vol/a vol/$'\377'
unshare --mount --net --ipc --uts --cgroup --pid --fork --kill-child bash -c '
    mount --bind kubernetes.io~secret/tls creds; echo up; exec sleep 1000' > up &
target=$!
until grep -q up up; do kill -0 $target; done
"$@" --pid "$(pgrep --parent $target)" -- bash -c 'test -d "$0"; cat "$0/password"' "/target$PWD/creds"
"#;

#[test]
fn a_mount_of_the_node_with_a_name_that_is_no_text_uncovers_no_secret() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let folder = stage.path().join("node");
    std::fs::create_dir(&folder).expect("a folder in an own folder");
    let session = |profile: &str| {
        // Its control groups would be those of this machine.
        let options = ["--allow-host-targets", "--no-session-cgroup", "--profile", profile];
        let exec = stage.exec_by(&options);
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]);
        command.args(["bash", "-c", NODE_WITH_A_NAMELESS_MOUNT, "node"]).arg(folder.join(profile));
        std::fs::create_dir(folder.join(profile)).expect("a folder in an own folder");
        run(command.arg(exec.get_program()).args(exec.get_args()))
    };
    let seen = session("general").expect_success();
    assert_eq!(seen.out(), "TOPSECRET\n", "{seen}");
    let covered = session("baseline");
    assert!(covered.err().contains("No such file"), "{covered}");
    assert_eq!(covered.out(), "", "{covered}");
}

/// On a node where every mount is shared, as systemd makes them: what is mounted there later would come along.
#[test]
fn no_mount_of_a_session_but_the_targets_is_a_peer_of_one_of_the_node() {
    if may_skip(Stage::requirement()) {
        return;
    }
    let stage = Stage::set();
    let site = stage.containerd.run(&stage.spec("peers"));
    let mounts = ["--profile", "general", "--", "cat", "/proc/self/mountinfo"];
    let session = stage.exec(&site, &mounts);
    let mut among_shared = Command::new("unshare");
    among_shared.args(["--mount", "--propagation", "shared"]);
    among_shared.arg(session.get_program()).args(session.get_args());
    let mounts = run(&mut among_shared).expect_success().out();
    let of_session: Vec<_> = mounts.lines().filter(|line| !line.contains(" /target")).collect();
    assert!(of_session.iter().any(|line| line.contains(" /dev/null ")), "{mounts}");
    for line in of_session {
        assert!(!line.contains(" shared:") && !line.contains(" master:"), "{line}");
    }
}
