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
    """Build beside the CPython in place (what cpython.build returned), OpenSSL once; returns the module's path."""
    tree, module, target = place / "openssl", place / "_ssl.so", place.name
    mark, recipe = tree / "recipe", _recipe(target)
    tools = {name: str(zig.tool(name, target, place.parent / "tools")) for name in ("cc", "ar", "ranlib")}
    if not mark.is_file() or mark.read_text() != recipe:
        print(f"llamafile: building OpenSSL {sources.OPENSSL.version} (some minutes)", file=sys.stderr, flush=True)
        archive = sources.Shelf(place.parent / "fetched").debian(sources.OPENSSL)
        _build_openssl(sources.unpack(archive, tree, leave_out="*/fuzz/corpora"), target, tools, jobs)
        mark.write_text(recipe)
    _link_module(place / "cpython", tree, module, tools["cc"])  # for whatever CPython is there: it takes a second
    return module


def _recipe(target: str) -> str:
    digest = hashlib.sha256(f"{target} {sources.OPENSSL}".encode())
    for name in ("tls.py", "zig.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
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
