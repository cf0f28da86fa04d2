"""Graphics cards for a model: what the flags ask for, the module that drives them, and the line that says it."""

from __future__ import annotations

import os
import sys

import llamafile
from gpu_modules import GpuFault, NoDriver
from gpu_modules.compilers import KINDS, ORDER
from gpu_modules.loader import Loader, Shelf
from llamafile import own
from llamafile.errors import LlamafileError
from runtime.ops import RuntimeFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.offload import Offload

PROBE_LIMIT = 180  # seconds: a driver may translate PTX at the first start
GENERATED = ("abi.h", "formats.h", "ops.h")
OFF = ("disable", "disabled")
ALL = 1 << 30  # layers


def sources() -> dict[str, bytes]:
    """Every file that GPU modules are made of, by its name in the source tree or the executable."""
    names = [name for name in own.names("gpu_modules") if not name.endswith((".py", ".pyc"))]
    names += [name for name in own.names("runtime") if name.endswith(".h") and "/launcher/" not in name]
    found = {name: own.read(name) for name in names}
    if own.archive() is None:
        from runtime.build import write_headers

        write_headers()
        found |= {f"gpu_modules/generated/{name}": own.read(f"build/generated/{name}") for name in GENERATED}
    return found


def shelf(note: Callable[[str], None]) -> Shelf:
    """What the loader is given by this program."""
    return Shelf(llamafile.VERSION, sources, _members, _member, probe, note)


def _members() -> list[str]:
    box = own.archive()
    return [name for name in box.members if name.startswith("gpu/")] if box is not None else []


def _member(name: str) -> bytes:
    box = own.archive()
    assert box is not None
    return box.read(box.members[name])


def program() -> list[str]:
    """The command that runs this program again."""
    path = own.path()
    return [path] if path is not None else [sys.executable, "-m", "llamafile"]


def probe(path: str, limit: float = PROBE_LIMIT, *more: str) -> dict[str, Any]:
    """Try a module in a child: {"kind", "cards": [...]}; raises GpuFault for a crash, a wrong sum or no answer.

    With --speed as `more`, it measures the cards' memories too.
    """
    import json
    import subprocess

    try:
        done = subprocess.run([*program(), "gpu-probe", path, *more], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=limit, cwd=own.root(), errors="replace")  # fmt: skip
    except subprocess.TimeoutExpired:
        raise GpuFault(f"{path}: gives no answer within {limit:g} s") from None
    except OSError as problem:
        raise GpuFault(f"{program()[0]}: cannot be run to try the module ({problem.strerror})") from None
    said = done.stderr.strip().splitlines()
    if done.returncode < 0:
        import signal

        raise GpuFault(f"{path}: dies by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        line = said[-1] if said else f"{path}: fails with status {done.returncode}"
        raise GpuFault(line.removeprefix("llamafile: "))
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError, TypeError):
        raise GpuFault(f"{path}: gives no answer that can be read") from None


def wishes(options: Options) -> tuple[str | None, int | None]:
    """The kind that --gpu names (None: whichever there is) and how many layers (None: as many as fit, 0: none)."""
    kind = next((kind.name for kind in KINDS.values() if options.gpu in kind.words), None)
    if options.gpu in OFF or "none" in str(options.device).split(","):
        return None, 0
    if "n_gpu_layers" in options.given:
        return kind, None if options.n_gpu_layers < 0 else options.n_gpu_layers
    # On a Mac the GPU shares the memory and is always worth it; elsewhere it is asked for, by name or by number.
    mac = sys.platform == "darwin" and os.uname().machine == "arm64"
    return kind, None if kind or mac else 0


def open_offload(options: Options, note: Callable[[str], None]) -> Offload | None:
    """The cards that the flags ask for, open; None for the CPU. Raises LlamafileError where a named GPU is not had."""
    kind, layers = wishes(options)
    if layers == 0:
        return None
    shares = _shares(options.tensor_split)
    if options.split_mode in ("row", "tensor"):
        note(f"--split-mode {options.split_mode}: whole layers are shared instead, as with layer")
    try:
        cards = _cards(kind, options, note)
    except GpuFault as why:
        if kind is not None:
            raise LlamafileError(f"--gpu {options.gpu}: {why}; --gpu-doctor tells more") from None
        if "n_gpu_layers" in options.given:
            note(f"warning: no GPU can be used, the CPU runs the model: {why}; --gpu-doctor tells more")
        return None
    from llamafile.offload import Offload

    if options.split_mode == "none":
        cards = [_main(cards, options.main_gpu)]
    return Offload(cards, layers, shares, cache_on_cpu=options.kv_offload is False, named=kind is not None,
                   cpu_experts=ALL if options.cpu_moe else options.n_cpu_moe,
                   note=note)  # fmt: skip


def _cards(kind: str | None, options: Options, note: Callable[[str], None]) -> list[Any]:
    loader = Loader(shelf(note), recompile=options.recompile, nocompile=options.nocompile)
    reasons: list[Exception] = []
    for name in [kind] if kind is not None else ORDER:
        try:
            return opened(loader.find(name), options.device)
        except (GpuFault, RuntimeFault) as why:
            reasons.append(why)
    # Where one kind has a driver, nobody asks for the others.
    there = [str(why) for why in reasons if not isinstance(why, NoDriver)]
    if kind is None and not there and len(reasons) > 1:
        raise GpuFault("there is no driver, neither NVIDIA's (libcuda.so.1) nor AMD's (/dev/kfd)")
    raise GpuFault("; ".join(there or map(str, reasons)))


def opened(ready: Any, chosen: str = "") -> list[Any]:
    """Every card of a module, or those that --device names as CUDA0,CUDA1; raises GpuFault, RuntimeFault."""
    from runtime.devices import Module

    module = Module(ready.path)
    names = [f"{ready.kind.name}{i}" for i in range(module.count())]
    wanted = [word.strip().lower() for word in chosen.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in names]
    if unknown or not names:
        raise GpuFault(f"--device {chosen}: there are {', '.join(names).upper() or 'none'}")
    cards: list[Any] = []
    try:
        for name in wanted or names:
            cards.append(module.open(names.index(name)))
    except RuntimeFault:
        for card in cards:
            card.close()
        raise
    return cards


def _main(cards: list[Any], number: int) -> Any:
    if not 0 <= number < len(cards):
        raise LlamafileError(f"--main-gpu {number}: there are {len(cards)} cards, counted from 0")
    for i, card in enumerate(cards):
        if i != number:
            card.close()
    return cards[number]


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.replace("/", ",").split(",") if part.strip())
    except ValueError:
        raise LlamafileError(f"--tensor-split: {text!r} is no list of numbers as in 3,1") from None
