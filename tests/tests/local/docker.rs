//! A container of Docker, entered as people meet the technique first: by its process, and by what `docker ps` prints.

use std::net::TcpStream;
use std::process::Command;

use harness::{
    Docker, DockerContainer, QuietNode, Requirement, Running, Scratch, inside, request, run, skip,
    until,
};

use crate::stage::{PATIENCE, exec, init_goes, session_of_pid};

type Enter<'e> = &'e dyn Fn(&[&str]) -> Command;

#[test]
fn a_docker_container_is_entered_by_its_process_and_by_its_short_id() {
    if skip([Requirement::docker(), Requirement::program("tcpdump")]) {
        return;
    }
    let node = QuietNode::wait();
    {
        let docker = Docker::start_in(Scratch::on(&node));
        let web = docker.run("web");
        until("the container to serve", PATIENCE, || {
            inside(web.pid(), || TcpStream::connect("127.0.0.1:8080").is_ok())
        });
        looks_around(&web, &|words| session_of_pid(web.pid(), &[], words));
        assert_eq!(web.short_id().len(), 12);
        looks_around(&web, &|words| {
            let mut session = exec();
            session.arg("--containerd").arg(docker.containerd_socket());
            session.args(["--container", web.short_id(), "--"]).args(words);
            session
        });
        init_goes(web.pid());
    }
    node.assert_untouched();
}

fn looks_around(web: &DockerContainer<'_>, enter: Enter<'_>) {
    let tool = |words: &[&str]| run(&mut enter(words)).expect_success();
    let ip = tool(&["ip", "addr"]);
    assert!(ip.out().contains("eth0@") && ip.out().contains("inet 172."), "{ip}");
    let hostname = tool(&["hostname"]);
    assert_eq!(hostname.out().trim(), web.short_id(), "{hostname}");
    for words in [&["ps", "-e"][..], &["top", "-bn1"]] {
        let processes = tool(words);
        let only_its_own =
            processes.out().contains("target-app") && !processes.out().contains("kthreadd");
        assert!(only_its_own, "{processes}");
    }
    let words = ["tcpdump", "-nvv", "-i", "any", "-c", "6", "tcp", "port", "8080"];
    let tcpdump = Running::start(&mut enter(&words));
    tcpdump.wait_for_stderr("listening on");
    request(web.pid(), "/");
    let caught = tcpdump.finish().expect_success();
    assert!(caught.out().contains("GET / HTTP/1.1"), "{caught}");
    assert!(caught.out().contains("HTTP/1.1 200 OK"), "{caught}");
}
