#!/usr/bin/env python3
"""Build the tool tree of a session and the OCI images of agent and gateway from Debian packages, without any image registry.

    image/build.py [toolbox] [toolbox-gdb] [gateway]     default: toolbox gateway

leaves target/toolbox (the tree), target/image/nsdebug-agent.tar (an OCI archive) and its SPDX bill of materials, and
target/image/nsdebug-gateway.tar. A tree needs root (its programs are run in a chroot to prove them) on Debian 12 or newer.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True  # nothing may appear beside the sources

import check
import oci
import sbom
import tree as tools
from lists import BuildError, read_packages, read_rules

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
# A change of these is a change of the image.
WHAT_COUNTS = ("image", ":!image/README.md", ":!image/test.py", ":!image/spdx_test.py")
SOURCE = "https://github.com/nsdebug/nsdebug"
AGENT = "nsdebug-agent"


@dataclass(frozen=True)
class Variant:
    """A tree and the image that carries it."""

    lists: tuple[str, ...]
    image: str
    tag: str
    # What a node pulls before its first session; the tools people miss most are chosen to stay below it.
    limit_mb: int


VARIANTS = {
    "toolbox": Variant(("toolbox",), "nsdebug-agent", "", 60),
    "toolbox-gdb": Variant(("toolbox", "toolbox-gdb"), "nsdebug-agent-gdb", "-gdb", 90),
}
# Two programs and no tree. The plugin is there for `helm test`, which opens a session from within the cluster.
GATEWAY = "gateway"
GATEWAY_PROGRAMS = ("nsdebug-gateway", "kubectl-nsdebug")
# As `nsdebug` of /etc/passwd: by number, or the kubelet could not tell that it is not root.
GATEWAY_USER = "65533:65533"


def main() -> int:
    arguments = parse()
    os.nice(10)
    os.umask(0o022)  # modes are part of the result
    try:
        prepare(arguments)
        for name in arguments.variants:
            first = build(name, arguments, arguments.output)
            if arguments.verify:
                compare(name, first, arguments)
    except BuildError as error:
        print(f"image/build.py: {error}", file=sys.stderr)
        return 1
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=" or ".join([*VARIANTS, GATEWAY]))
    parser.add_argument("--programs", type=Path, default=REPOSITORY / "target/release", metavar="DIR", help="where the static programs are")
    parser.add_argument("--toolbox-only", action="store_true", help="trees, and images without a program")
    parser.add_argument("--verify", action="store_true", help="build a second time and compare every digest")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "target", help="where the results go")
    parser.add_argument("--sources", type=Path, help="a sources.list to use in place of Debian 12 and its updates")
    arguments = parser.parse_args()
    arguments.output = arguments.output.resolve()
    arguments.variants = arguments.variants or ["toolbox"] + [GATEWAY] * (not arguments.toolbox_only)
    if unknown := set(arguments.variants) - {*VARIANTS, GATEWAY}:
        parser.error(f"no such variant: {', '.join(sorted(unknown))} (there are {', '.join([*VARIANTS, GATEWAY])})")
    if arguments.toolbox_only and GATEWAY in arguments.variants:
        parser.error("the gateway's image has no tools: leave out --toolbox-only")
    return arguments


def prepare(arguments: argparse.Namespace) -> None:
    """Whatever can be refused is refused before the first download."""
    trees = [name for name in arguments.variants if name in VARIANTS]
    if trees and os.geteuid() != 0:
        raise BuildError("must run as root: the tree belongs to root and is proved in a chroot")
    wanted = {name for name in GATEWAY_PROGRAMS if GATEWAY in arguments.variants}
    if trees and not arguments.toolbox_only:
        wanted.add(AGENT)
    for name in sorted(wanted):
        must_be_static(arguments.programs / name)
    missing = [command for command in ("mmdebstrap",) * bool(trees) + ("zstd",) if not shutil.which(command)]
    if missing:
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], check=True, stdout=sys.stderr)


def must_be_static(program: Path) -> None:
    """The image's root has no libc."""
    hint = "build it first, name another folder with --programs, or leave it out with --toolbox-only"
    if not program.is_file():
        raise BuildError(f"there is no {program}: {hint}")
    headers = subprocess.run(["readelf", "--program-headers", program], check=False, text=True, capture_output=True).stdout
    if "Program Headers" not in headers or "INTERP" in headers:
        raise BuildError(f"{program} is not a statically linked program: {hint}")


def build(name: str, arguments: argparse.Namespace, output: Path, quiet: bool = False) -> dict[str, str]:
    """One variant, from packages to archive; answers the digests that must be the same every time."""
    if name == GATEWAY:
        return build_gateway(arguments, output, quiet)
    variant, epoch = VARIANTS[name], source_date_epoch()
    images = output / "image"
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=output) as scratch:
        tree, debs, blobs = (Path(scratch, part) for part in ("tree", "debs", "blobs"))
        blobs.mkdir()
        packages = make_tree(variant, arguments, epoch, tree, debs)
        version = released_version() + variant.tag
        bill = sbom.document(name, version, "NOASSERTION", packages, epoch)
        layers = [oci.write_layer(toolbox_entries(tree, name, bill), epoch, blobs, "toolbox")]
        if not arguments.toolbox_only:
            layers.append(oci.write_layer(program_entries(arguments.programs, (AGENT,)), epoch, blobs, "program"))
        refuse_if_large(layers, variant, packages)
        image = "nsdebug-" + name if arguments.toolbox_only else variant.image
        reference = f"docker.io/library/{image.removesuffix(variant.tag)}:{version}"
        archive = images / f"{image}.tar"
        shown = settings("nsdebug-toolbox", version) if arguments.toolbox_only else settings(AGENT, version) | started(AGENT)
        digest = oci.write_archive(archive, reference, layers, shown, architecture(), epoch)
        (images / f"{name}.spdx.json").write_bytes(bill)
        result = {"image": digest, "bill": hashlib.sha256(bill).hexdigest(), **contents(tree)}
        put(tree, output / name)
    if not quiet:
        report(output / name, archive, reference, digest, layers, packages)
    return result | {"archive": digest_of(archive)}


def build_gateway(arguments: argparse.Namespace, output: Path, quiet: bool) -> dict[str, str]:
    """Programs, names for user ids, and no other file."""
    epoch, version, images = source_date_epoch(), released_version(), output / "image"
    images.mkdir(parents=True, exist_ok=True)
    program, archive = GATEWAY_PROGRAMS[0], images / f"{GATEWAY_PROGRAMS[0]}.tar"
    reference = f"docker.io/library/{program}:{version}"
    with tempfile.TemporaryDirectory(prefix=f".{GATEWAY}-", dir=output) as blobs:
        layers = [oci.write_layer(program_entries(arguments.programs, GATEWAY_PROGRAMS), epoch, Path(blobs), "programs")]
        shown = settings(program, version) | started(program) | {"User": GATEWAY_USER}
        digest = oci.write_archive(archive, reference, layers, shown, architecture(), epoch)
    if not quiet:
        report_archive(archive, reference, digest, layers)
    return {"image": digest, "archive": digest_of(archive)}


def released_version() -> str:
    version: str = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    return version


def digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def make_tree(variant: Variant, arguments: argparse.Namespace, epoch: int, tree: Path, debs: Path) -> list[sbom.Package]:
    """The finished and proved tree; answers the packages in it."""
    wanted = [tool for part in variant.lists for tool in read_packages(HERE / f"{part}.packages")]
    rules = [rule for part in variant.lists for rule in read_rules(HERE / f"{part}.drop")]
    sources = arguments.sources.read_text() if arguments.sources else tools.SOURCES
    tools.extract([tool.package for tool in wanted], sources, epoch, tree, debs)
    owner = tools.owners(debs)
    tools.prune(tree, rules, owner)
    tools.drop_unused_libraries(tree, rules)
    tools.drop_empty(tree, owner)
    present = tools.bytes_by_package(tree, owner)
    tools.finish(tree)
    check.tree_is_fit(tree, wanted, sorted(present))
    return sbom.read(debs, tree, present)


def toolbox_entries(tree: Path, name: str, bill: bytes) -> list[oci.Entry]:
    directories = [oci.Entry(at, 0o755) for at in ("usr", "usr/share", "usr/share/doc", "usr/share/doc/nsdebug")]
    return [*oci.of_tree(tree, "toolbox"), *directories, oci.Entry(f"usr/share/doc/nsdebug/{name}.spdx.json", 0o644, content=bill)]


def program_entries(folder: Path, programs: tuple[str, ...]) -> list[oci.Entry]:
    """The root of a container of ours: programs, names for user ids, places to mount on."""
    places = [oci.Entry(at, 0o755) for at in ("dev", "etc", "proc", "run", "sys", "usr", "usr/bin")]
    names = [oci.Entry(at, 0o644, content=tools.WRITTEN[at].encode()) for at in ("etc/passwd", "etc/group")]
    ours = [oci.Entry(f"usr/bin/{program}", 0o755, content=folder / program) for program in programs]
    return [*places, oci.Entry("tmp", 0o1777), *names, *ours]


def settings(title: str, version: str) -> dict[str, Any]:
    """The labels a person reads, and what any image of ours tells a runtime."""
    about = {
        "title": title,
        "description": "Run tools a container does not have, inside its Linux namespaces",
        "version": version,
        "licenses": "Apache-2.0",
        "source": SOURCE,
        "documentation": f"{SOURCE}/blob/main/README.md",
    }
    return {"Labels": {f"org.opencontainers.image.{key}": value for key, value in about.items()}, "WorkingDir": "/"}


def started(program: str) -> dict[str, Any]:
    """What a runtime starts."""
    return {"Entrypoint": [f"/usr/bin/{program}"], "Env": ["PATH=/usr/bin"]}


def refuse_if_large(layers: list[oci.Layer], variant: Variant, packages: list[sbom.Package]) -> None:
    total = sum(layer.size for layer in layers)
    if total > variant.limit_mb * 1_000_000:
        largest = ", ".join(f"{package.name} {package.size / 1e6:.1f}" for package in largest_of(packages))
        raise BuildError(
            f"the image has {total / 1e6:.1f} MB compressed, more than the {variant.limit_mb} MB that its variant may have.\n"
            f"Leave something out (image/toolbox.drop) or argue a new limit in image/build.py. Largest packages, in MB of the tree: {largest}"
        )


def largest_of(packages: list[sbom.Package]) -> list[sbom.Package]:
    return sorted(packages, key=lambda package: -package.size)[:12]


def put(tree: Path, place: Path) -> None:
    """Move a finished tree to its place in one step; whatever still runs in the one before loses its files."""
    with tempfile.TemporaryDirectory(prefix=".old-", dir=place.parent) as aside:
        if place.exists():
            place.rename(Path(aside, "tree"))
        tree.rename(place)


def contents(tree: Path) -> dict[str, str]:
    """Mode and digest of every path, so that a difference has a name."""
    found = {}
    for path in tools.paths(tree):
        regular = path.is_file() and not path.is_symlink()
        what = hashlib.sha256(path.read_bytes()).hexdigest() if regular else os.readlink(path) if path.is_symlink() else ""
        found[tools.inside(tree, path)] = f"{path.lstat().st_mode:o} {what}"
    return found


def compare(name: str, first: dict[str, str], arguments: argparse.Namespace) -> None:
    """Build again, elsewhere, and refuse any difference."""
    with tempfile.TemporaryDirectory(prefix=".again-", dir=arguments.output) as elsewhere:
        second = build(name, arguments, Path(elsewhere), quiet=True)
    different = sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))
    if different:
        raise BuildError(f"{name}: two builds differ in {len(different)} things: {', '.join(different[:20])}")
    print(f"{name}: two builds gave the same bytes (archive sha256:{first['archive']})")


def source_date_epoch() -> int:
    """When the image was last changed on purpose; a commit elsewhere leaves the toolbox layer as it was."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    log = subprocess.run(
        ["git", "-C", REPOSITORY, "log", "-1", "--format=%ct", "--", *WHAT_COUNTS], check=False, text=True, capture_output=True
    )
    if not log.stdout.strip():
        raise BuildError("image/ is in no commit: set SOURCE_DATE_EPOCH")
    return int(log.stdout)


def architecture() -> str:
    """As Debian calls it, which for the two that nsdebug supports is also what OCI calls it."""
    return subprocess.run(["dpkg", "--print-architecture"], check=True, text=True, capture_output=True).stdout.strip()


def report(tree: Path, archive: Path, reference: str, digest: str, layers: list[oci.Layer], packages: list[sbom.Package]) -> None:
    size = sum(path.lstat().st_size for path in tools.paths(tree) if path.is_file() and not path.is_symlink())
    print(f"{tree}: {size / 1e6:.1f} MB, {len(packages)} packages")
    report_archive(archive, reference, digest, layers)
    for package in largest_of(packages):
        print(f"  {package.size / 1e6:6.1f} MB  {package.name} {package.version}")


def report_archive(archive: Path, reference: str, digest: str, layers: list[oci.Layer]) -> None:
    print(f"{archive}: {reference} {digest}")
    for layer in layers:
        print(f"  layer {layer.what:<8} {layer.size / 1e6:6.1f} MB  sha256:{layer.digest}")


if __name__ == "__main__":
    sys.exit(main())
