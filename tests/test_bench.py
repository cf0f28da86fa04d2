"""The bench's own arithmetic, on tiny input: it times what it says it times, and computes shares and ratios right."""

from __future__ import annotations

import csv
import io
import os
import sys
import types

import numpy as np
import pytest

from llamafile.gguf.file import File, Tensor
from llamafile.gguf.reader import open_path
from llamafile.lower import for_cpu
from llamafile.model import Model
from runtime.quants import BY_ID, FORMATS
from runtime.threads import Pool
from tests.bench import __main__ as command
from tests.bench import (
    cores,
    limits,
    llama_server,
    long,
    models,
    packaging,
    peers,
    processes,
    products,
    serving,
    startup,
    synthetic,
)
from tests.bench.report import Report, number, ratio, rounds
from tests.engine import opened

TINY = {"layers": 2, "width": 256, "heads": 4, "kv_heads": 2, "ff": 512}
PEER = """#!{python}
import json, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert given["-o"] == "json" and given["-r"] == "1"
with open({log!r}, "a") as log:
    print(given["-m"], file=log)
if "-d" in given:
    sys.exit("invalid parameter")
tests = [(int(given["-p"]), 0, 400.5), (0, int(given["-n"]), 50.25)]
if "-gp" in given:
    assert (given["-fa"], given["-ctk"], given["-ctv"]) == ("1", "q8_0", "q8_0")
    tests.append((*map(int, given["-gp"].split(",")), 30.5))
print(json.dumps([{{"build_number": 7, "build_commit": "abc", "cpu_info": "a processor", "n_prompt": p, "n_gen": n,
                   "avg_ts": speed}} for p, n, speed in tests if p or n]))
"""


def rows(report):
    """Rows by (what, measure)."""
    found = {(row.what, row.measure): row for row in report.rows}
    assert len(found) == len(report.rows)
    return found


@pytest.fixture
def report():
    return Report(io.StringIO())


@pytest.fixture
def peer(tmp_path):
    path, log = tmp_path / "llama-bench", tmp_path / "log"
    path.write_text(PEER.format(python=sys.executable, log=str(log)))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def tiny(tinycoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "tiny.gguf"
    synthetic.make(path, tinycoder, "Q4_K_M", TINY)
    return path


def test_numbers_have_four_digits():
    assert [number(v) for v in (0, 0.012345, 1.23456, 12.3456, 123.456, 1234.56)] == [
        "0", "0.01235", "1.23", "12.3", "123", "1235"]  # fmt: skip


def test_rounds_alternate_and_ratios_are_taken_round_by_round():
    order = []
    one, two = rounds(3, lambda: order.append("a") or len(order), lambda: order.append("b") or len(order))
    assert order == ["a", "b"] * 3
    assert (one, two) == ([1, 3, 5], [2, 4, 6])
    # A machine that doubles its speed between two rounds changes no ratio.
    assert ratio([10, 20, 10], [5, 10, 5]) == 2
    assert ratio([1, 100, 3], [1, 10, 1]) == 3


def test_table_and_csv_hold_every_row(report, tmp_path):
    report.head()
    report.add("models", "a model", "prompt", 1234.5, "tok/s", share=0.25, of="a peak", peer=617.25, ratio=2.0)
    report.add("models", "a model", "answer", 0.5, "tok/s")
    report.write(tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["value"]) for row in table] == [1234.5, 0.5]
    assert table[0]["ratio"] == "2.0"
    assert table[1]["share"] == table[1]["peer"] == ""
    head, first, second = report.out.getvalue().splitlines()
    assert head.split()[0] == "section"
    assert "25 %" in first and "2.00" in first
    assert second.split() == ["models", "a", "model", "answer", "0.5", "tok/s"]


def test_a_peer_is_asked_for_depth_in_the_way_that_it_knows(peer, tmp_path):
    assert peers.prompt(peer, "m.gguf", 3, 1) == 400.5
    assert peers.deep(peer, "m.gguf", 70, 5, 1, "q8_0") == 30.5
    other = tmp_path / "other"
    answer = '[{"n_prompt": 0, "n_gen": 5, "n_depth": 70, "avg_ts": 20.5}]'
    other.write_text(f"#!/bin/sh\ncase \"$*\" in *'-d 70'*) echo '{answer}';; *) exit 1;; esac\n")
    other.chmod(0o755)
    assert peers.deep(other, "m.gguf", 70, 5, 1, "f16") == 20.5
    with pytest.raises(limits.Missing, match="not understood"):
        peers.prompt(peer, "m.gguf", 0, 1)


@pytest.mark.models
def test_long_contexts(report, tiny, peer):
    options = types.SimpleNamespace(rounds=2, threads=1, peer=peer, quick=True)
    with opened.model(tiny, n_threads=1) as model:
        long.prompt(report, options, tiny, model, 70)
        long.answer(report, options, tiny, model, 70, "q8_0")
    long.together(report, options, "tiny", tiny)
    found = rows(report)
    assert found["tiny", "one sequence"].value > 0
    assert found["tiny", "8 sequences together"].share > 0
    assert found["SmolLM2 Q4_1", "prompt of 70"].peer == 400.5
    behind = found["SmolLM2 Q4_1", "answer behind 70, q8_0"]
    assert behind.peer == 30.5 and behind.ratio > 0 and behind.share > 0


def test_limits_are_measured_and_chosen_by_format(report):
    memory = np.ones(1 << 20, "u1")
    assert limits.bandwidth(memory.ctypes.data, memory.nbytes, 1) > 0
    assert limits.bandwidth(memory.ctypes.data, memory.nbytes, 2) > 0
    with pytest.raises(limits.Missing):
        limits.bandwidth(memory.ctypes.data, memory.nbytes, 0)
    assert limits.unit_of("f32") == "f32"
    assert limits.unit_of("q4_k") == "int8"
    assert limits.unit_of("f16") == ("bf16" if limits.library().lf_has(1) else "f32")
    for i, unit in enumerate(limits.UNITS):
        assert (limits.peak(unit, 1, windows=1) > 0) == bool(limits.library().lf_has(i))


def test_limits_of_another_instruction_set():
    before = list(limits.TARGET)
    try:
        limits.use("sse2")
        assert limits.peak("int8", 1, windows=1) == 0  # no unit of its own: no share is told
    finally:
        limits.TARGET[:] = before
        limits.library.cache_clear()
        limits.peak.cache_clear()


@pytest.mark.parametrize("name", ["q4_k", "q8_0", "f16", "f32"])
@pytest.mark.parametrize("columns", [1, 40])
def test_what_is_timed_is_the_product(name, columns):
    pool = Pool(2)
    case = products.Case((64, 256), name, columns, 3, pool)
    try:
        assert case.seconds() > 0
        assert case.bandwidth(2) > 0
        raw = np.frombuffer(case.memory, "u1", case.weight_bytes, 2 * case.stride).copy()
        weights = FORMATS[name].decode(raw).reshape(64, 256)
        want = case.values.astype("f8") @ weights.T.astype("f8")
        got = np.frombuffer(products.ffi.buffer(case.program.floats(case.program.image.logits), columns * 64 * 4), "f4")
        assert np.abs(got.reshape(columns, 64) - want).max() < 0.02 * np.abs(want).max() + 1e-6
    finally:
        case.close()
        pool.close()


def test_report_of_a_product_agrees_with_itself(report, monkeypatch):
    monkeypatch.setattr(products, "SHAPES", ((64, 256),) * 3)
    monkeypatch.setattr(products, "BEYOND_CACHES", 1 << 20)
    monkeypatch.setattr(products, "OPS_A_ROUND", 1e7)
    products.measure(report, types.SimpleNamespace(quick=True, threads=1, rounds=1))
    found = rows(report)
    for name in ("q8_0", "f16"):
        what, peak = f"64 × 256 {name}", limits.peak(limits.unit_of(name), 1)
        many, rate = found[what, "T=512, time"], found[what, "T=512, rate"]
        assert rate.value * many.value == pytest.approx(2 * 64 * 256 * 512)
        assert rate.share == pytest.approx(rate.value * 1e9 / peak)
        one, read = found[what, "T=1, time"], found[what, "T=1, weights read"]
        size = 64 * FORMATS[name].row_size(256)
        assert read.value * one.value == pytest.approx(size)
        assert read.share > 0


@pytest.mark.parametrize("name", products.NAMES)
def test_random_rows_are_whole_blocks_of_ordinary_numbers(name):
    raw = synthetic.random_rows(FORMATS[name], 512, np.random.default_rng(0))
    assert len(raw) == FORMATS[name].row_size(512)
    values = FORMATS[name].decode(raw)
    assert np.isfinite(values).all()
    assert 0 < np.abs(values).max() < 8


@pytest.mark.models
def test_the_random_llama_is_a_model_and_always_the_same(tiny, tinycoder, tmp_path):
    again = tmp_path / "again.gguf"
    synthetic.make(again, tinycoder, "Q4_K_M", TINY)
    assert again.read_bytes() == tiny.read_bytes()
    with open_path(tiny) as file:
        kinds = {name: BY_ID[t.type].name for name, t in file.tensors.items()}
    assert kinds["output.weight"] == "q6_k" and kinds["blk.1.ffn_down.weight"] == "q6_k"
    assert kinds["blk.0.ffn_down.weight"] == "q4_k" and kinds["output_norm.weight"] == "f32"


def test_shape_of_the_large_model():
    named = synthetic.tensors(49152, synthetic.SHAPE)
    assert sum(int(np.prod(ne)) for ne in named.values()) == pytest.approx(1.17e9, rel=0.01)
    assert len(named) == 22 * 9 + 3


def test_work_of_a_model():
    file = File("made up")
    for name, kind, ne in (("token_embd.weight", "q8_0", (32, 100)), ("blk.0.attn_q.weight", "q8_0", (32, 64)),
                           ("blk.0.attn_norm.weight", "f32", (32,))):  # fmt: skip
        form = FORMATS[kind]
        file.tensors[name] = Tensor(name, form.id, ne, 0, 0, form.row_size(ne[0]) * (ne[1] if len(ne) > 1 else 1))
    tied = models.Work(file)
    assert tied.bytes == 34 * 100 + 34 * 64 + 128
    assert tied.operations == 2 * 32 * 64
    assert tied.unit == "int8"
    file.tensors["output.weight"] = Tensor("output.weight", FORMATS["f16"].id, (32, 100), 0, 0, 6400)
    assert models.Work(file).bytes == 6400 + 34 * 64 + 128  # the token table gives rows, it is not read


@pytest.mark.models
def test_speeds_beside_a_peer(report, tiny, peer, tmp_path, monkeypatch):
    options = types.SimpleNamespace(rounds=3, threads=1, peer=peer)
    monkeypatch.setattr(limits, "FOLDER", tmp_path)
    runner = models.Runner(tiny, 1, 16, 4)
    laid = {"laid out": models.Runner(models.laid_out(tiny), 1, 16, 4),
            "--repack": models.Runner(tiny, 1, 16, 4, in_memory=True)}
    assert all(any(BY_ID[t.type].plain for t in one.model.file.tensors.values()) for one in laid.values())
    try:
        models.speeds(report, options, "tiny", tiny, runner, laid)
        assert runner.session.tokens[0] == runner.ids[0] and len(runner.session.tokens) == 5
        assert runner.cell_bytes() == 2 * 2 * 128 * 2  # layers, keys and values, 2 heads of 64, f16
    finally:
        for one in (runner, *laid.values()):
            one.close()
    found = rows(report)
    prompt, answer = found["tiny", "prompt of 16"], found["tiny", "answer of 4"]
    for what in laid:
        assert found["tiny", f"prompt of 16, {what}"].value > 0 and found["tiny", f"answer of 4, {what}"].share > 0
    assert (prompt.peer, answer.peer) == (400.5, 50.25)
    assert prompt.ratio == pytest.approx(prompt.value / 400.5)
    assert answer.ratio == pytest.approx(answer.value / 50.25)
    assert prompt.share == pytest.approx(prompt.value * runner.work.operations / limits.peak("int8", 1))
    assert found["tiny", "answer, weights read"].value == pytest.approx(answer.value * runner.work.bytes / 1e9)
    assert 0 <= found["tiny", "step: sampling"].value <= found["tiny", "step: outside the program"].value < 100
    assert (tmp_path / "log").read_text().split() == [str(tiny)] * 3


def test_peers_that_answer_strangely(peer, tmp_path):
    assert peers.run(peer, "m.gguf", 3, 5, 1) == (400.5, 50.25)
    assert peers.describe(peer, "m.gguf", 1).endswith("build 7 abc, a processor")
    with pytest.raises(limits.Missing, match="not understood"):
        peers.parse("[]", 3, 5)
    with pytest.raises(limits.Missing, match="not understood"):
        peers.parse("Segmentation fault", 3, 5)
    with pytest.raises(limits.Missing, match="give the path"):
        peers.run(tmp_path / "none", "m.gguf", 3, 5, 1)
    with pytest.raises(limits.Missing, match="status 1"):
        peers.run("/bin/false", "m.gguf", 3, 5, 1)


def test_parts_of_a_start():
    text = ("llamafile: banner\nllamafile: moments in ns: cpu_before_main 5, main 1010, directory 1020, python 1100, "
            "ours 1130, model 1200, program 1300, prompt 1500, token 1510\n")  # fmt: skip
    marks = {name: value - 1000 for name, value in startup.parse(text).items()}
    assert startup.parts(marks) == {"main": 10, "directory": 10, "python": 80, "ours": 30, "model": 70, "program": 100,
                                    "prompt": 200, "token": 10}  # fmt: skip
    assert sum(startup.parts(marks).values()) == marks["token"]
    with pytest.raises(limits.Missing, match="make executable"):
        startup.parse("llamafile: banner\n")


def test_processes_watched_from_outside():
    size = 64 << 20
    code = f"import time; kept = b'x' * {size}; time.sleep(1)"
    used = processes.peak_memory([sys.executable, "-I", "-S", "-c", code])
    assert size < used < size + (40 << 20)
    assert processes.first_byte([sys.executable, "-I", "-S", "-c", "print(1)"]) > 0
    with pytest.raises(limits.Missing, match="no answer"):
        processes.first_byte([sys.executable, "-c", "pass"])
    with pytest.raises(limits.Missing, match="status 3"):
        processes.peak_memory([sys.executable, "-c", "raise SystemExit(3)"])


def test_packaging_leaves_nothing_behind(report, tmp_path, monkeypatch):
    monkeypatch.setattr(packaging, "HUGE", 1 << 30)
    options = types.SimpleNamespace(rounds=1)
    packaging.beside_cp(report, options, tmp_path, 1 << 20)
    packaging.arguments(report, options, tmp_path)
    box, inside, whole = report.rows
    assert box.ratio == pytest.approx(box.value / box.peer)
    assert inside.value > 0 and whole.value > 0
    assert os.listdir(tmp_path) == []


def test_the_command_writes_a_csv(tmp_path, capsys):
    path = tmp_path / "bench.csv"
    assert command.main(["--quick", "--only", "limits", "--threads", "1", "--csv", str(path)]) == 0
    with open(path, newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["section"] for row in table} == {"limits"}
    assert all(float(row["value"]) > 0 for row in table)
    assert "GB/s" in capsys.readouterr().out


def test_a_section_that_cannot_be_had_is_said(tmp_path, capsys):
    status = command.main(["--quick", "--only", "startup", "--executable", "/bin/true", "--csv", str(tmp_path / "c")])
    assert status == 1
    assert "startup: left out" in capsys.readouterr().out


SERVER = """#!{python}
import http.server, json, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def do_GET(self):
        self.reply({{"status": "ok"}})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (len(body["prompt"]), body["n_predict"], given["-np"]) == (6, 4, "3")
        self.reply({{"timings": {{"predicted_per_second": 20.5}}}})
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(given["--port"])), Handler).serve_forever()
"""


def test_a_llama_server_beside_the_peer_is_asked_by_all(tmp_path):
    options = types.SimpleNamespace(peer=tmp_path / "llama-bench", threads=1, rounds=2)
    assert llama_server.speeds(options, tmp_path, (1, 3), 6, 4) == {}
    server = tmp_path / "llama-server"
    server.write_text(SERVER.format(python=sys.executable))
    server.chmod(0o755)
    assert llama_server.speeds(options, tmp_path, (1, 3), 6, 4) == {1: 20.5, 3: 61.5}
    server.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(limits.Missing, match="does not start"):
        llama_server.speeds(options, tmp_path, (1,), 6, 4)


@pytest.mark.models
def test_more_cores(report, tiny):
    """Counts of a step on nodes that are not here: against the program's own flags, and against what must be so."""
    model = Model.open(str(tiny), n_threads=1)
    try:
        step = cores.Step(model, 4, 16)
        cores._report(report, "tiny", step)
        with opened.session(model, 64) as session:
            ops = for_cpu(session._graph.ops)
        assert step.barriers == sum(not op.flags for op in ops) + 1, "and one at the end"
        products = [op for op in ops if op.op.name in cores.PRODUCTS]
        assert sum(len(stretch) for stretch in step.stretches) == len(products)
        for stretch in step.stretches:
            owners, _ = step.deal(stretch, [1.0] * cores.THREADS)
            assert sorted((p, u) for p, u, _ in owners) == [(p, u) for p, s in enumerate(stretch) for u in range(s[2])]
    finally:
        model.close()
    found = {measure: row.value for (_, measure), row in rows(report).items()}
    assert found["slowest thread / mean"] >= 1 and found["threads on a barrier's line"] == 16
    assert found["slowest thread / mean"] <= found["the same in turns of 32"]
    assert 15 < found["read by a node, least"] <= 25 <= found["read by a node, most"] < 35
    assert found["of it read there before too"] > 80


@pytest.mark.models
def test_serving(report, tiny, monkeypatch):
    monkeypatch.setattr(serving, "CTX", 1024)
    monkeypatch.setattr(serving, "LONG", 200)
    options = types.SimpleNamespace(rounds=2)
    with opened.model(tiny, n_threads=1) as model:
        served = {n: serving.Served(model, n) for n in (1, 8)}
        try:
            serving.throughput(report, options, served, 6, {8: 10.0})
            serving.first_token(report, served[8], 6)
            serving.prefixes(report, served[1], 300)
        finally:
            for one in served.values():
                one.close()
    found = rows(report)
    assert found["SmolLM2, 1 clients", "all together"].share == 1
    eight = found["SmolLM2, 8 clients", "all together"]
    assert eight.ratio == eight.value / 10
    assert 0 < found["SmolLM2, 8 clients", "outside the program"].value < 100
    assert found["the same beginning again", "prompt"].share < 0.5
    assert found["SmolLM2, beside 6 answers", "first token"].value > 0
