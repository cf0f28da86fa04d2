"""Fetches the pinned sources a release is built from, by the machine's own package tools, and unpacks them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from llamafile.errors import LlamafileError
from llamafile.freeze.link import run


class Source(NamedTuple):
    """The pinned upstream archive of one Debian source package."""

    package: str
    version: str
    archive: str
    sha256: str
    elsewhere: str = ""  # the same bytes at upstream's, for when no Debian release has this version any more


CPYTHON = Source(
    "python3.11",
    "3.11.2",
    "python3.11_3.11.2.orig.tar.gz",
    "2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849",
)
ZLIB = Source(
    "zlib",
    "1.3.1",
    "zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
    "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
)
FFI = Source(  # the last one whose archive carries its configure script
    "libffi",
    "3.4.4",
    "libffi_3.4.4.orig.tar.gz",
    "d66c56ad259a82cf2a9dfc408b32bf5da52371500b84745f7fb8b645712df676",
)
OPENSSL = Source(  # with long support, until 2030
    "openssl",
    "3.5.7",
    "openssl_3.5.7.orig.tar.gz",
    "a8c0d28a529ca480f9f36cf5792e2cd21984552a3c8e4aa11a24aa31aeac98e8",
    "https://github.com/openssl/openssl/releases/download/openssl-3.5.7/openssl-3.5.7.tar.gz",
)
CPYTHON_SUITE = "bookworm"  # whose maintainers carry security fixes back to it
CFFI = ("cffi", "2.1.1")
CFFI_SHA256 = "dd31f52ea1086513bb9df30f8fcee9b8918323ae067a3d5b78bc826a000712be"

_APT_HELPER = "/usr/lib/apt/apt-helper"  # apt's own way to fetch one file, with its proxies, compared with a hash

# Debian's own changes are of no use here; what it took from later upstream releases to mend faults is.
_UPSTREAM_FIX = re.compile(r"CVE|^\d{4}-|deadlock|crash|nullptr")


class Shelf:
    """A folder of fetched archives; each is fetched once and its hash compared at every use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._apt: list[str] = []

    def debian(self, source: Source) -> Path:
        """The upstream archive of a Debian source package, from the pool: it stays there when revisions come and go."""
        path = self.folder / source.archive
        said = ""
        for address in () if path.exists() else _addresses(source):
            command = [_APT_HELPER, "download-file", address, str(path), f"SHA256:{source.sha256}"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                break
            path.unlink(missing_ok=True)
            said += f"; {done.stderr.strip() or address}"
        return checked(path, source.sha256, said)

    def cffi(self) -> Path:
        """The source distribution of cffi."""
        name, version = CFFI
        path = self.folder / f"{name}-{version}.tar.gz"
        if not path.exists():
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"--no-binary={name}"]
            run([*command, f"--dest={self.folder}", f"{name}=={version}"])
        return checked(path, CFFI_SHA256)

    def fixes(self, source: Source, suite: str) -> tuple[str, list[bytes]]:
        """A release's revision of a source package, and the upstream fixes in it, in order of application."""
        pattern = f"{source.package}_{source.version}-*.debian.tar.xz"
        if not list(self.folder.glob(pattern)):
            self._run_apt("source", "--download-only", f"{source.package}/{suite}")
        found = sorted(self.folder.glob(pattern))
        if not found:
            raise LlamafileError(
                f"{source.package}: its .debian.tar.xz is not in {self.folder}; delete the folder and try again"
            )
        with tarfile.open(found[-1]) as archive:
            names = _text(archive, "debian/patches/series").split()
            patches = [
                _text(archive, f"debian/patches/{name}").encode("latin-1")
                for name in names
                if _UPSTREAM_FIX.search(name)
            ]
        return found[-1].name.split("_")[1].removesuffix(".debian.tar.xz"), patches

    def _run_apt(self, *words: str) -> None:
        if not self._apt:
            self._apt = _private_apt(self.folder / "apt")
            run([*self._apt, "-q", "update"], cwd=self.folder)
        run([*self._apt, "-q", *words], cwd=self.folder)


def _text(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    if file is None:
        raise LlamafileError(f"{name}: is not among Debian's files; delete build/cpython and try again")
    return file.read().decode("latin-1")


def _private_apt(folder: Path) -> list[str]:
    """An apt-get with lists of its own, which hold the source packages; the machine's own set-up stays as it is."""
    if not shutil.which("apt-get"):
        raise LlamafileError(
            "apt-get: not found; the release is built from Debian's source packages, on Debian or Ubuntu"
        )
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    mirror, keyring = debian_mirror()
    (folder / "sources.list").write_text(f"deb-src [signed-by={keyring}] {mirror} {CPYTHON_SUITE} main\n")
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
    }
    return ["apt-get", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]


def _addresses(source: Source) -> list[str]:
    """Where an upstream archive may lie: among Debian's packages, among its security updates, at upstream's."""
    if not os.path.exists(_APT_HELPER):
        raise LlamafileError(f"{_APT_HELPER}: not found; the release is built from Debian's source packages, on Debian")
    mirror = debian_mirror()[0].rstrip("/")
    letter = source.package[: 4 if source.package.startswith("lib") else 1]
    path = f"main/{letter}/{source.package}/{source.archive}"
    places = [f"{mirror}/pool/{path}", f"{mirror}-security/pool/updates/{path}"]
    return [*places, source.elsewhere] if source.elsewhere else places


def debian_mirror() -> tuple[str, str]:
    """Where this machine gets Debian's packages from, and the keyring they are signed by."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for place in places:
        text = place.read_text(errors="replace") if place.is_file() else ""
        for address in re.findall(r"^(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(\S+)", text, re.MULTILINE):
            if address.rstrip("/").endswith("/debian") and Path(keyring).is_file():
                return address, keyring
    raise LlamafileError("apt: no Debian mirror among its sources; the release is built from Debian's source packages")


def checked(path: Path, sha256: str, said: str = "") -> Path:
    """The path itself when its content has the pinned hash; said is what went wrong in fetching it."""
    if not path.is_file():
        raise LlamafileError(f"{path.name}: was not fetched{said or '; see what pip says when asked for it'}")
    with open(path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != sha256:
        raise LlamafileError(f"{path}: its SHA-256 is {found}, pinned is {sha256}; delete it and try again")
    return path


def unpack(archive: Path, folder: Path, patches: list[bytes] | None = None, leave_out: str = "") -> Path:
    """Unpack an archive afresh into folder, without its one top folder, and apply patches; returns folder.

    Members whose name matches the pattern `leave_out` are not unpacked."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    without = [f"--exclude={leave_out}"] if leave_out else []
    run(["tar", "-xf", str(archive), "--strip-components=1", *without, "-C", str(folder)])
    for patch in patches or []:
        done = subprocess.run(["patch", "-p1", "--batch", "--silent"], input=patch, cwd=folder, capture_output=True)
        if done.returncode:
            raise LlamafileError(
                f"{archive.name}: a patch does not apply; {done.stdout.decode(errors='replace')[-500:]}"
            )
    return folder
