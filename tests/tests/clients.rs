//! Client libraries of other projects, unchanged: what they send is taken, and they understand the answer.
//!
//! kubectl's, which is client-go's, and kube-rs' are tried in `cluster_chart`, and Python's behind an API server.

use std::path::Path;

use harness::{
    Agent, Certificates, ClientLibrary, Containerd, Requirement, RunSpec, Serve, Version,
    python_example, run, skip,
};

/// Where the API server has the session of the README, and where an agent has the one of the test.
const IN_CLUSTER: &str = "/apis/nsdebug.dev/v1alpha1/namespaces/shop/pods/api/exec";
const AT_AGENT: &str = "/v1/containers/web-1/exec";

/// `Exec` of the library, with the path rewritten.
const JAVASCRIPT: &str = r"
import * as k8s from '@kubernetes/client-node';
import { Readable } from 'node:stream';

const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);
const exec = new k8s.Exec(config);
const connect = exec.handler.connect.bind(exec.handler);
exec.handler.connect = (path, text, binary) => {
  const query = path.split('?')[1].replace('&container=', '');
  return connect(`/v1/containers/web-1/exec?${query}`, text, binary);
};
const command = ['sh', '-c', 'sort -n; echo sorted >&2; exit 7'];
const stdin = Readable.from([Buffer.from('10\n'), '9\n']);
const ended = (status) => console.log(status.status, status.details.causes[0].message);
await exec.exec('shop', 'api', undefined, command, process.stdout, process.stderr, stdin, false, ended);
";

/// An agent on a port, and a kubeconfig whose API server it is.
fn with_agent(library: ClientLibrary, check: impl FnOnce(&Containerd, &Path)) {
    if skip([Requirement::containerd(Version::chosen()), library.requirement()]) {
        return;
    }
    let containerd = Containerd::start(Version::chosen());
    let _web = containerd.run(&RunSpec::new("web-1"));
    let agent = Serve::new().with_tls().start(&containerd);
    let kubeconfig = containerd.path().join("kubeconfig");
    std::fs::write(&kubeconfig, configuration(&agent)).expect("a file in an own folder");
    check(&containerd, &kubeconfig);
}

fn configuration(agent: &Agent) -> String {
    let certificates: &Certificates = agent.certificates();
    let client = certificates.client("client");
    format!(
        "{{apiVersion: v1, kind: Config, current-context: it,\n\
         clusters: [{{name: it, cluster: {{server: '{}', certificate-authority: '{}'}}}}],\n\
         users: [{{name: it, user: {{client-certificate: '{}', client-key: '{}'}}}}],\n\
         contexts: [{{name: it, context: {{cluster: it, user: it}}}}]}}",
        agent.url(),
        certificates.authority().display(),
        client.certificate.display(),
        client.key.display(),
    )
}

#[test]
fn the_python_example_of_the_readme_works() {
    with_agent(ClientLibrary::Python, |containerd, kubeconfig| {
        let program = python_example();
        assert!(program.contains(IN_CLUSTER), "{program}");
        let program = program.replace(IN_CLUSTER, AT_AGENT);
        let python = |program: &str| {
            let mut python = ClientLibrary::Python.command(containerd.path(), program);
            run(python.env("KUBECONFIG", kubeconfig))
        };
        let sorted = python(&program).expect_success();
        assert_eq!((sorted.out(), sorted.err()), ("9\n10\n".to_owned(), String::new()));
        let failing = program.replace(r#"["sort", "-n"]"#, r#"["sh", "-c", "wc -c; exit 7"]"#);
        assert_eq!(python(&failing).expect_code(7).out().trim(), "5");
    });
}

#[test]
fn the_exec_of_javascript_s_client_works() {
    if !ClientLibrary::JavaScript.has_runtime() {
        return;
    }
    with_agent(ClientLibrary::JavaScript, |containerd, kubeconfig| {
        let mut node = ClientLibrary::JavaScript.command(containerd.path(), JAVASCRIPT);
        let done = run(node.env("KUBECONFIG", kubeconfig)).expect_success();
        assert_eq!(done.out(), "9\n10\nFailure 7\n", "{done}");
        assert!(done.err().contains("sorted\n"), "{done}");
    });
}
