//! nsdebug in a real Kubernetes as its users install it: by the chart, from images, through the API server.

mod foreign;
mod lifecycle;
mod privilege;
mod sessions;
mod stage;
