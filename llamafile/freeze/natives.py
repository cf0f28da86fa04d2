"""The native parts: our C modules as objects for the head, other extension modules and their libraries as members."""

from __future__ import annotations

import re
from pathlib import Path

from llamafile import build as product
from llamafile.errors import LlamafileError
from llamafile.freeze.collect import Collection
from llamafile.freeze.link import Python, stripped
from runtime import build as core


def static_objects(python: Python, work: Path) -> dict[str, list[Path]]:
    """Module name → objects of our own C modules, compiled by the compiler that links the head."""
    if python.at_hand:  # then they are the objects that the checkout's own modules are linked of
        toolchain, work = core.Toolchain(), core.BUILD / "objects" / "native"
    else:
        toolchain = core.Toolchain(cc=python.cc, flags=python.includes, machine=python.target.partition("-")[0])
    modules = (core.core(), product.native())
    return {module.name: core.compile_module(module, toolchain, work / module.name) for module in modules}


def extension_members(found: Collection, inside: set[str], target: str) -> dict[str, bytes]:
    """`ext/` members for the collected extensions outside the head, `lib/` for what they need, and `ext/needs`.

    Raises LlamafileError for one that needs a newer C library than the target names.
    """
    members: dict[str, bytes] = {}
    needs = []
    for module, path in sorted(found.extensions.items()):
        if module in inside:
            continue
        member = f"ext/{module.replace('.', '/')}.so"
        members[member] = stripped(path)
        _refuse_newer(path, members[member], target)
        libraries = needed_libraries(path, found.libraries)
        for library in libraries:
            members[f"lib/{library}"] = stripped(found.libraries[library])
        if libraries:
            needs.append(" ".join([member, *(f"lib/{library}" for library in libraries)]))
    if needs:
        members["ext/needs"] = ("\n".join(needs) + "\n").encode()
    return members


def _refuse_newer(path: Path, data: bytes, target: str) -> None:
    """x86_64-linux-gnu.2.17 promises glibc 2.17; a target without a number promises only this machine's."""
    promised = re.search(r"gnu\.(\d+)\.(\d+)$", target)
    needed = max(((int(a), int(b)) for a, b in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", data)), default=(0, 0))
    if promised and needed > (int(promised[1]), int(promised[2])):
        raise LlamafileError(
            f"{path.name}: needs glibc {needed[0]}.{needed[1]}, the target is {target}; install a wheel that was built "
            "for an older one (manylinux2014)"
        )


def needed_libraries(path: Path, collected: dict[str, Path]) -> list[str]:
    """Names of the collected libraries that path needs, directly or not, each after those it needs itself."""
    from PyInstaller.depend.bindepend import get_imports

    order: list[str] = []

    def visit(file: Path) -> None:
        for name, _ in sorted(get_imports(str(file)), key=lambda pair: pair[0]):
            if name in collected and name not in order:
                visit(collected[name])
                order.append(name)

    visit(path)
    return order
