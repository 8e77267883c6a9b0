//! The aggregated API server of `nsdebug.dev/v1alpha1`: who may debug what, and the way to it.
//!
//! kube-apiserver proxies a websocket to `api`; `identity` says who that is, `access` asks whether
//! they may, `target` where it is, `agents` holds the connections that agents dialled, `relay` copies
//! bytes. No privilege is here, no frame is read, and nothing but the API server is ever dialled.

mod access;
mod agents;
mod ahead;
mod api;
mod audit;
pub mod certificates;
pub mod command;
pub mod config;
mod health;
mod identity;
mod kubernetes;
mod listen;
mod metrics;
mod quotas;
mod relay;
pub mod serve;
mod strangers;
mod target;
mod turns;
mod waiting;
