//! Sessions on the node itself: what they see, and who is given one.

use harness::{Agent, Client, Heard, Listener, Requirement, Serve, run, skip, toolbox_tree};

use crate::on_containerd;

fn serve() -> Serve {
    Serve::new().in_toolbox(toolbox_tree())
}

fn allowing() -> Serve {
    serve().flag("--allow-host-targets").option("--max-profile", "netadmin")
}

/// The request for a session of `script` on the node.
fn path(script: &str, more: &str) -> String {
    let encoded: Vec<_> = script.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let encoded = encoded.concat();
    format!("/v1/node/exec?command=sh&command=-c&command={encoded}&stdout=true&stderr=true{more}")
}

/// What a session of `script` says, to its end.
fn said(agent: &Agent, script: &str, more: &str) -> Heard {
    let stream = agent.connect(Listener::Unix);
    let client = Client::open(stream, &path(script, more), "v5.channel.k8s.io");
    client.expect("a session").finish()
}

fn out(heard: &Heard) -> String {
    String::from_utf8_lossy(&heard.stdout).into_owned()
}

fn refusal(agent: &Agent, more: &str) -> (u16, String) {
    let answer = agent.refusal(&path("true", more));
    (answer.code, answer.message())
}

#[test]
fn the_node_itself_is_entered_where_host_targets_may_be() {
    on_containerd(|containerd| {
        let (code, why) = refusal(&serve().start(containerd), "");
        assert_eq!(code, 403, "{why}");
        for word in ["sessions on the node itself are not allowed here", "hostTargets"] {
            assert!(why.contains(word), "{word}: {why}");
        }
        // The node's own tools see no less without a session.
        let (code, why) = refusal(&Serve::new().start(containerd), "");
        assert!(code == 400 && why.contains("--tools toolbox"), "{code} {why}");
        let (code, why) = refusal(&allowing().start(containerd), "&profile=sysadmin");
        assert!(code == 403 && why.contains("--max-profile"), "{code} {why}");
    });
}

#[test]
fn a_session_on_the_node_sees_the_nodes_processes_network_and_files() {
    on_containerd(|containerd| {
        let agent = allowing().start(containerd);
        let file = containerd.path().join("note");
        std::fs::write(&file, "of the node").expect("a file in an own folder");
        let (file, own) = (file.display(), std::process::id());
        let script = format!(
            "readlink /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/uts; ls -d /proc/{own}; \
             cat /target{file} /etc/hostname; ls /run; \
             true >> /target{file}; true >> /proc/sys/kernel/core_pattern; \
             true >> /target/proc/sys/kernel/core_pattern; cat /target/dev/kmsg"
        );
        let heard = said(&agent, &script, "");
        let link = |kind: &str| {
            let link = std::fs::read_link(format!("/proc/2/ns/{kind}")).expect("a link");
            link.display().to_string()
        };
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let seen = [link("pid"), link("net"), link("uts"), format!("/proc/{own}")];
        let seen = format!("{}\nof the node{name}\n", seen.join("\n"));
        assert_eq!(out(&heard), seen, "{heard:?}");
        let refused = String::from_utf8_lossy(&heard.stderr);
        assert_eq!(refused.matches("Read-only file system").count(), 3, "{refused}");
        assert!(refused.contains("kmsg: Permission denied"), "{refused}");
        assert_eq!(std::fs::read_to_string(file.to_string()).expect("it"), "of the node");

        // A session that asks for the network alone has no processes of others.
        let alone = said(
            &agent,
            "ls -d /proc/[0-9]* | wc -l; readlink /proc/self/ns/net",
            "&namespaces=net",
        );
        let alone = out(&alone);
        let (count, net) = alone.split_once('\n').expect("two lines");
        assert!(count.trim().parse::<u32>().expect("a number") < 10, "{alone}");
        assert_eq!(net.trim(), link("net"));

        let write = said(&agent, &format!("echo written > /target{file}"), "&write=true");
        assert_eq!(write.status.as_ref().expect("a status")["status"], "Success", "{write:?}");
        assert_eq!(std::fs::read_to_string(file.to_string()).expect("it"), "written\n");
    });
}

/// Being in the node's own is what was asked for there: of the kinds that were, and of no other.
#[test]
fn a_session_on_the_node_is_in_the_kinds_that_it_asked_for() {
    const KINDS: [&str; 6] = ["cgroup", "ipc", "net", "pid", "time", "uts"];
    on_containerd(|containerd| {
        let agent = allowing().start(containerd);
        let link = |kind: &str| {
            let link = std::fs::read_link(format!("/proc/2/ns/{kind}")).expect("a link");
            link.display().to_string()
        };
        let script = KINDS.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
        for mask in 0_usize..1 << KINDS.len() {
            let chosen: Vec<_> = (0..KINDS.len()).filter(|bit| mask >> bit & 1 == 1).collect();
            let list = chosen.iter().map(|bit| KINDS[*bit]).collect::<Vec<_>>().join(",");
            let asked = if list.is_empty() { String::new() } else { format!("&namespaces={list}") };
            let said = out(&said(&agent, &script, &asked));
            assert_eq!(said.lines().count(), KINDS.len(), "{list}: {said}");
            for (bit, seen) in said.lines().enumerate() {
                let stays = list.is_empty() || chosen.contains(&bit);
                assert_eq!(seen == link(KINDS[bit]), stays, "{list}: {} {seen}", KINDS[bit]);
            }
        }
    });
}

#[test]
fn a_session_on_the_node_holds_its_profile_and_no_more() {
    on_containerd(|containerd| {
        let agent = allowing().start(containerd);
        // What keeps a target's processes out is nothing that root of the node would lack.
        let harmless = 0b111 << 35 | 1_u64 << 28;
        for (profile, held) in
            // Those that look into processes have what containers usually have, and trace all.
            [("baseline", 0), ("general", 0xa80c_25fb), ("netadmin", 0xa80c_35fb)]
        {
            let heard = said(&agent, "cat /proc/self/status", &format!("&profile={profile}"));
            let text = out(&heard);
            let field = |name: &str| {
                let line =
                    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
                line.unwrap_or_else(|| panic!("no {name}: {text}")).to_owned()
            };
            for set in ["CapPrm", "CapBnd"] {
                let mask = u64::from_str_radix(&field(set), 16).expect("a mask");
                assert_eq!(mask & !harmless, held, "{set} under {profile}: {text}");
            }
            assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".into(), "2".into()));
            let uid = if profile == "baseline" { "65533" } else { "0" };
            assert_eq!(field("Uid"), [uid; 4].join("\t"), "{profile}");
        }
    });
}

/// To run as the target's user would be to run as root there, who reads `/etc/shadow`.
#[test]
fn nobody_runs_as_the_nodes_own_user() {
    on_containerd(|containerd| {
        let agent = allowing().start(containerd);
        for asked in ["&profile=restricted", "&run-as=target"] {
            let (code, why) = refusal(&agent, asked);
            assert!(
                code == 403 && why.contains("the node has no user to run as"),
                "{asked}: {code} {why}"
            );
        }
        let said = said(&agent, "cat /target/etc/shadow", "&profile=baseline");
        let refused = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(refused.contains("Permission denied"), "{refused}");
    });
}

#[test]
fn a_session_on_the_node_is_listed_written_down_and_kept_from_strangers() {
    on_containerd(|containerd| {
        let log = containerd.path().join("audit.log");
        let serve =
            allowing().with_tls().option("--audit-log", log.to_str().expect("a plain path"));
        let agent = serve.start(containerd);
        let stream = agent.connect(Listener::Unix);
        let script = "echo begun; exec sleep 86400";
        let session = Client::open(stream, &path(script, "&reason=INC-7"), "v5.channel.k8s.io");
        let mut session = session.expect("a session");
        session.wait_for_stdout("begun");
        let address = format!("unix:{}", agent.socket().display());
        let tell = |words: &[&str]| run(harness::agent().args(words).args(["--agent", &address]));
        let list = tell(&["sessions", "-o", "json"]).expect_success();
        let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("a list");
        assert_eq!((&list[0]["container"], &list[0]["pid"]), (&"node".into(), &2.into()));

        let beside =
            Client::open(agent.connect(Listener::Tls), &path("true", ""), "v5.channel.k8s.io");
        let refused = beside.expect_err("a stranger");
        assert!(
            refused.code == 409
                && refused.body.contains("different callers cannot share its processes"),
            "{refused:?}"
        );

        let id = list[0]["id"].as_str().expect("an ID");
        tell(&["kill", id]).expect_success();
        assert_eq!(session.finish().close.map(|(code, _)| code), Some(1011));
        let lines = std::fs::read_to_string(&log).expect("a log");
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let of = |event: &str| lines.iter().find(|line| line["event"] == event).expect("a line");
        for event in ["start", "end", "refused"] {
            assert_eq!(of(event)["target"], "node", "{event}");
        }
        let start = of("start");
        assert_eq!((&start["pid"], &start["reason"]), (&2.into(), &"INC-7".into()));
        assert!(start["container"].is_null() && start["pod"].is_null(), "{start}");
    });
}

/// A volume of a pod that is unmounted on the node is free, whatever session looks at the node.
#[test]
fn a_session_on_the_node_keeps_no_volume_that_the_node_lets_go() {
    if skip(["losetup", "mkfs.ext4"].map(Requirement::program)) {
        return;
    }
    on_containerd(|containerd| {
        let agent = allowing().start(containerd);
        let (image, volume) = (containerd.path().join("image"), containerd.path().join("volume"));
        std::fs::create_dir(&volume).expect("a folder in an own folder");
        let file = std::fs::File::create(&image).expect("a file in an own folder");
        file.set_len(4 << 20).expect("a size");
        // As on a node, where systemd makes every mount a shared one.
        let script = "mkfs.ext4 -q $0 && mount --bind $1 $1 && mount --make-shared $1 && mount -o loop $0 $1";
        let sh = |script: &str| {
            let mut command = std::process::Command::new("sh");
            run(command.args(["-c", script]).args([&image, &volume])).expect_success().out()
        };
        sh(script);
        let stream = agent.connect(Listener::Unix);
        let script = format!("ls /target{}; exec cat", volume.display());
        let session = Client::open(stream, &path(&script, "&stdin=true"), "v5.channel.k8s.io");
        let mut session = session.expect("a session");
        session.wait_for_stdout("lost+found");
        assert_eq!(sh("umount $1; losetup --associated $0"), "", "the volume is still attached");
        session.close_stdin();
        session.finish();
        sh("umount $1");
    });
}
