#!/usr/bin/env python3
"""What sbom.py makes of Debian's licences is SPDX, in the eyes of a library that knows SPDX's list and grammar.

Run by `make scripts`, which has that library. The image build does without: Debian's grammar, where a comma closes a group
and `GPL-2+` is a name, is what takes the code in sbom.py, and no library reads that.
"""

import sys
import unittest

sys.dont_write_bytecode = True

import sbom
from license_expression import get_spdx_licensing

FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
SPDX = get_spdx_licensing()


def of(*debian: str) -> str:
    """The licence of a package whose files have these."""
    return sbom.licence(FORMAT + "\n\n".join(f"Files: {number}\nLicense: {name}" for number, name in enumerate(debian)))


class Spdx(unittest.TestCase):
    def test_every_name_is_on_the_list(self) -> None:
        gnu = [f"{name}{plus}" for name in ("gpl-1", "gpl-2", "gpl-3", "lgpl-2", "lgpl-2.1", "lgpl-3", "gfdl-1.3") for plus in ("", "+")]
        for name in [*sbom.NAMES, *gnu]:
            self.assertEqual(SPDX.validate(of(name)).errors, [], name)

    def test_a_comma_closes_a_group_and_files_add_up(self) -> None:
        for debian, meant in (
            (["GPL-2+ or Expat, and ISC"], "(GPL-2.0-or-later OR MIT) AND ISC"),
            (["GPL-2 or Expat", "ISC or Zlib", "Expat"], "(GPL-2.0-only OR MIT) AND (ISC OR Zlib) AND MIT"),
            (["Expat and/or ISC"], "MIT OR ISC"),
        ):
            self.assertEqual(SPDX.validate(of(*debian)).errors, [])
            self.assertTrue(SPDX.is_equivalent(of(*debian), meant), of(*debian))

    def test_what_spdx_has_no_name_for_is_a_reference_and_nothing_else(self) -> None:
        for debian in ("My own", "GPL-2+ with OpenSSL exception", "Expat, and a licence of (some) length", "BSD-3-clause or Odd~1"):
            licences = SPDX.parse(of(debian), validate=False)
            unknown = SPDX.unknown_license_keys(licences)
            self.assertTrue(unknown and all(name.startswith("LicenseRef-debian-") for name in unknown), of(debian))


if __name__ == "__main__":
    unittest.main()
