//! What breaks in a real Kubernetes while it is debugged: sessions go on, or end with a reason and exit code 125; new
//! ones come without a hand; and nodes are left with nothing.

mod certificates;
mod members;
mod ours;
mod stage;
