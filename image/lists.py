"""Reading the package and drop lists.

Both are made for people first, so a line that has no reason is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


class BuildError(Exception):
    """The build cannot go on, or its result must not be used; the text is for the person who runs it."""


@dataclass(frozen=True)
class Tool:
    """One line of a `.packages` file."""

    package: str
    proofs: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """One line of a `.drop` file."""

    keep: bool
    package: str | None
    glob: str | None
    text: str

    def matches(self, path: str, owner: str | None) -> bool:
        return fnmatchcase(path, self.glob) if self.glob is not None else owner == self.package


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """What is not a comment, with the reason that each line must carry cut off."""
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        what, _, why = line.partition(" # ")
        if not why.strip():
            raise BuildError(f"{file.name}:{number}: no reason given (`{what.strip()}  # why`)")
        yield f"{file.name}:{number}", what.strip()


def read_packages(file: Path) -> list[Tool]:
    tools = []
    for where, line in _lines(file):
        found = re.fullmatch(r"([a-z0-9][a-z0-9.+-]+)\s+((?:\[[^\]]*\]\s*)+)", line)
        if not found:
            raise BuildError(f"{where}: want `PACKAGE [COMMAND] …  # why`, or [] where there is no command")
        proofs = re.findall(r"\[([^\]]+)\]", found[2])
        tools.append(Tool(found[1], tuple(proofs)))
    return tools


def read_rules(file: Path) -> list[Rule]:
    rules = []
    for where, line in _lines(file):
        sign, _, what = line.partition(" ")
        if sign not in "+-" or not what:
            raise BuildError(f"{where}: want `- GLOB`, `+ GLOB` or `- package NAME`")
        package = what.removeprefix("package ") if what.startswith("package ") else None
        rules.append(Rule(sign == "+", package, None if package else what, f"{where}: {line}"))
    return rules
