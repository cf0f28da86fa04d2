"""Builds CPython's `_ssl` with OpenSSL inside it, for any Linux: one extension module that is loaded for TLS alone."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from llamafile.errors import LlamafileError
from llamafile.freeze import sources, zig
from llamafile.freeze.link import run

# A server's end of TLS 1.2 and 1.3 with keys and certificates from files: what else OpenSSL can do is left out. It gets
# its settings from nobody's openssl.cnf and loads no providers or engines, so that it opens no file by itself.
LEFT_OUT = """
    apps aria async autoload-config bf blake2 camellia cast cmp cms comp ct default-thread-pool dgram docs dso dtls ec2m
    engine gost http idea legacy makedepend md4 mdc2 ml-dsa module ocsp pinshared quic rc2 rc4 rfc3779 rmd160 scrypt
    secure-memory seed shared siphash slh-dsa sm2 sm3 sm4 srp srtp ssl-trace tests thread-pool ts ui-console uplink
    whirlpool zlib
""".split()  # noqa: SIM905
PLATFORMS = {"x86_64": "linux-x86_64", "aarch64": "linux-aarch64"}
FLAGS = ["-O2", "-g0", "-w", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
_EXPORTS = "{ global: PyInit__ssl; local: *; };\n"


def build(place: Path, jobs: int = 2) -> Path:
    """Build beside the CPython in place (what cpython.build returned) unless it is there; returns the module's path."""
    work, target = place / "openssl", place.name
    module, mark = place / "_ssl.so", place / "recipe-tls"
    recipe = _recipe(place)
    if module.is_file() and mark.is_file() and mark.read_text() == recipe:
        return module
    mark.unlink(missing_ok=True)
    shelf = sources.Shelf(place.parent / "fetched")
    tools = {name: str(zig.tool(name, target, place.parent / "tools")) for name in ("cc", "ar", "ranlib")}
    print(f"llamafile: building OpenSSL {sources.OPENSSL.version} (some minutes)", file=sys.stderr, flush=True)
    tree = sources.unpack(shelf.debian(sources.OPENSSL), work, leave_out="*/fuzz/corpora")
    _build_openssl(tree, target, tools, jobs)
    _link_module(place / "cpython", tree, module, tools["cc"])
    mark.write_text(recipe)
    return module


def _recipe(place: Path) -> str:
    digest = hashlib.sha256((place / "recipe").read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _build_openssl(tree: Path, target: str, tools: dict[str, str], jobs: int) -> None:
    machine = target.partition("-")[0]
    if machine not in PLATFORMS:
        raise LlamafileError(f"{target}: OpenSSL's name for this processor is not known; add it to {__file__}")
    places = [f"--{name}=/nonexistent" for name in ("prefix", "openssldir")]
    words = [PLATFORMS[machine], *(f"no-{name}" for name in LEFT_OUT), *places]
    run(["perl", "Configure", *words, f"CC={tools['cc']}", f"CFLAGS={' '.join(FLAGS)}"], cwd=tree)
    for made in (["build_generated"], ["libcrypto.a", "libssl.a"]):
        run(["make", f"-j{jobs}", f"AR={tools['ar']}", f"RANLIB={tools['ranlib']}", *made], cwd=tree)


def _link_module(python: Path, openssl: Path, module: Path, cc: str) -> None:
    """Python's half is compiled, and all of OpenSSL that it reaches goes into the same shared object, hidden."""
    exports = module.with_suffix(".exports")
    exports.write_text(_EXPORTS)
    folders = [python / "Include", python, python / "Modules", openssl / "include"]
    command = [cc, *FLAGS, "-fwrapv", "-DNDEBUG", *(f"-I{folder}" for folder in folders), "-shared", "-s"]
    command += [str(python / "Modules" / "_ssl.c"), str(openssl / "libssl.a"), str(openssl / "libcrypto.a")]
    command += [f"-Wl,--version-script={exports}", "-Wl,--gc-sections", "-lpthread", "-ldl", "-o", str(module)]
    run(command)
