//! The API server as a client of the test's own sees it: TLS with a user's certificate, and what is asked spelled out.

use std::net::TcpStream;

use super::layout::{API_SERVER_ADDRESS, NODE_ADDRESS};
use super::{Cluster, authority};
use crate::certificates::CertificateFiles;
use crate::network::inside;
use crate::socket::{Answer, Client, Stream, tls_as};

/// The Kubernetes exec protocol, newest version first.
const PROTOCOLS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";

impl Cluster {
    /// A connection to the API server by a user that [`Cluster::user`] has made; `admin` may do everything.
    pub fn api(&self, user: &str) -> Stream {
        let stream = inside(self.pid(), || TcpStream::connect(API_SERVER_ADDRESS));
        let stream = stream.expect("the API server listens");
        tls_as(stream, NODE_ADDRESS, &self.certificate("ca.pem"), &self.files_of(user))
    }

    /// Ask nsdebug's API for a session in a pod.
    pub fn session(&self, user: &str, pod: &str, query: &str) -> Result<Client, Answer> {
        let (namespace, name) = pod.split_once('/').expect("NAMESPACE/POD");
        let namespaces = "/apis/nsdebug.dev/v1alpha1/namespaces";
        let path = format!("{namespaces}/{namespace}/pods/{name}/exec?{query}");
        Client::open(self.api(user), &path, PROTOCOLS)
    }

    /// The client certificate of a user.
    pub(super) fn files_of(&self, user: &str) -> CertificateFiles {
        let (certificate, key) = authority::files(user);
        CertificateFiles {
            certificate: self.certificate(&certificate),
            key: self.certificate(&key),
        }
    }
}
