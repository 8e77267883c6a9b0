//! `check` says what this node can do, and leaves it as it was.

use std::process::Command;

use harness::{Containerd, Finished, agent, run, toolbox_tree};

use crate::on_containerd;

fn check(command: &mut Command, containerd: &Containerd) -> Finished {
    command.args(["check", "--tools", "toolbox", "--containerd"]).arg(containerd.socket());
    run(command)
}

#[test]
fn a_node_where_sessions_work_passes_the_check() {
    on_containerd(|containerd| {
        let passed = check(agent().arg("--log-level=warn"), containerd);
        assert_eq!(passed.code(), 1, "no toolbox is named: {passed}");
        assert!(passed.out().contains("MISSING  toolbox"), "{passed}");

        let mut with_tools = agent();
        with_tools.env("NSDEBUG_TOOLBOX", toolbox_tree());
        let passed = check(&mut with_tools, containerd).expect_success();
        assert!(!passed.out().contains("MISSING"), "{passed}");
        for line in [
            "ok       containerd             containerd ",
            "ok       profile general",
            "ok       private mounts",
            "ok       pivot_root",
            "ok       seccomp filter",
            "ok       packet rings",
        ] {
            assert!(passed.out().contains(line), "{line} in {passed}");
        }
        // Which it is depends on the kernel.
        let says = |verdict: &str| passed.out().contains(&format!("{verdict:<8} unix sockets"));
        assert!(says("ok") != says("warn"), "{passed}");
    });
}

#[test]
fn what_is_missing_is_named_with_what_it_means() {
    on_containerd(|containerd| {
        let program = agent().get_program().to_owned();
        let mut less = Command::new("setpriv");
        less.arg("--bounding-set=-sys_admin,-net_raw").arg(program);
        less.env("NSDEBUG_TOOLBOX", toolbox_tree());
        let failed = check(&mut less, containerd).expect_code(1);
        for word in [
            "MISSING  CAP_SYS_ADMIN",
            "warn     profile general",
            "NET_RAW",
            "MISSING  mount_setattr",
            "MISSING  private mounts",
            "MISSING  pivot_root",
        ] {
            assert!(failed.out().contains(word), "{word} in {failed}");
        }
    });
}
