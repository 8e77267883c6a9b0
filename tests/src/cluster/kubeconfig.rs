//! What a client needs to reach the API server as one of its users.

use std::path::PathBuf;

use super::Cluster;
use super::layout::{API_SERVER, Layout};

/// Write `kubeconfig/USER` for the client certificate `USER.pem`.
pub(super) fn write(layout: &Layout, user: &str) {
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
  - name: nsdebug
    cluster: {{ server: \"{API_SERVER}\", certificate-authority: \"@FOLDER@/certificates/ca.pem\" }}
users:
  - name: {user}
    user:
      client-certificate: \"@FOLDER@/certificates/{user}.pem\"
      client-key: \"@FOLDER@/certificates/{user}.key\"
contexts:
  - name: nsdebug
    context: {{ cluster: nsdebug, user: {user} }}
current-context: nsdebug
"
    );
    layout.write(&format!("kubeconfig/{user}"), &text);
}

impl Cluster {
    /// Write a kubeconfig for a proxy that signs in as `user` itself.
    pub(super) fn write_kubeconfig_of_proxy(&self, user: &str, port: u16) -> PathBuf {
        let text = format!(
            "apiVersion: v1
kind: Config
clusters:
  - name: proxy
    cluster: {{ server: \"http://127.0.0.1:{port}\" }}
contexts:
  - name: proxy
    context: {{ cluster: proxy }}
current-context: proxy
"
        );
        let file = format!("kubeconfig/{user}-by-{port}");
        self.layout.write(&file, &text);
        self.layout.path(&file)
    }
}
