#!/usr/bin/env python3
"""Every check of the image build can fail: small hostile trees, each with one thing wrong.

Needs root (devices, owners), no network, no built image. `image/build.py` runs the same checks on the real tree.
"""

import os
import sys
import tarfile
import tempfile
import unittest
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True

import build
import check
import oci
import sbom
import tree as tools
from lists import BuildError, Tool, read_packages, read_rules

HERE = Path(__file__).resolve().parent


class InATree(unittest.TestCase):
    """A tree with nothing wrong; each test breaks one thing."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.tree = self.scratch / "tree"
        for name, mode in tools.MOUNT_DIRECTORIES.items():
            (self.tree / name).mkdir(parents=True)
            (self.tree / name).chmod(mode)
        for name in ("etc/ssl/certs", "usr/bin", "usr/sbin", "usr/lib", "usr/share/doc"):
            (self.tree / name).mkdir(parents=True)
        for name in tools.MOUNT_FILES:
            (self.tree / name).touch()
        for name in ("bin", "sbin", "lib"):
            (self.tree / name).symlink_to(f"usr/{name}")
        self.tool = self.tree / "usr/bin/tool"
        self.tool.write_text("#!/usr/bin/tool\n")
        self.tool.chmod(0o755)

    def test_a_good_tree_passes(self) -> None:
        found = check.privilege(self.tree) + check.layout(self.tree) + check.links(self.tree) + check.interpreters(self.tree)
        self.assertEqual(found, [])

    def test_set_id_bits_are_found(self) -> None:
        for mode in (0o4755, 0o2755):
            self.tool.chmod(mode)
            self.assertIn("set-id", check.privilege(self.tree)[0])

    def test_a_set_id_directory_is_found(self) -> None:
        (self.tree / "usr/lib").chmod(0o2755)
        self.assertIn("set-id", check.privilege(self.tree)[0])

    def test_a_file_capability_is_found(self) -> None:
        # cap_net_raw=ep, as setcap writes it.
        os.setxattr(self.tool, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
        self.assertIn("security.capability", check.privilege(self.tree)[0])

    def test_devices_fifos_and_sockets_are_found(self) -> None:
        os.mknod(self.tree / "usr/lib/null", 0o020600, os.makedev(1, 3))
        os.mkfifo(self.tree / "usr/lib/pipe", 0o600)
        found = "\n".join(check.privilege(self.tree))
        self.assertIn("character device", found)
        self.assertIn("fifo", found)

    def test_another_owner_is_found(self) -> None:
        os.chown(self.tool, 1000, 0)
        self.assertIn("owner 1000:0", check.privilege(self.tree)[0])

    def test_a_file_others_may_write_is_found(self) -> None:
        self.tool.chmod(0o757)
        self.assertIn("writable", check.privilege(self.tree)[0])

    def test_a_missing_or_full_mount_point_is_found(self) -> None:
        (self.tree / "target").rmdir()
        (self.tree / "run/left").touch()
        (self.tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
        self.assertEqual(len(check.layout(self.tree)), 3)

    def test_a_split_usr_is_found(self) -> None:
        (self.tree / "bin").unlink()
        (self.tree / "bin").mkdir()
        self.assertIn("/bin", check.layout(self.tree)[0])

    def test_a_link_to_nowhere_is_found(self) -> None:
        (self.tree / "usr/bin/vi").symlink_to("vim.tiny")
        self.assertIn("/usr/bin/vim.tiny", check.links(self.tree)[0])

    def test_a_script_without_its_interpreter_is_found(self) -> None:
        self.tool.write_text("#!/usr/bin/env perl\n")
        self.assertIn("/usr/bin/perl", check.interpreters(self.tree)[0])

    def test_a_missing_licence_is_found(self) -> None:
        self.assertEqual(check.licences(self.tree, ["bash"]), ["bash: no copyright file"])

    def test_an_empty_bundle_of_certificates_is_found(self) -> None:
        (self.tree / "etc/ssl/certs/ca-certificates.crt").touch()
        self.assertEqual(len(check.certificates(self.tree)), 1)

    def test_modes_are_made_plain(self) -> None:
        self.tool.chmod(0o6777)
        os.chown(self.tool, 7, 7)
        tools._plain_modes(self.tree)
        self.assertEqual(check.privilege(self.tree), [])
        self.assertEqual((self.tree / "tmp").stat().st_mode & 0o7777, 0o1777)

    def test_a_rule_without_work_is_refused(self) -> None:
        rules = self.scratch / "x.drop"
        rules.write_text("- /usr/bin/nothing  # why\n")
        with self.assertRaisesRegex(BuildError, "match nothing"):
            tools.prune(self.tree, read_rules(rules), {})

    def test_the_first_rule_that_matches_decides(self) -> None:
        rules = self.scratch / "x.drop"
        rules.write_text("+ /usr/bin/tool  # needed\n- /usr/bin/*  # the rest\n- package gone  # not needed\n")
        (self.tree / "usr/bin/other").touch()
        (self.tree / "usr/lib/gone").touch()
        tools.prune(self.tree, read_rules(rules), {"/usr/lib/gone": "gone"})
        self.assertEqual([path.name for path in (self.tree / "usr/bin").iterdir()], ["tool"])
        self.assertFalse((self.tree / "usr/lib/gone").exists())

    def test_the_same_tree_gives_the_same_layer_and_another_does_not(self) -> None:
        def digest(name: str) -> str:
            blobs = self.scratch / name
            blobs.mkdir()
            return oci.write_layer(oci.of_tree(self.tree, "toolbox"), 1_000_000_000, blobs, "toolbox").digest

        first = digest("one")
        os.utime(self.tool)  # later than the given time, so it does not count
        self.assertEqual(digest("two"), first)
        self.tool.write_text("#!/usr/bin/other\n")
        self.assertNotEqual(digest("three"), first)

    def test_an_archive_is_complete(self) -> None:
        layer = oci.write_layer(oci.of_tree(self.tree, "toolbox"), 0, self.scratch, "toolbox")
        archive = self.scratch / "image.tar"
        digest = oci.write_archive(archive, "example.org/x:1", [layer], {"Labels": {}}, "amd64", 0)
        with tarfile.open(archive) as tar:
            names = tar.getnames()
        self.assertEqual(len(names), 7)
        for wanted in (digest.removeprefix("sha256:"), layer.digest):
            self.assertIn(f"blobs/sha256/{wanted}", names)

    def test_an_image_over_its_limit_is_refused(self) -> None:
        layer = oci.Layer(self.tool, "", 61_000_000, "", "toolbox")
        with self.assertRaisesRegex(BuildError, "more than the 60 MB"):
            build.refuse_if_large([layer], build.VARIANTS["toolbox"], [])

    def test_a_second_build_that_differs_is_refused_by_name(self) -> None:
        arguments = Namespace(output=self.scratch)
        for second, refused in (({"/usr/bin/tool": "1"}, False), ({"/usr/bin/tool": "2"}, True), ({}, True)):
            outcome = self.assertRaisesRegex(BuildError, "/usr/bin/tool") if refused else nullcontext()
            again = mock.patch.object(build, "build", return_value=second | {"archive": "0"})
            with again, mock.patch("builtins.print"), outcome:
                build.compare("toolbox", {"/usr/bin/tool": "1", "archive": "0"}, arguments)

    def test_a_dynamic_or_absent_program_is_refused(self) -> None:
        with self.assertRaisesRegex(BuildError, "not a statically linked"):
            build.must_be_static(Path("/bin/ls"))
        with self.assertRaisesRegex(BuildError, "there is no"):
            build.must_be_static(self.scratch / "absent")


class OnTheHost(unittest.TestCase):
    """The host's own root stands in for a tree with programs in it; nothing in it is changed."""

    def test_a_missing_library_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch)
            for path in ("/bin/ls", tools.loader(Path("/"))):
                place = Path(f"{tree}{path}")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(Path(path).read_bytes())
                place.chmod(0o755)
            (tree / "lib64").symlink_to("usr/lib64") if not (tree / "lib64").exists() else None
            self.assertIn("libselinux", check.libraries(tree)[0])

    def test_a_failing_tool_is_found(self) -> None:
        broken = Tool("x", ("nothing-of-this-name --version", "true"))
        self.assertEqual(len(check.tools(Path("/"), [broken])), 1)


class TheLists(unittest.TestCase):
    def test_a_line_without_a_reason_is_refused(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".packages") as file:
            file.write("bash [bash --version]\n")
            file.flush()
            with self.assertRaisesRegex(BuildError, "no reason given"):
                read_packages(Path(file.name))

    def test_the_lists_of_the_repository_can_be_read(self) -> None:
        for variant in build.VARIANTS.values():
            for part in variant.lists:
                self.assertTrue(read_packages(HERE / f"{part}.packages"))
                self.assertTrue(read_rules(HERE / f"{part}.drop"))


class Licences(unittest.TestCase):
    FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"

    def test_debian_names_become_spdx(self) -> None:
        for debian, spdx in (
            ("GPL-2+", "GPL-2.0-or-later"),
            ("LGPL-2.1", "LGPL-2.1-only"),
            ("Expat", "MIT"),
            ("GPL-2+ or Artistic", "GPL-2.0-or-later OR Artistic-1.0-Perl"),
            ("GPL-2+ or Expat, and ISC", "(GPL-2.0-or-later OR MIT) AND ISC"),
            ("My own", "LicenseRef-debian-my-own"),
        ):
            self.assertEqual(sbom.licence(f"{self.FORMAT}Files: *\nLicense: {debian}\n"), spdx)

    def test_a_text_for_people_is_not_guessed_at(self) -> None:
        self.assertEqual(sbom.licence("This is free software.\nLicense: GPL\n"), "NOASSERTION")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("image/test.py: must run as root (it makes devices and changes owners)")
    unittest.main()
