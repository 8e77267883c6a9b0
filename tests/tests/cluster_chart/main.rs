//! nsdebug in a real Kubernetes as its users install it: by the chart, from images, through the API server.

mod foreign;
mod kube_rs;
mod lifecycle;
mod privilege;
mod python;
mod sessions;
mod stage;
