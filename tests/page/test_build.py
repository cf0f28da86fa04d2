"""How the page is built and carried: the lock file, the accessor, the licences, the types."""

from __future__ import annotations

import gzip
import json
import re
import subprocess

import pytest

from llamafile import page
from llamafile.page import build


def test_every_file_is_read_by_its_path(built):
    data, kind = page.read("/")
    assert data == (built / "index.html").read_bytes() and kind == "text/html; charset=utf-8"
    assert page.read("index.html") == page.read("") == page.read("/")
    names = [path.name for path in built.iterdir() if path.suffix != ".gz"]
    assert len(names) > 20
    for name in names:
        file = page.file(name)
        assert file.data == (built / name).read_bytes()
        assert file.packed is None or gzip.decompress(file.packed) == file.data
        assert file.type != "application/octet-stream"
    assert len({page.file(name).tag for name in names}) == len(names)


@pytest.mark.parametrize("path", ["missing.js", "../npm/package.json", "%2e%2e/x", "page.js.gz", "src/main.tsx", "//x"])
def test_nothing_else_is_read(built, path):
    assert page.read(path) is None


def test_nothing_is_opened_after_the_first_read(built, monkeypatch):
    page.load()
    monkeypatch.setattr("builtins.open", None)
    assert page.read("page.js")


def test_the_page_names_no_other_host_and_has_no_inline_script(built):
    text = page.read("index.html")[0].decode()
    assert page.POLICY in text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|<style|style=|https?:", text.replace(page.POLICY, ""))
    for name in ("page.css", "maths.css"):
        assert not re.search(r"url\((?!\"?(\./)?[\w-]+\.woff2)|https?:", page.read(name)[0].decode())


def test_members_carry_the_page_and_the_licences(built):
    members = build.members()
    assert "page/index.html.gz" in members and "page/index.html" not in members
    assert all(name.startswith(("page/", "licenses/")) for name in members)
    licences = members["licenses/page"].decode()
    for package in json.loads((build.SOURCE / "package.json").read_text())["dependencies"]:
        assert re.search(rf"^{re.escape(package)} \d", licences, re.MULTILINE), package


def test_the_lock_file_pins_everything_and_names_no_host():
    lock = json.loads((build.SOURCE / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert entry.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/"), name
        assert not entry.get("hasInstallScript") or name == "node_modules/esbuild", name


def test_the_sources_have_no_type_errors(built):
    node, _ = build.node_and_npm()
    compiler = build.WORK / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run([*node, str(compiler), "--noEmit"], cwd=build.WORK, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_second_build_changes_nothing(built):
    before = {path: path.stat().st_mtime_ns for path in built.iterdir()}
    build.build()
    assert {path: path.stat().st_mtime_ns for path in built.iterdir()} == before
