"""OCI image archives without a registry or a daemon: layers, configuration, manifest, index, in one tar file.

The same entries give the same bytes: sorted names, no owner but 0:0, no time later than the given one.
"""

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

# One thread: the result must not depend on the machine. Level 19 would save an eighth of the size for eight times the time.
COMPRESS = ["zstd", "--quiet", "--stdout", "-12", "--single-thread"]
LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Entry:
    """One name in a layer: a directory, a link, or a file with its bytes or the place where they are."""

    name: str
    mode: int
    link: str | None = None
    content: bytes | Path | None = None
    time: int | None = None


@dataclass(frozen=True)
class Layer:
    blob: Path
    digest: str
    size: int
    diff_id: str
    what: str


class _Hashing(io.RawIOBase):
    """A file that also digests what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def of_tree(tree: Path, prefix: str) -> list[Entry]:
    """The entries of a directory, to appear under `prefix`."""
    found = [Entry(prefix, 0o755)]
    for directory, directories, files in os.walk(tree):
        for name in directories + files:
            path = Path(directory, name)
            status = path.lstat()
            at, mode, time = f"{prefix}/{path.relative_to(tree)}", stat.S_IMODE(status.st_mode), int(status.st_mtime)
            if path.is_symlink():
                found.append(Entry(at, 0o777, link=os.readlink(path), time=time))
            elif path.is_dir():
                found.append(Entry(at, mode))
            else:
                found.append(Entry(at, mode, content=path, time=time))
    return found


def write_layer(entries: list[Entry], epoch: int, blobs: Path, what: str) -> Layer:
    """Compress `entries` into `blobs`."""
    draft = blobs / f"{what}.partial"
    with draft.open("wb") as out, subprocess.Popen(COMPRESS, stdin=subprocess.PIPE, stdout=out) as zstd:
        assert zstd.stdin is not None
        plain = _Hashing(zstd.stdin)
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for entry in sorted(entries, key=lambda entry: entry.name.split("/")):
                _add(tar, entry, epoch)
        zstd.stdin.close()
    if zstd.returncode != 0:
        raise OSError(f"zstd ended with {zstd.returncode}")
    with draft.open("rb") as packed:
        digest = hashlib.file_digest(packed, "sha256").hexdigest()
    return Layer(draft.rename(blobs / digest), digest, (blobs / digest).stat().st_size, plain.sha256.hexdigest(), what)


def _add(tar: tarfile.TarFile, entry: Entry, epoch: int) -> None:
    info = tarfile.TarInfo(entry.name)
    info.mode = entry.mode
    info.mtime = epoch if entry.time is None else min(entry.time, epoch)
    if entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    else:
        content = entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes()
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def write_archive(archive: Path, name: str, layers: list[Layer], settings: dict[str, Any], architecture: str, epoch: int) -> str:
    """Write the archive and answer the digest of the image in it."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = _json({
        "created": created, "architecture": architecture, "os": "linux", "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
        "history": [{"created": created, "created_by": f"image/build.py: {layer.what}"} for layer in layers],
    })
    manifest = _json({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": _descriptor(CONFIG, config),
        "layers": [{"mediaType": LAYER, "digest": f"sha256:{layer.digest}", "size": layer.size} for layer in layers],
        "annotations": settings["Labels"],
    })
    pointer = _descriptor(MANIFEST, manifest) | {
        "platform": {"architecture": architecture, "os": "linux"},
        # containerd reads the first, skopeo and podman the second.
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1]},
    }
    entries = [
        Entry("blobs", 0o755), Entry("blobs/sha256", 0o755),
        Entry("oci-layout", 0o644, content=_json({"imageLayoutVersion": "1.0.0"})),
        Entry("index.json", 0o644, content=_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [pointer]})),
        *(Entry(f"blobs/sha256/{_digest(blob)}", 0o644, content=blob) for blob in (config, manifest)),
        *(Entry(f"blobs/sha256/{layer.digest}", 0o644, content=layer.blob) for layer in layers),
    ]
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(entries, key=lambda entry: entry.name):
            _add(tar, entry, epoch)
    return f"sha256:{_digest(manifest)}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{_digest(blob)}", "size": len(blob)}
