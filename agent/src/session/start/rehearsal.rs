//! A session rehearsed: what its helper finds out about a plan. No tool and no relay start.

use entry::{Cgroups, HelperImage, Plan, Rehearsed, SpawnError, Target, Waiting};

use super::prepared::{Prepared, Rest};
use crate::session::StartError;
use crate::session::local::deadline::START;

/// Has a helper of its own rehearse `plan` on `target`, and waits until nothing of it is left. Returns the users
/// into whose processes the tool could not look.
pub(super) fn run(
    image: &HelperImage,
    cgroups: Option<&Cgroups>,
    target: &Target,
    plan: &Plan,
) -> Result<Vec<u32>, StartError> {
    let Prepared { waiting, rest } = Prepared::direct(image, cgroups)?;
    let said = rehearse(waiting, &rest, target, plan);
    let closed = rest.close();
    match (said, closed.as_ref().ok().and_then(|closed| closed.out_of_memory)) {
        (Err(StartError::Lost), Some(limit)) => Err(StartError::OutOfMemory { limit }),
        (Err(StartError::Lost), None) if target.has_exited() => Err(StartError::TargetExited),
        (said, _) => {
            closed?;
            said
        }
    }
}

fn rehearse(
    waiting: Waiting,
    rest: &Rest,
    target: &Target,
    plan: &Plan,
) -> Result<Vec<u32>, StartError> {
    let outcome = waiting.rehearse(target, plan).map_err(StartError::from).and_then(|rehearsal| {
        // Dropped before the helper is waited for.
        Ok(rehearsal.outcome(START)?)
    });
    match outcome {
        Ok(Rehearsed::Fit { unseen }) => Ok(unseen),
        Ok(Rehearsed::Failed(failure)) => Err(StartError::of(&failure, plan)),
        Err(StartError::Spawn(SpawnError::Gone { .. })) | Ok(Rehearsed::Lost) => {
            Err(StartError::Lost)
        }
        other => {
            // It does not end by itself, and what cannot be killed now is killed when the group is closed.
            let _ = rest.kill();
            Err(other.err().unwrap_or(StartError::NotStarted))
        }
    }
}
