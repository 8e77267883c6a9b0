//! Hostile containers against our sessions, and hostile users of sessions against the node.
//!
//! Everything here goes through the real launch, `nsdebug-agent exec --tools toolbox`. What attacks is a compiled
//! program (`apps/attacker.rs`, `apps/probe.rs`), not a shell, so that a refusal is the kernel's and has its errno.

mod attackers;
mod entered;
mod hoards;
mod identity;
mod inside;
mod mounted;
mod namespaces;
mod netids;
mod nodewide;
mod races;
mod replays;
mod rings;
mod stage;
mod unanswered;
mod work;
