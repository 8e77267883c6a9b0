//! What the servers say of a session, a line each: what it would be, or why it would be refused.

use std::error::Error;

use wire::DryRun;
use wire::dry_run::{Entered, User};

use super::report::{Report, Verdict};
use crate::dry_run::Answer;

const SESSION: &str = "session";

/// `hint` is what to do about a refusal.
pub(super) fn settle<E: Error>(
    report: &mut Report,
    answer: Result<Answer, E>,
    hint: impl FnOnce(&E) -> Option<String>,
) {
    match answer {
        Ok(Answer::Fit(dry_run)) => {
            for line in lines(&dry_run) {
                report.add(Verdict::Ok, SESSION, line);
            }
            for note in &dry_run.notes {
                report.add(Verdict::Note, SESSION, note);
            }
            report.settled(true);
        }
        Ok(Answer::Unknown(why)) => report.add(Verdict::Unknown, SESSION, why),
        Ok(Answer::Refused) => {}
        Err(error) => {
            report.add(Verdict::No, SESSION, wire::chain(&error));
            if let Some(hint) = hint(&error) {
                report.add(Verdict::Note, "hint", hint);
            }
            report.settled(false);
        }
    }
}

fn lines(dry_run: &DryRun) -> Vec<String> {
    let DryRun { profile, user, capabilities, namespaces, write, host_target, .. } = dry_run;
    let mut lines = vec![place(dry_run)];
    if let (Some(profile), Some(User { uid, gid, groups })) = (profile, user) {
        let groups: Vec<_> = groups.iter().map(u32::to_string).collect();
        let groups = listed(&groups);
        lines.push(format!("profile {profile}, as uid {uid}, gid {gid}, groups {groups}"));
        lines.push(format!("capabilities: {}", listed(capabilities)));
    }
    let kinds = [
        ("the target's", &namespaces.joined),
        ("shared with the node", &namespaces.shared),
        ("of its own", &namespaces.own),
    ];
    let kinds = kinds.iter().filter(|(_, kinds)| !kinds.is_empty());
    let kinds: Vec<_> = kinds.map(|(whose, kinds)| format!("{} {whose}", listed(kinds))).collect();
    lines.push(format!(
        "namespaces: {}",
        if kinds.is_empty() { "the agent's".to_owned() } else { kinds.join("; ") }
    ));
    if *write {
        lines.push("/target can be written to".to_owned());
    }
    lines.extend(host_target.as_ref().map(|why| format!("the target is a host target: {why}")));
    lines
}

fn place(dry_run: &DryRun) -> String {
    let DryRun { node, pod, entered, container, container_id, .. } = dry_run;
    let id = container_id.as_deref().unwrap_or_default();
    let of_pod = pod.as_ref().map(|pod| format!(" of pod {pod}")).unwrap_or_default();
    let on_node = node.as_ref().map(|node| format!(" on the node {node}")).unwrap_or_default();
    match entered {
        Entered::Container => {
            let name = container.as_deref().unwrap_or(id);
            format!("would be in the container {name}{of_pod}{on_node}")
        }
        Entered::Sandbox => format!("would be in the sandbox{of_pod}{on_node}"),
        Entered::Node => format!("would be{on_node}, outside of every container"),
    }
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
