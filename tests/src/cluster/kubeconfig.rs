//! What a client needs to reach the API server as one of its users.

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
