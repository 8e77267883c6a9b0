//! What the toolbox has in the place of tools that people look for.

/// Of a tool that is not there: what is.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "netstat" => "`ss` has it",
        "ifconfig" => "`ip address` has it",
        "route" => "`ip route` has it",
        "arp" => "`ip neighbour` has it",
        "brctl" => "`bridge` has it",
        "iptables" | "ip6tables" => "`nft list ruleset` shows what there is",
        "traceroute" | "mtr" => "`tracepath` does nearly the same",
        "telnet" | "ncat" => "`nc` does it",
        "wget" => "`curl -O` does it",
        "nano" | "emacs" => "`vi` edits",
        "gawk" => "`awk` is there",
        "tree" => "`find` lists too",
        "ltrace" => "`strace` shows the system calls",
        "gdb" | "python3" | "python" => {
            "the image nsdebug-agent-gdb has gdb and Python 3 (image/build toolbox-gdb)"
        }
        "apt" | "apt-get" | "yum" | "dnf" | "apk" => {
            "nothing is installed in a session; an image of the agent can have more (image/README.md)"
        }
        _ => return None,
    })
}
