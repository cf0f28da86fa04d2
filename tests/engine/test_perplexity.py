"""Perplexity on the King James text: llama.cpp's, within half a per cent; and the command that counts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from llamafile import __main__, perplexity
from llamafile.errors import LlamafileError
from llamafile.sampling import Params, Sampler
from tests.engine import opened
from tests.executable.built import BUILT, ROOT
from tests.oracles import kjv
from tests.oracles.make_perplexity import SIZE, ids_sha256, load
from tests.weights import Unavailable

pytestmark = pytest.mark.models

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("LLAMA_", "PYTHON"))}


@pytest.fixture(scope="module")
def text():
    try:
        return kjv.head(SIZE)
    except Unavailable as problem:
        pytest.skip(f"the King James text cannot be had: {problem}")


def scores(model, text, kept, windows) -> np.ndarray:
    """f64[windows]: the sum of -ln p over the scored tokens of each window, as LlamaCpp.perplexity defines them."""
    ids = model.tokenizer.encode(text, add_special=True, parse_special=False)
    assert (len(ids), ids_sha256(ids)) == (kept["tokens"], kept["ids_sha256"])
    window, half, sums = kept["window"], kept["window"] // 2, []
    with opened.session(model, window, n_batch=half, all_logits=True) as session:
        for start in range(0, windows * window, window):
            session.truncate(0)
            session.append(ids[start:start + half])
            session.append(ids[start + half:start + window])
            rows = opened.rows(session, half)[:-1].astype(np.float64)
            rows -= rows.max(-1, keepdims=True)
            targets = ids[start + half + 1:start + window]
            sums.append((np.log(np.exp(rows).sum(-1)) - rows[np.arange(len(targets)), targets]).sum())
    return np.array(sums)


def compare(path, name, text, windows, tolerance) -> None:
    """Ours over the first windows (None: all) is llama.cpp's over the same ones."""
    kept = load(name)
    theirs = np.array(kept["nll"][:windows])
    with opened.model(path) as model:
        ours = scores(model, text, kept, len(theirs))
    per_window = kept["window"] - kept["window"] // 2 - 1
    a, b = np.exp(ours.mean() / per_window), np.exp(theirs.mean() / per_window)
    print(f"{name}: perplexity {a:.4f}, llama.cpp's {b:.4f}")
    assert abs(a / b - 1) < tolerance


def test_smollm2_begins_alike(smollm2, text):
    """Over few windows chance plays a larger part."""
    compare(smollm2, "smollm2", text, 5, 0.01)


@pytest.mark.long
def test_smollm2(smollm2, text):
    compare(smollm2, "smollm2", text, None, 0.005)


@pytest.mark.long
def test_qwen(qwen0_5b, text):
    compare(qwen0_5b, "qwen0.5b", text, None, 0.005)


def run(*words, program=(sys.executable, "-m", "llamafile")):
    # In a process of its own: the sandbox closes for good.
    return subprocess.run([*program, "perplexity", *map(str, words)], capture_output=True, text=True, cwd=ROOT,
                          timeout=300, env=ENVIRONMENT, stdin=subprocess.DEVNULL)


def numbers(done):
    """The perplexities after each window, and the last line's two numbers."""
    assert done.returncode == 0, done.stderr
    windows, last = done.stdout.splitlines()
    parts = [part.partition("]") for part in windows.rstrip(",").split(",")]
    assert [first for first, _, _ in parts] == [f"[{i + 1}" for i in range(len(parts))]
    assert last.startswith("Final estimate: PPL = ")
    return [float(value) for _, _, value in parts], [float(word) for word in last.split(" = ")[1].split(" +/- ")]


@pytest.fixture(scope="module")
def saved(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(text)
    return path


def test_windows_are_numpys_and_near_llama_cpps(smollm2, text, saved):
    kept = load("smollm2")
    with opened.model(smollm2) as model:
        sums = scores(model, text, kept, 2)
    per_window = kept["window"] - kept["window"] // 2 - 1
    after, (all_of_them, error) = numbers(run("-m", smollm2, "-f", saved, "--chunks", 2, "-t", 2))
    ours = np.exp(np.cumsum(sums) / (np.arange(1, 3) * per_window))
    theirs = np.exp(np.cumsum(kept["nll"][:2]) / (np.arange(1, 3) * per_window))
    assert np.allclose(after, ours, rtol=1e-4)
    assert np.allclose(after, theirs, rtol=0.03)
    assert all_of_them == after[-1]
    assert 0.02 * all_of_them < error < 0.2 * all_of_them


def test_the_error_is_that_of_the_mean(tinycoder, tmp_path):
    """On a window whose tokens are scored one by one."""
    path = tmp_path / "code.txt"
    path.write_text("def f(x):\n    return x + 1\n" * 40)
    with opened.model(tinycoder) as model:
        ids = model.tokenizer.encode(path.read_bytes(), add_special=True, parse_special=False)[:64]
        with opened.session(model, 64, n_batch=64, all_logits=True) as session:
            sampler = Sampler(Params(), model.n_vocab, 64, eog=model.tokenizer.eog)
            found = np.array(list(perplexity.losses(session, sampler, ids)))
    assert len(found) == 31
    wanted = np.exp(found.mean()), np.exp(found.mean()) * found.std() / np.sqrt(30)
    _, last = numbers(run("-m", tinycoder, "-f", path, "-c", 64, "--chunks", 1))
    assert np.allclose(last, wanted, rtol=1e-3)


@pytest.mark.parametrize("words", [["-ub", "1"], ["-b", "7"], ["-t", "1"]])
def test_how_the_work_is_cut_changes_nothing(tinycoder, tmp_path, words):
    path = tmp_path / "code.txt"
    path.write_text("import os\nfor name in os.listdir('.'):\n    print(name)\n" * 20)
    plain = run("-m", tinycoder, "-f", path, "-c", 32)
    assert numbers(plain)
    assert run("-m", tinycoder, "-f", path, "-c", 32, *words).stdout == plain.stdout


@pytest.mark.parametrize(("words", "said"), [
    ([], "perplexity: there is no text; give one with -f FILE"),
    (["-f", "/nowhere.txt"], "/nowhere.txt"),
    (["-p", "short"], "and a window 512; give a longer text or a smaller -c"),
    (["-p", "short", "-c", "4"], "-c 4: a window has 8 tokens at least"),
    (["-p", "short", "--chunks", "x"], "perplexity: Invalid value for '--chunks'"),
    (["--no-such-flag"], "--no-such-flag"),
])  # fmt: skip
def test_what_is_wrong_is_said(tinycoder, words, said):
    with pytest.raises(LlamafileError) as problem:
        __main__.run(["perplexity", "-m", str(tinycoder), *words, "--unsecure"])
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_closed_pipe_ends_it_silently(tinycoder, tmp_path):
    path = tmp_path / "code.txt"
    path.write_text("import os\n" * 4000)
    words = [sys.executable, "-m", "llamafile", "perplexity", "-m", str(tinycoder), "-f", str(path), "-c", "8"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT) as process:
        assert process.stdout.read(3) == b"[1]"
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == -signal.SIGPIPE
    assert "Traceback" not in said


@pytest.mark.built
def test_in_the_executable(tinycoder, tmp_path):
    if not BUILT.exists():
        pytest.skip(f"{BUILT} is not built; make executable")
    path = tmp_path / "code.txt"
    path.write_text("import os\nfor name in os.listdir('.'):\n    print(name)\n" * 20)
    words = ["-m", tinycoder, "-f", path, "-c", 32, "-t", 1]
    assert numbers(run(*words, program=[str(BUILT)])) == numbers(run(*words))
