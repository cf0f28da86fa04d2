"""The licences of everything that goes into the executable, as members `licenses/NAME`."""

from __future__ import annotations

import subprocess
from collections.abc import Container
from importlib import metadata
from pathlib import Path

from llamafile.freeze.collect import PACKAGES, ROOT, Collection
from llamafile.freeze.link import Python

WORDS = ("LICEN", "COPYING", "COPYRIGHT", "NOTICE")


def license_members(found: Collection, python: Python, inside: Container[str]) -> dict[str, bytes]:
    """Texts for this project, CPython and its libraries, and each distribution that a collected module belongs to.

    Of the libraries that were found, only those count whose member is inside."""
    members = {"licenses/llamafile": (ROOT / "LICENSE").read_bytes()}
    for name, path in python.licenses.items():
        members[f"licenses/{name}"] = path.read_bytes()
    owners = metadata.packages_distributions()
    tops = {module.partition(".")[0] for module in (*found.modules, *found.extensions)} - set(PACKAGES)
    for distribution in sorted({owner for top in tops for owner in owners.get(top, ())}):
        for path in _texts(metadata.distribution(distribution)):
            members[f"licenses/{distribution}/{path.name}"] = path.read_bytes()
    for name, path in found.libraries.items():
        for text in _of_library(path) if f"lib/{name}" in inside else ():
            members[f"licenses/{name}/{text.name}"] = text.read_bytes()
    return members


def _of_library(path: Path) -> list[Path]:
    """What Debian says about the package that a system's library is of; nothing on other systems."""
    for place in (path.resolve(), Path(str(path.resolve()).removeprefix("/usr"))):
        try:
            done = subprocess.run(["dpkg", "-S", str(place)], capture_output=True, text=True)
        except OSError:
            return []
        if done.returncode == 0:
            text = Path("/usr/share/doc") / done.stdout.partition(":")[0] / "copyright"
            return [text] if text.is_file() else []
    return []


def _texts(distribution: metadata.Distribution) -> list[Path]:
    named = [
        file for file in distribution.files or () if ".dist-info" in str(file) and file.name.upper().startswith(WORDS)
    ]
    return sorted(Path(str(file.locate())) for file in named)
