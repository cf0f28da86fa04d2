"""What --list-devices and --gpu-doctor say: drivers, cards, compilers, cached modules, the probe, and what to do."""

from __future__ import annotations

import os
import sys

import llamafile
from gpu_modules import GpuFault, drivers, folders, kept
from gpu_modules.compilers import KINDS, ORDER
from gpu_modules.loader import Loader, Wanted, digest_of
from llamafile import gpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llamafile.arguments import Options

LAST_LINES = 30  # of a compiler's output
VARIABLES = ("CUDA_PATH", "CUDA_VISIBLE_DEVICES", "HIP_PATH", "HIP_VISIBLE_DEVICES", "LLAMAFILE_CACHE", "HOME",
             "TMPDIR", "XDG_RUNTIME_DIR")  # fmt: skip


def show(options: Options) -> None:
    """Write the list of cards, or the whole report, to the standard output."""
    if options.list_devices:
        sys.stdout.write(devices(_kinds(options)))
    else:
        Doctor(options, print).report()


def _kinds(options: Options) -> list[Any]:
    named = [kind for kind in KINDS.values() if options.gpu in kind.words]
    return named or [KINDS[name] for name in ORDER]


def devices(kinds: list[Any]) -> str:
    """One line a card, as --device names it; or one that says why there is none."""
    lines, reasons = [], []
    for kind in kinds:
        try:
            lines += [f"{kind.name.upper()}{i}: {card}" for i, card in enumerate(kind.devices(os.environ))]
        except GpuFault as why:
            reasons.append(str(why))
    return "".join(f"{line}\n" for line in lines or [f"no GPU: {'; '.join(reasons)}"])


def shortened(version: str) -> str:
    """Of what a compiler says of its version, the part that matters."""
    import re

    found = re.search(r"release [\d.]+, V[\d.]+|HIP version: \S+|clang version \S+", version)
    return found[0] if found else version[:60]


class Doctor:
    """Goes through each kind of GPU as the loader would, and tells what it finds."""

    def __init__(self, options: Options, say: Callable[..., None]) -> None:
        self.options, self.say = options, say
        self.shelf = gpu.shelf(lambda line: say(f"  {line}"))
        self.advice: list[str] = []

    def report(self) -> None:
        """The whole report; the last lines say what to do."""
        self.say(f"llamafile {llamafile.VERSION} on {' '.join(os.uname()[i] for i in (0, 2, 4))}")
        for name in VARIABLES:
            if name in os.environ:
                self.say(f"  {name}={os.environ[name]}")
        self._folders()
        for kind in _kinds(self.options):
            self.say()
            self.say(f"{kind.title} (--gpu {kind.words[0]})")
            try:
                self._kind(kind)
            except GpuFault as why:
                self.say(f"  cannot be used: {why}")
                self.advice.append(f"{kind.title}: {why}")
        self.say()
        self.say("What to do")
        for line in self.advice or ["nothing: run a model with -ngl 999"]:
            self.say(f"  {line}")

    def _folders(self) -> None:
        self.say("Folders for built modules, the first good one is used")
        for folder in folders.places(llamafile.VERSION):
            wrong = folders.problem(folder)
            state = wrong or "good"
            if wrong is None:
                names = [name for name in os.listdir(folder) if name.endswith(".so")]
                state = f"good, {len(names)} modules" if os.access(folder, os.W_OK) else "cannot be written to"
            self.say(f"  {folder}: {state}")

    def _kind(self, kind: Any) -> None:
        loader = Loader(self.shelf, recompile=self.options.recompile, nocompile=self.options.nocompile)
        self._compilers(kind, loader)
        sources = kind.sources(self.shelf.sources())
        size = sum(len(data) for data in sources.values())
        self.say(f"  sources: {len(sources)} files, {size >> 10} KiB, digest {digest_of(sources)}")
        cards = kind.devices(os.environ)
        self.say(f"  driver: {drivers.version(kind.name)}")
        for i, card in enumerate(cards):
            self.say(f"  card {kind.name.upper()}{i}: {card}")
        wanted = Wanted(kind, cards, digest_of(sources), drivers.version(kind.name))
        self.say(f"  module: {wanted.stem}")
        try:
            self._probe(loader.find(kind.name))
        finally:
            self._kept(wanted)

    def _compilers(self, kind: Any, loader: Any) -> None:
        found = kind.find(os.environ)
        for compiler in found:
            try:
                self.say(f"  compiler: {compiler.path} ({compiler.where}): {shortened(loader.version_of(compiler))}")
            except GpuFault as why:
                self.say(f"  compiler: {compiler.path} ({compiler.where}): {why}")
        if not found:
            self.say("  compiler: none found")

    def _probe(self, ready: Any) -> None:
        """The probe again, whatever was noted of an earlier one."""
        seen = gpu.probe(ready.path, gpu.PROBE_LIMIT, "--speed")
        for card in seen["cards"]:
            self.say(f"  probe: {card['name']}, {card['architecture']}: known products right within "
                     f"{card['difference']:g}; {card['available'] >> 20} of {card['total'] >> 20} MiB free; opened in "
                     f"{card['opened_in'] * 1e3:.0f} ms, computed in {card['tried_in'] * 1e3:.0f} ms")
            if "within" in card:
                self.say(f"  speed: copies within its memory {card['within'] / 1e9:.0f} GB/s (reading and writing), up "
                         f"from the host's {card['up'] / 1e9:.1f} GB/s")
        self.advice.append(f"{ready.kind.title} work: run a model with -ngl 999")

    def _kept(self, wanted: Any) -> None:
        """What lies in the folders for these cards: modules, notes, the last words of compilers."""
        for folder in folders.readable(llamafile.VERSION):
            for one in kept.beginning_with(folder, wanted.stem):
                by = one.facts().get("compiler") or one.facts().get("prebuilt") or "an unknown compiler"
                size, state = os.path.getsize(one.path) >> 10, one.problem() or "whole"
                self.say(f"  built: {one.path}, {size} KiB, {state}, by {by}")
            for name in sorted(os.listdir(folder)):
                if name.startswith(wanted.stem) and name.endswith(".log"):
                    self._log(os.path.join(folder, name))

    def _log(self, path: str) -> None:
        self.say(f"  log {path}:")
        with open(path, errors="replace") as file:
            lines = file.read().splitlines()
        commands = [line for line in lines if line.startswith("$ ")]
        for line in commands + ([f"... {len(lines) - LAST_LINES} lines more"] if len(lines) > LAST_LINES else []):
            self.say(f"    {line}")
        for line in lines[-LAST_LINES:]:
            if line not in commands:
                self.say(f"    {line}")

