//! A person at a terminal: the tool has one of its own, and the caller's is as before when it is over.

use std::process::Command;

use harness::{Container, RunSpec, Running, Terminal};

use crate::stage::Stage;

/// A terminal on which the tool runs.
fn at_terminal(stage: &Stage, container: &Container<'_>, tool: &[&str]) -> Terminal {
    Terminal::start(&stage.session(container.id(), &["-i", "-t"], tool), 31, 101)
}

#[test]
fn a_tool_has_a_terminal_of_the_callers_size_and_follows_it() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("term-size"));
    let script = "tty; stty size; trap 'echo resized to $(stty size); exit 3' WINCH; \
                  echo ready; while :; do sleep 0.01; done";
    let terminal = at_terminal(&stage, &container, &["sh", "-c", script]);
    terminal.wait_for("ready");
    terminal.resize(43, 87);
    let (code, shown) = terminal.finish();
    assert!(shown.contains("/dev/pts/") && shown.contains("31 101"), "{shown}");
    assert!(shown.contains("resized to 43 87"), "{shown}");
    assert_eq!(code, 3, "{shown}");
}

#[test]
fn the_tools_terminal_is_not_the_callers() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("term-own"));
    let mut session = stage.session(container.id(), &["-it"], &["tty"]);
    session.env("CONTAINER", container.id());
    let words: Vec<_> =
        session.get_args().map(|word| word.to_str().expect("plain words")).collect();
    let mut shell = Command::new("sh");
    let program = session.get_program().to_str().expect("a plain path");
    shell.args(["-c", "tty; exec \"$@\"", "sh", program]).args(words);
    let (code, shown) = Terminal::start(&shell, 24, 80).finish();
    let names: Vec<_> = shown.lines().map(str::trim).collect();
    assert!(names.len() == 2 && names.iter().all(|n| n.starts_with("/dev/pts/")), "{shown}");
    assert_ne!(names[0], names[1]);
    assert_eq!(code, 0);
}

#[test]
fn ctrl_c_is_for_the_tool() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("term-ctrl-c"));
    let mut terminal = at_terminal(&stage, &container, &["sh", "-c", "echo ready; exec sleep 600"]);
    terminal.wait_for("ready");
    terminal.press("\x03");
    let (code, shown) = terminal.finish();
    assert_eq!(code, 130, "{shown}");
}

#[test]
fn a_shell_has_job_control_and_outlives_a_ctrl_c() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("term-shell"));
    let mut terminal = at_terminal(&stage, &container, &["dash", "-i"]);
    // Before there is a prompt: what is typed ahead counts. The echo is something else than the answer.
    terminal.press("sh -c 'echo $((40+1)); exec sleep 600'\r");
    terminal.wait_for("41\r\n");
    // For the job in front, not for the shell. It takes the keys behind it along, so the prompt is waited for.
    terminal.press("\x03");
    terminal.wait_for("^C\r\n# ");
    terminal.press("echo after:$?\r");
    terminal.wait_for("after:130");
    terminal.press("sh -c 'echo job-$((40+2)); read line'\r");
    terminal.wait_for("job-42");
    terminal.press("\x1a");
    terminal.wait_for("Stopped");
    // Each line is read by the program in front by then: the shell, its job, the shell.
    for line in ["fg\r", "for the job\r", "exit 5\r"] {
        terminal.press(line);
    }
    let (code, shown) = terminal.finish();
    assert!(!shown.contains("job control turned off"), "{shown}");
    assert_eq!(code, 5, "{shown}");
}

#[test]
fn the_callers_terminal_is_raw_meanwhile_and_as_before_afterwards() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("term-restored"));
    let cases: [(&[&str], i32); 3] = [
        (&["sh", "-c", "echo ready; read line"], 0),
        (&["sh", "-c", "echo ready; read line; kill -9 $$"], 137),
        (&["no-such-tool"], 127),
    ];
    for (tool, expected) in cases {
        let session = stage.session(container.id(), &["-it"], tool);
        let mut shell = Command::new("sh");
        // Unusual settings, to be found again.
        let script = "stty -ixon intr ^B; echo before:$(stty -g); \"$@\"; echo code:$?; \
                      echo after:$(stty -g); read line";
        shell.args(["-c", script, "sh"]).arg(session.get_program()).args(session.get_args());
        let mut terminal = Terminal::start(&shell, 24, 80);
        if expected != 127 {
            terminal.wait_for("ready");
            let settings = terminal.settings();
            assert!(settings.contains("-icanon") && settings.contains("-echo "), "{settings}");
            terminal.press("\r");
        }
        terminal.wait_for("after:");
        terminal.press("\r");
        let (_, shown) = terminal.finish();
        assert!(shown.contains(&format!("code:{expected}\r\n")), "{shown}");
        let said = |mark| shown.lines().find_map(|line| line.trim().strip_prefix(mark));
        assert_eq!(said("before:"), said("after:"), "{shown}");
        assert!(said("before:").is_some_and(|settings| settings.contains(':')), "{shown}");
    }
}

#[test]
fn a_terminal_without_a_terminal_is_warned_of_and_done_without() {
    let Some(stage) = Stage::shared() else { return };
    let container = stage.containerd.run(&RunSpec::new("term-none"));
    let tool = ["sh", "-c", "tty; cat"];
    let mut session = Running::start(&mut stage.session(container.id(), &["-i", "-t"], &tool));
    assert!(session.write(b"input\n"));
    let done = session.finish().expect_success();
    assert_eq!(done.out(), "not a tty\ninput\n", "{done}");
    assert_eq!(done.err(), "nsdebug-agent: stdin is not a terminal; going on without one\n");
}
