"""Finding a GPU's module: in the cache, among the program's members, or by compiling it on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time

from gpu_modules import GpuFault, building, drivers, folders, kept
from gpu_modules.building import Failed, Unusable
from gpu_modules.compilers import KINDS

PREBUILT = "gpu/"  # members of the archive that zipalign added


class Shelf:
    """What the program gives: a version; `sources()` {name: bytes}; `members()` names and `read(name)` of its archive.

    `probe(path)` tries a module in a child and returns what it saw, or raises GpuFault; `note(line)` is for the user.
    """

    def __init__(self, version, sources, members, read, probe, note):
        self.version, self.sources, self.members, self.read = version, sources, members, read
        self.probe, self.note = probe, note


class Ready:
    """A module that may be loaded: its kind and path, the cards that the driver shows, and what the probe saw."""

    def __init__(self, kind, path, cards, seen):
        self.kind, self.path, self.cards, self.seen = kind, path, cards, seen


class Loader:
    """One search; `environment` as the process's, `limit` in seconds for a compiler."""

    def __init__(self, shelf, environment=os.environ, recompile=False, nocompile=False, limit=building.LIMIT):
        self.shelf, self.environment, self.limit = shelf, environment, limit
        self.recompile, self.nocompile = recompile, nocompile
        self.started = time.time()
        self._failed: dict[str, GpuFault] = {}  # by the name of the module that a compiler could not make

    def find(self, name):
        """The Ready module of a kind; raises GpuFault, whose line says what was looked for."""
        kind = KINDS[name]
        cards = kind.devices(self.environment)  # without a driver nothing else matters
        sources = kind.sources(self.shelf.sources())
        wanted = Wanted(kind, cards, digest_of(sources), drivers.version(kind.name))
        found = None if self.recompile else self._cached(wanted) or self._prebuilt(wanted)
        if found is None and self.nocompile:
            looked = ", ".join(folders.places(self.shelf.version, self.environment))
            raise GpuFault(f"no module {wanted.stem} in {looked} nor in this file, and --nocompile forbids to make one")
        path, seen = found or self._compiled(wanted, sources)
        return Ready(kind, path, cards, seen)

    def compilers(self, kind):
        """Yield (compiler, key) of those that answer; raises GpuFault where there is none."""
        found, said = kind.find(self.environment), []
        for compiler in found:
            try:
                yield compiler, hashlib.sha256(self.version_of(compiler).encode()).hexdigest()[:8]
            except GpuFault as why:
                said.append(str(why))
        if len(said) == len(found):
            looked = "; ".join(said) or LOOKED[kind.name]
            raise GpuFault(f"no compiler for {kind.title}: {looked}")

    def version_of(self, compiler):
        """The compiler's version, asked once: what it said is kept with what tells it from another one."""
        path = os.path.join(self._any_folder(), "compilers.json")
        known = {}
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            known = json.load(file)
        identity = compiler.identity()
        if not isinstance(known, dict) or identity not in known:
            known = {**(known if isinstance(known, dict) else {}), identity: compiler.version()}
            with contextlib.suppress(OSError):
                with open(f"{path}.{os.getpid()}", "w") as file:
                    json.dump(known, file)
                os.replace(f"{path}.{os.getpid()}", path)
        return known[identity]

    def _any_folder(self):
        there = folders.readable(self.shelf.version, self.environment)
        return there[0] if there else "/nonexistent"

    def _cached(self, wanted):
        """(path, what the probe saw) of a sound module in a folder; None where it has to be made."""
        try:
            names = [f"{wanted.stem}-{key}" for _, key in self.compilers(wanted.kind)]
        except GpuFault:
            names = []  # only the driver is needed once a module was built
        for folder in folders.readable(self.shelf.version, self.environment):
            stem = wanted.stem + "-"
            there = [kept.Kept(folder, name) for name in names] or kept.beginning_with(folder, stem)
            for one in [*there, *(k for k in kept.beginning_with(folder, stem) if k.facts().get("prebuilt"))]:
                found = self._sound(wanted, one)
                if found:
                    return found
        return None

    def _sound(self, wanted, one):
        """(path, seen) of a kept module that is whole and passes, or passed, the probe."""
        facts, problem = one.facts(), one.problem()
        if problem == "missing":
            if facts.get("fault") and facts.get("driver") == wanted.driver:
                said = GpuFault(f"{facts['fault']} (as before; --recompile tries again)")
                if facts.get("unusable"):
                    raise said
                self._failed[one.name] = said
            return None
        if problem:
            self.shelf.note(f"{one.path}: is {problem}; the module is made again")
            return None
        if facts.get("driver") != wanted.driver or "seen" not in facts:
            facts["seen"] = self.shelf.probe(one.path)
            with contextlib.suppress(OSError):  # a folder that cannot be written to costs a probe at each start
                one.note(**{**facts, "driver": wanted.driver})
        return one.path, facts["seen"]

    def _prebuilt(self, wanted):
        """(path, seen) of a member made from the same sources for these cards, copied into the cache."""
        for name in self.shelf.members():
            parts = os.path.basename(name).removesuffix(".so").split("-")
            if len(parts) != 4 or parts[0] != wanted.kind.name or parts[2] != wanted.digest:
                continue
            if not all(covers(parts[1].split("+"), arch) for arch in wanted.architectures):
                continue
            folder = next(folders.writable(self.shelf.version, self.environment))
            one = kept.Kept(folder, f"{wanted.stem}-{parts[3]}")
            made = f"{one.path}.{os.getpid()}"
            try:
                with open(made, "wb") as file:
                    file.write(self.shelf.read(name))
                seen = self.shelf.probe(made)
                one.take(made, driver=wanted.driver, seen=seen, prebuilt=name)
                return one.path, seen
            except (OSError, GpuFault) as why:
                self.shelf.note(f"{name}: cannot be used ({why}); a module is made on this machine")
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(made)
        return None

    def _compiled(self, wanted, sources):
        """(path, seen) of a module compiled now, or by another process meanwhile."""
        said = []
        for folder in folders.writable(self.shelf.version, self.environment):
            try:
                return self._compiled_in(folder, wanted, sources)
            except OSError as problem:
                said.append(f"{folder} ({problem.strerror})")
        raise GpuFault(f"the module for {wanted.kind.title} cannot be kept: {', '.join(said)}; set LLAMAFILE_CACHE")

    def _compiled_in(self, folder, wanted, sources):
        fault = None
        for compiler, key in self.compilers(wanted.kind):
            one = kept.Kept(folder, f"{wanted.stem}-{key}")
            with kept.locked(folder, one.name, self._waits):
                # Who had the lock before may have made what is wanted here, or failed.
                newer = os.path.exists(one.path) and os.stat(one.path).st_mtime >= self.started
                found = self._sound(wanted, one) if newer or not self.recompile else None
                if found:
                    return found
                if one.name in self._failed:
                    fault = fault or self._failed[one.name]
                    continue
                try:
                    return self._make(one, wanted, compiler, sources)
                except Unusable as why:
                    one.note(fault=str(why), driver=wanted.driver, unusable=True)
                    raise
                except Failed as why:
                    fault = fault or why  # the first compiler's words are the ones to heed
                    one.note(fault=str(why), driver=wanted.driver)
        raise fault or GpuFault("no compiler")

    def _waits(self):
        self.shelf.note("another process builds the GPU module; waiting for it")

    def _make(self, one, wanted, compiler, sources):
        """Compile with one compiler, by its attempts in turn, and probe what comes of it."""
        self.shelf.note(f"building the GPU module for {wanted.cards[0].name} ({wanted.architecture}) with "
                        f"{compiler.path}, this once")
        fault, started = None, time.monotonic()
        unpacked = kept.unpack(sources, one.folder, wanted.digest)
        made = f"{one.path}.{os.getpid()}"
        log = building.Log(one.log)
        try:
            for title, flags in wanted.kind.attempts(compiler, wanted.architectures):
                log.line(f"# {title}; {self.version_of(compiler)}")
                try:
                    building.attempt(wanted.kind, compiler, flags, unpacked, made, log, self.limit)
                    seen = self._tried(made, log)
                except Failed as why:
                    fault = fault or why
                    continue
                one.take(made, driver=wanted.driver, seen=seen, compiler=compiler.path)
                self.shelf.note(f"the GPU module was built in {time.monotonic() - started:.0f} s: {one.path}")
                return one.path, seen
        finally:
            log.close()
            with contextlib.suppress(OSError):
                os.unlink(made)
        raise fault or Failed(f"{compiler.path}: there is no way to make a module for {wanted.architecture}")

    def _tried(self, made, log):
        try:
            return self.shelf.probe(made)
        except GpuFault as why:
            log.line(f"= probe: {why}")
            raise Unusable(f"the module was built but cannot be used: {why}") from None


class Wanted:
    """What a search is for: a kind, its cards, the digest of the sources; together the beginning of the name."""

    def __init__(self, kind, cards, digest, driver):
        self.kind, self.cards, self.digest, self.driver = kind, cards, digest, driver
        self.architectures = sorted({card.architecture for card in cards})
        self.architecture = "+".join(self.architectures)
        self.stem = f"{kind.name}-{self.architecture}-{digest}"


LOOKED = {
    "cuda": "nvcc is not on PATH, in $CUDA_PATH/bin, /usr/local/cuda/bin, /opt/cuda/bin nor among the wheels; install "
            "the CUDA toolkit",
    "hip": "hipcc is not on PATH, in $HIP_PATH/bin nor in /opt/rocm/bin; install ROCm",
    "metal": "cc is not on PATH; run xcode-select --install",
    "emulated": "no c++ on PATH; install g++",
}  # fmt: skip


def digest_of(sources):
    """A number for all that a module is made of besides compiler and card."""
    digest = hashlib.sha256()
    for name, data in sorted(sources.items()):
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def covers(architectures, wanted):
    """Whether code for one of the architectures runs on the wanted one: the same, or NVIDIA's with a smaller minor."""
    if wanted in architectures:
        return True
    if not wanted.startswith("sm_"):
        return False
    number = int(wanted[3:])
    return any(int(a[3:]) // 10 == number // 10 and int(a[3:]) <= number for a in architectures if a[3:].isdecimal())
