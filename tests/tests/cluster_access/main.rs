//! Who may debug what in a real Kubernetes, what is written down of it, and which pods there are: each as a person
//! gets it from `kubectl nsdebug`, with the chart installed.

mod audit;
mod rights;
mod stage;
mod targets;
mod withdrawn;
