"""Making the tool tree: what mmdebstrap extracts, less what a session does without, plus what maintainer scripts would do.

No maintainer script is ever run, and no program of the tree except its loader and openssl.
"""

import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from lists import BuildError, Rule

SOURCES = """\
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
"""

# What the root of a session mounts over: empty directories and files, with their modes.
MOUNT_DIRECTORIES = {"proc": 0o555, "sys": 0o555, "dev": 0o755, "tmp": 0o1777, "run": 0o755, "root": 0o700, "target": 0o755}
MOUNT_FILES = ("etc/resolv.conf", "etc/hosts", "etc/hostname")

# Debian's tcpdump, started by uid 0, becomes the user `tcpdump`, which needs SETGID and SETUID: no profile that captures
# packets holds them. Here that user is root, so nothing changes; a session's system-call filter answers its setgroups.
WRITTEN = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
    "tcpdump:x:0:0:root, for tcpdump becomes this user:/root:/bin/false\n"
    "nsdebug:x:65533:65533:sessions without privilege:/tmp:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnsdebug:x:65533:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\nnetworks: files\n",
}

# lsof warns of every user that has no name, and images have users without names: once for each process that it looks at.
PROGRAMS = {
    "usr/sbin/lsof": '#!/bin/sh\nexec /usr/bin/lsof -w "$@"\n',
}

# What update-alternatives and postinst scripts would link.
LINKS = {
    "usr/bin/sh": "bash",
    "usr/bin/awk": "mawk",
    "usr/bin/nc": "nc.openbsd",
    "usr/bin/netcat": "nc.openbsd",
    "usr/bin/pager": "less",
    "usr/bin/editor": "vim.tiny",
    "usr/bin/vi": "vim.tiny",
    "usr/bin/vim": "vim.tiny",
    "usr/bin/which": "which.debianutils",
    "etc/mtab": "../proc/self/mounts",
    "var/run": "../run",
    "var/tmp": "../tmp",
}

# gdb reads the target's files: it must not run what they contain, and it finds them where a session has them.
GDBINIT = "set auto-load off\nset sysroot /target\n"


def extract(packages: list[str], sources: str, epoch: int, tree: Path, debs: Path) -> None:
    """Download what `packages` need, verified by apt, and unpack it into `tree`; the packages stay in `debs`."""
    debs.mkdir(parents=True)
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        "--mode=root",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        f"--extract-hook=cp \"$1\"/var/cache/apt/archives/*.deb '{debs}'",
        "--include=" + ",".join(packages),
        "",
        str(tree),
        "-",
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    done = subprocess.run(command, check=False, input=sources, text=True, env=environment, capture_output=True)
    if done.returncode != 0:
        raise BuildError(f"mmdebstrap failed:\n{done.stderr.strip()}")


def owners(debs: Path) -> dict[str, str]:
    """Which package each path of the tree comes from."""
    found = {}
    for deb in sorted(debs.glob("*.deb")):
        name = deb.name.split("_")[0]
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as unpack,
            tarfile.open(fileobj=unpack.stdout, mode="r|") as files,
        ):
            for member in files:
                if not member.isdir():
                    found[_merged(member.name.removeprefix("."))] = name
    return found


def _merged(path: str) -> str:
    """Where a path lands when /bin, /sbin and /lib are links into /usr."""
    first = path.split("/")[1]
    return f"/usr{path}" if first in ("bin", "sbin") or first.startswith("lib") else path


def paths(tree: Path) -> Iterator[Path]:
    """Every path below `tree`, sorted; links are not followed."""
    for directory, directories, files in os.walk(tree):
        directories.sort()
        for name in sorted(directories + files):
            yield Path(directory, name)


def inside(tree: Path, path: Path) -> str:
    """`path` as a program of the tree would call it."""
    return f"/{path.relative_to(tree)}"


def prune(tree: Path, rules: list[Rule], owner: dict[str, str]) -> None:
    """Apply the rules of the drop list; a rule without work is an error."""
    idle = set(rules)
    for path in list(paths(tree)):
        if path.is_dir() and not path.is_symlink():
            continue
        name = inside(tree, path)
        rule = next((rule for rule in rules if rule.matches(name, owner.get(name))), None)
        idle.discard(rule)
        if rule and not rule.keep:
            path.unlink()
    if idle:
        raise BuildError("rules that match nothing:\n" + "\n".join(sorted(rule.text for rule in idle)))


def bytes_by_package(tree: Path, owner: dict[str, str]) -> dict[str, int]:
    """The packages that are in the tree, and how much of it each is."""
    found: dict[str, int] = {}
    for path in paths(tree):
        if (package := owner.get(inside(tree, path))) is not None:
            found[package] = found.get(package, 0) + path.lstat().st_size
    return found


def loader(tree: Path) -> str:
    """The dynamic loader, as the tree calls it."""
    found = sorted(tree.glob("usr/lib*/ld-linux*.so.*"))
    if not found:
        raise BuildError("the tree has no dynamic loader")
    return inside(tree, found[0])


def is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def run_inside(tree: Path, command: list[str], enter: tuple[str, ...] = ("chroot",)) -> subprocess.CompletedProcess[str]:
    """Run a command with the tree as its root; `enter` starts a program that takes the tree and the command."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TERM": "xterm"}
    return subprocess.run(
        [*enter, tree, *command], check=False, env=environment, text=True, errors="replace", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
    )


def libraries_of(tree: Path, path: Path) -> tuple[set[Path], str | None]:
    """The libraries the tree's own loader finds for a program, and its complaint if it lacks one."""
    listed = run_inside(tree, [loader(tree), "--list", inside(tree, path)])
    if "not a dynamic executable" in listed.stdout or "statically linked" in listed.stdout:
        return set(), None
    words = [line.split() for line in listed.stdout.splitlines()]
    # `libc.so.6 => /lib/… (0x…)`, `/lib64/ld-linux… (0x…)`, `linux-vdso.so.1 (0x…)`
    found = {word for line in words for word in line if word.startswith("/")}
    missing = listed.returncode != 0 or "not found" in listed.stdout
    resolved = {_resolve(tree, Path(word)) for word in found}
    return resolved, f"{inside(tree, path)}: {listed.stdout.strip()}" if missing else None


def _resolve(tree: Path, path: Path) -> Path:
    """The file behind a path of the tree; /lib and /lib64 are relative links, so the host's root is never used."""
    return Path(os.path.realpath(f"{tree}{path}"))


def drop_unused_libraries(tree: Path, rules: list[Rule]) -> None:
    """Remove the shared libraries that no remaining program or plug-in can load."""
    shelf = {path for path in paths(tree) if path.match("usr/lib/*-linux-gnu/lib*.so*") and not path.is_dir()}
    keep = [rule for rule in rules if rule.keep]
    kept = {path for path in shelf if any(rule.matches(inside(tree, path), None) for rule in keep)}
    needed = {Path(os.path.realpath(path)) for path in kept}
    for program in [path for path in paths(tree) if is_elf(path) and path not in shelf] + sorted(needed):
        needed |= libraries_of(tree, program)[0]
    for path in shelf:
        if Path(os.path.realpath(path)) not in needed:
            path.unlink()


def drop_empty(tree: Path, owner: dict[str, str]) -> None:
    """Remove packages of which only documents are left, then empty directories."""
    documents = tree / "usr/share/doc"
    present = {owner.get(inside(tree, path)) for path in paths(tree) if documents not in path.parents and not path.is_dir()}
    links = {path.name: os.readlink(path) for path in documents.iterdir() if path.is_symlink()}
    wanted = present | {target.split("/")[-1] for name, target in links.items() if name in present}
    for path in list(documents.iterdir()):
        if path.name not in wanted:
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
    for path in sorted(paths(tree), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def finish(tree: Path) -> None:
    """What maintainer scripts would have done, mount points, and no privilege in any mode bit."""
    shutil.rmtree(tree / "dev")
    for name, mode in MOUNT_DIRECTORIES.items():
        (tree / name).mkdir(exist_ok=True)
        (tree / name).chmod(mode)
    for name in MOUNT_FILES:
        (tree / name).write_bytes(b"")
    for name, text in WRITTEN.items():
        (tree / name).write_text(text)
    for name, text in PROGRAMS.items():
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    for name, target in LINKS.items():
        link = tree / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    if (tree / "usr/bin/gdb").exists():
        (tree / "etc/gdb").mkdir(exist_ok=True)
        (tree / "etc/gdb/gdbinit").write_text(GDBINIT)
    _certificates(tree)
    _loader_cache(tree)
    _plain_modes(tree)


def _certificates(tree: Path) -> None:
    """As update-ca-certificates: one bundle, and a directory of links named by subject hash."""
    directory = tree / "etc/ssl/certs"
    directory.mkdir(parents=True, exist_ok=True)
    bundle = b""
    for certificate in sorted((tree / "usr/share/ca-certificates").rglob("*.crt")):
        (directory / f"{certificate.stem}.pem").symlink_to(inside(tree, certificate))
        bundle += certificate.read_bytes().rstrip(b"\n") + b"\n"
    # Before the bundle is there, or rehash would complain that it holds more than one certificate. It sorts the names.
    rehash = run_inside(tree, ["openssl", "rehash", "/etc/ssl/certs"])
    if rehash.returncode != 0:
        raise BuildError(f"openssl rehash: {rehash.stdout.strip()}")
    (directory / "ca-certificates.crt").write_bytes(bundle)


def _loader_cache(tree: Path) -> None:
    subprocess.run(["ldconfig", "-X", "-r", tree], check=True)
    shutil.rmtree(tree / "var/cache", ignore_errors=True)  # ldconfig's own notes


def _plain_modes(tree: Path) -> None:
    """Everything is root's, and nothing gives more than its caller has."""
    for path in paths(tree):
        os.chown(path, 0, 0, follow_symlinks=False)
        if path.is_symlink():
            continue
        for attribute in os.listxattr(path):
            os.removexattr(path, attribute)
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.relative_to(tree).as_posix() not in MOUNT_DIRECTORIES:
            path.chmod(mode & 0o755)
    os.chown(tree, 0, 0)
    tree.chmod(0o755)
