"""The bill of materials of a tree: SPDX 2.3 JSON, the same bytes for the same packages.

Licences are those of machine-readable copyright files; nothing is guessed for the others (NOASSERTION). Their grammar is
Debian's, which no library turns into SPDX's; that the result is SPDX is tested with one (spdx_test.py).
"""

import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

# Debian's short names for what SPDX calls otherwise; GPL and its relatives are computed.
NAMES = {
    "expat": "MIT", "mit": "MIT", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd-4-clause": "BSD-4-Clause",
    "isc": "ISC", "zlib": "Zlib", "apache-2.0": "Apache-2.0", "mpl-2.0": "MPL-2.0", "mpl-1.1": "MPL-1.1", "cc0-1.0": "CC0-1.0",
    "artistic": "Artistic-1.0-Perl", "openssl": "OpenSSL", "curl": "curl", "x11": "X11", "fsfap": "FSFAP", "fsful": "FSFUL",
    "fsfullr": "FSFULLR", "vim": "Vim", "unlicense": "Unlicense", "bsl-1.0": "BSL-1.0", "openldap-2.8": "OLDAP-2.8",
}


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    homepage: str
    size: int  # of its files that are in the tree
    sha256: str
    licence: str


def read(debs: Path, tree: Path, present: dict[str, int]) -> list[Package]:
    """The packages of `debs` that left something in the tree, given how many bytes each did."""
    packages = []
    for deb in sorted(debs.glob("*.deb")):
        if (name := deb.name.split("_")[0]) not in present:
            continue
        form = "${Version}\n${Architecture}\n${source:Package}\n${source:Version}\n${Homepage}"
        shown = subprocess.run(["dpkg-deb", f"--showformat={form}", "-W", deb], check=True, text=True, capture_output=True)
        version, architecture, source, source_version, homepage = shown.stdout.split("\n")
        text = (tree / "usr/share/doc" / name / "copyright").read_text(errors="replace")
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        packages.append(
            Package(name, version, architecture, source, source_version, homepage, present[name], digest, licence(text))
        )
    return packages


def licence(copyright_file: str) -> str:
    """All licences of a machine-readable copyright file, as one SPDX expression."""
    if not re.match(r"Format: https?://www\.debian\.org/doc/packaging-manuals/copyright-format/1\.0", copyright_file):
        return "NOASSERTION"
    stanzas = re.split(r"\n\s*\n", copyright_file)
    lines = [re.search(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE) for text in stanzas if re.search(r"^Files:", text, re.MULTILINE)]
    parts = {_expression(found[1]) for found in lines if found}
    if not parts:
        return "NOASSERTION"
    return " AND ".join(f"({part})" if " " in part and len(parts) > 1 else part for part in sorted(parts))


def _expression(short: str) -> str:
    """`GPL-2+ or Expat, and ISC` in SPDX's words; a comma binds weaker than the word before it, so it closes a group."""
    groups = re.split(r",\s*(and|or)\s+", re.sub(r"\s+with\s+\S+(\s+\S+)*?\s+exception", _exception, short.strip().lower()))
    text = [
        f" {group.upper()} " if position % 2 else _group(group, len(groups) > 1)
        for position, group in enumerate(groups)
    ]
    return "".join(text)


def _exception(found: re.Match[str]) -> str:
    return "-" + "-".join(found[0].split())


def _group(group: str, nested: bool) -> str:
    words = re.split(r"\s+(and|or|and/or)\s+", group)
    text = "".join(
        f" {word.split('/')[-1].upper()} " if position % 2 else _name(word) for position, word in enumerate(words)
    )
    return f"({text})" if nested and " " in text else text


def _name(short: str) -> str:
    if short in NAMES:
        return NAMES[short]
    gnu = re.fullmatch(r"(a?gpl|lgpl|gfdl)-(\d(?:\.\d)?)(\+?)", short)
    if gnu:
        number = gnu[2] if "." in gnu[2] else f"{gnu[2]}.0"
        return f"{gnu[1].upper()}-{number}-{'or-later' if gnu[3] else 'only'}"
    return "LicenseRef-debian-" + (re.sub(r"[^a-z0-9.]+", "-", short).strip("-") or "unnamed")


def document(title: str, version: str, licence_of_all: str, packages: list[Package], epoch: int) -> bytes:
    """The SPDX document; its name space is the digest of what it says."""
    root = {
        "SPDXID": "SPDXRef-image", "name": title, "versionInfo": version, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": licence_of_all,
        "copyrightText": "NOASSERTION",
    }
    entries = [_entry(package) for package in packages]
    references = sorted({name for package in packages for name in re.findall(r"LicenseRef-[\w.-]+", package.licence)})
    text = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"{title}-{version}",
        "creationInfo": {
            "created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: nsdebug-image-build"],
        },
        "packages": [root, *entries],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"},
            *({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": entry["SPDXID"]} for entry in entries),
        ],
        "hasExtractedLicensingInfos": [
            {"licenseId": name, "extractedText": "As named in usr/share/doc/PACKAGE/copyright of the packages that declare it."}
            for name in references
        ],
    }
    digest = hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()
    text["documentNamespace"] = f"https://nsdebug.dev/spdx/{title}-{version}-{digest}"
    return json.dumps(text, indent=1, sort_keys=True).encode() + b"\n"


def _entry(package: Package) -> dict[str, object]:
    purl = f"pkg:deb/debian/{quote(package.name)}@{quote(package.version, safe='')}?arch={package.architecture}"
    return {
        "SPDXID": "SPDXRef-deb-" + re.sub(r"[^A-Za-z0-9.-]", "-", package.name), "name": package.name,
        "versionInfo": package.version, "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "homepage": package.homepage or "NOASSERTION",
        "sourceInfo": f"built from source package {package.source} {package.source_version}",
        "licenseConcluded": "NOASSERTION", "licenseDeclared": package.licence, "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": package.sha256}],
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
    }
