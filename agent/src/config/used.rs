//! What an agent is told to use itself, apart from what it gives to sessions.

use std::path::{Path, PathBuf};

use super::tls::TlsConfig;
use crate::listen::Gateways;
use crate::session::{OwnPaths, UnknownMounts};

/// See the module.
#[derive(Debug)]
pub(super) struct Used<'a> {
    pub(super) unix: &'a [PathBuf],
    pub(super) containerd: &'a Path,
    pub(super) toolbox: &'a Path,
    pub(super) audit_log: Option<&'a Path>,
    pub(super) tls: Option<&'a TlsConfig>,
    pub(super) gateways: Option<&'a Gateways>,
}

impl Used<'_> {
    /// What a target cannot have without being worth as much as its node.
    pub(super) fn paths(&self) -> Result<OwnPaths, UnknownMounts> {
        let Self { unix, containerd, toolbox, audit_log, tls, gateways } = *self;
        // Who has a key or a token of the agent passes for it.
        let key = tls.map(|tls| tls.files.key.as_path());
        let token = gateways.map(|gateways| gateways.token.as_path());
        let sockets = unix.iter().map(PathBuf::as_path).chain([containerd]);
        let client_ca = tls.map(|tls| tls.files.client_ca.as_path());
        let authority = gateways.map(|gateways| gateways.authority.as_path());
        OwnPaths::of(
            sockets.chain(key).chain(token),
            [toolbox].into_iter().chain(audit_log).chain(client_ca).chain(authority),
        )
    }
}
