"""Loads native extension modules of a frozen executable from memory: nothing is written to any file system."""

from __future__ import annotations

import sys

import _launcher

_open_libraries: set[str] = set()


def find_spec(name: str, member: str) -> object:
    """The import spec of extension module name, whose bytes are the given member; its libraries are loaded first."""
    for library in _needs().get(member, ()):
        if library not in _open_libraries:
            _launcher.dlopen(_in_memory(library))
            _open_libraries.add(library)
    external = sys.modules["_frozen_importlib_external"]
    path = _in_memory(member)
    loader = external.ExtensionFileLoader(name, path)
    return external.spec_from_file_location(name, path, loader=loader)


def _in_memory(member: str) -> str:
    # The descriptor stays open: glibc knows a library by its path, and a number used again would give the old one.
    path = f"/proc/self/fd/{_launcher.memfd(member)}"
    try:
        import posix

        posix.stat(path)
    except OSError:
        raise ImportError(
            f"{member}: native modules are loaded through /proc, which is not mounted; mount it"
        ) from None
    return path


def _needs() -> dict[str, list[str]]:
    # Written by the freeze recipe, one line a member: the member, then the lib/ members it needs, in loading order.
    try:
        text = bytes(_launcher.data("ext/needs")).decode()
    except KeyError:
        return {}
    return {words[0]: words[1:] for words in map(str.split, text.splitlines())}
