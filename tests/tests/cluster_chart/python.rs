//! The client of Python, unchanged, as the README shows it: through the API server, which it names as its origin.

use harness::{ClientLibrary, Cluster, Finished, may_skip, python_example, run};

use crate::stage::cluster;

/// As the kubeconfig of the cluster has it.
const API_SERVER: &str = "https://10.88.0.1:6443";

fn run_example(cluster: &Cluster) -> Finished {
    let python = ClientLibrary::Python.command(cluster.path(), &python_example());
    let program = python.get_program().to_str().expect("a plain path");
    run(cluster.command(program).args(python.get_args()))
}

#[test]
fn the_python_example_of_the_readme_works_once_its_origin_is_allowed() {
    let Some(cluster) = cluster() else { return };
    if may_skip(ClientLibrary::Python.requirement()) {
        return;
    }
    cluster.install(&[]);
    let refused = run_example(&cluster).expect_code(1);
    for words in [API_SERVER, "gateway.allowedOrigins"] {
        assert!(refused.err().contains(words), "{words} in {refused}");
    }
    cluster.install(&[&format!("gateway.allowedOrigins={{{API_SERVER}}}")]);
    assert_eq!(run_example(&cluster).expect_success().out(), "9\n10\n");
}
