"""What a tree must be before anybody may be let into it. Each check answers with the lines that are wrong.

`test.py` proves that every one of them can fail.
"""

import os
import stat
from pathlib import Path

from lists import BuildError, Tool
from tree import MOUNT_DIRECTORIES, MOUNT_FILES, inside, is_elf, libraries_of, paths, run_inside

MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
SPECIAL = {stat.S_IFBLK: "block device", stat.S_IFCHR: "character device", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}

# Starts a command in a root like a session's: the tree read-only, /proc, /dev/null and /tmp mounted, all of it private.
SESSION = (
    "unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec",
    """mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; mount -t proc -o ro proc "$0/proc"
    mount -t tmpfs dev "$0/dev"; : >"$0/dev/null"; mount --bind /dev/null "$0/dev/null"; mount -t tmpfs tmp "$0/tmp"
    exec chroot "$0" "$@" """,
)


def privilege(tree: Path) -> list[str]:
    """Set-id bits, extended attributes (file capabilities are one), other owners, files others may change, devices."""
    wrong = []
    for path in paths(tree):
        name, status = inside(tree, path), path.lstat()
        kind, mode = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
        if kind in SPECIAL:
            wrong.append(f"{name}: {SPECIAL[kind]}")
        if (status.st_uid, status.st_gid) != (0, 0):
            wrong.append(f"{name}: owner {status.st_uid}:{status.st_gid}, not 0:0")
        if kind == stat.S_IFLNK:
            continue
        if mode & 0o6000:
            wrong.append(f"{name}: set-id bit (mode {mode:04o})")
        if mode & 0o022 and name != "/tmp":
            wrong.append(f"{name}: writable for others (mode {mode:04o})")
        wrong += [f"{name}: extended attribute {attribute}" for attribute in os.listxattr(path)]
    return wrong


def layout(tree: Path) -> list[str]:
    """The places that a session mounts over, and the links of a merged /usr."""
    wrong = []
    for name in MOUNT_DIRECTORIES:
        place = tree / name
        if place.is_symlink() or not place.is_dir() or any(place.iterdir()):
            wrong.append(f"/{name}: not an empty directory")
    for name in MOUNT_FILES:
        place = tree / name
        if place.is_symlink() or not place.is_file() or place.stat().st_size:
            wrong.append(f"/{name}: not an empty file")
    for name, target in MERGED.items():
        if (tree / target).exists() and not ((tree / name).is_symlink() and os.readlink(tree / name) == target):
            wrong.append(f"/{name}: not a link to {target}")
    return wrong


def links(tree: Path) -> list[str]:
    """Links that lead nowhere; into a mount point they lead somewhere only during a session."""
    wrong = []
    for path in paths(tree):
        if not path.is_symlink():
            continue
        target = os.path.normpath(os.path.join(os.path.dirname(inside(tree, path)), os.readlink(path)))
        if target.split("/")[1] not in MOUNT_DIRECTORIES and not os.path.lexists(f"{tree}{target}"):
            wrong.append(f"{inside(tree, path)}: leads to {target}, which is not there")
    return wrong


def libraries(tree: Path) -> list[str]:
    """Programs and libraries for which the tree's loader does not find everything."""
    complaints = (libraries_of(tree, path)[1] for path in paths(tree) if is_elf(path))
    return [complaint for complaint in complaints if complaint]


def interpreters(tree: Path) -> list[str]:
    """Scripts in the search path whose interpreter is not in the tree."""
    wrong = []
    for path in [*tree.glob("usr/bin/*"), *tree.glob("usr/sbin/*")]:
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            first = file.readline(200)
        words = first[2:].decode(errors="replace").split() if first.startswith(b"#!") else []
        if words and words[0].endswith("/env"):
            words = [f"/usr/bin/{words[-1]}"]
        if words and not os.path.lexists(f"{tree}{words[0]}"):
            wrong.append(f"{inside(tree, path)}: {words[0]} is not there")
    return wrong


def tools(tree: Path, packages: list[Tool]) -> list[str]:
    """The proof commands of the package list that do not work."""
    wrong = []
    for proof in (proof for tool in packages for proof in tool.proofs):
        ran = run_inside(tree, ["/bin/bash", "-c", f"exec {proof}"], SESSION)
        if ran.returncode != 0:
            wrong.append(f"`{proof}` ended with {ran.returncode}: {ran.stdout.strip()[-300:]}")
    return wrong


def licences(tree: Path, packages: list[str]) -> list[str]:
    """Packages whose copyright file is gone."""
    return [f"{name}: no copyright file" for name in packages if not (tree / "usr/share/doc" / name / "copyright").is_file()]


def certificates(tree: Path) -> list[str]:
    """A bundle that would verify nothing."""
    count = (tree / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE")
    hashed = len(list((tree / "etc/ssl/certs").glob("*.[0-9]")))
    return [] if count == hashed > 100 else [f"/etc/ssl/certs: {count} certificates, {hashed} hashed links"]


def tree_is_fit(tree: Path, packages: list[Tool], present: list[str]) -> None:
    """All of them; the build ends here when one has something to say."""
    wrong = tools(tree, packages)
    wrong += privilege(tree) + layout(tree) + links(tree) + libraries(tree) + interpreters(tree)
    wrong += licences(tree, present) + certificates(tree)
    if wrong:
        raise BuildError("the tree is not fit for use:\n" + "\n".join(f"  {line}" for line in wrong))
