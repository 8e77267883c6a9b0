//! Whole commands, from the start of the process to its end, with nothing on their streams.

use crate::stage::{Stage, succeed};
use crate::table::{Reach, Row, few_pairs, pairs};

const PAIRS: usize = 40;
/// Each takes seconds, and leaves an entry in the pod.
const DEBUG_PAIRS: usize = 6;

pub(crate) fn rows(stage: &Stage) -> Vec<Row> {
    vec![against_exec(stage), against_debug(stage)]
}

fn against_exec(stage: &Stage) -> Row {
    let ours = || succeed(stage.nsdebug(&[], &["true"]));
    // The container's own program, as it has no other: it exits at once.
    let pairs = pairs(PAIRS, ours, || succeed(stage.exec(&[], &["exit", "0"])));
    Row::of_times("pod/… -- true, against kubectl exec", &pairs, Reach::AtMost(0.2))
}

fn against_debug(stage: &Stage) -> Row {
    let theirs = || {
        let mut debug = stage.kubectl();
        debug.args(["debug", "-i", "-q", "-n", "shop", "bench", "--target=app"]);
        debug.args(["--image=localhost/nsdebug/target-app:1", "--image-pull-policy=Never"]);
        succeed({
            debug.args(["--", "/target-app", "exit", "0"]);
            debug
        });
    };
    let pairs = few_pairs(DEBUG_PAIRS, || succeed(stage.nsdebug(&[], &["true"])), theirs);
    let measure = format!("the same, against kubectl debug, {DEBUG_PAIRS} pairs");
    Row::of_times(&measure, &pairs, Reach::AtMost(0.03))
}
