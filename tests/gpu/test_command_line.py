"""The command line on machines with a driver, with none, and with compilers of every mood; no card is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_modules import GpuFault, compilers, drivers
from tests.gpu import fakes, modules

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {key: value for key, value in os.environ.items()
         if not key.startswith(("LLAMA", "CUDA", "HIP", "LF_", "PYTHON", "LD_"))}  # fmt: skip
WORDS = ["-p", "The sea is", "-n", "6", "--temp", "0", "-t", "1"]


def run(*words, env=None, program=None, **more):
    command = program or [sys.executable, "-m", "llamafile"]
    return subprocess.run([*map(str, command), *map(str, words)], capture_output=True, text=True, cwd=ROOT, timeout=300,
                          stdin=subprocess.DEVNULL, env=env or CLEAN, **more)  # fmt: skip


@pytest.fixture
def machine(tmp_path):
    """A function: the environment of a machine with a driver of cards, and an nvcc that does what the lines say."""
    def make(body, **more):
        fakes.compiler(tmp_path, body, name="nvcc", version="13.0")
        return {**CLEAN, **fakes.environment(tmp_path), "LD_LIBRARY_PATH": str(fakes.driver(tmp_path)), **more}

    return make


@pytest.mark.models
def test_without_a_gpu_the_cpu_answers(smollm2):
    plain = run("-m", smollm2, *WORDS)
    done = run("-m", smollm2, *WORDS, "-ngl", "999")
    assert done.returncode == 0 and done.stdout == plain.stdout
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "no GPU can be used, the CPU runs the model" in warnings[0]
    assert len(done.stderr.splitlines()) == 1 + len(plain.stderr.splitlines())


@pytest.mark.models
def test_a_named_gpu_must_be_there(smollm2):
    for name, reason in (("nvidia", "driver"), ("amd", "/dev/kfd"), ("apple", "no Apple silicon")):
        done = run("-m", smollm2, *WORDS, "--gpu", name)
        assert done.returncode == 1 and not done.stdout
        assert done.stderr.startswith(f"llamafile: --gpu {name}: ") and reason in done.stderr
        assert len(done.stderr.splitlines()) == 1
    done = run("-m", smollm2, *WORDS, "--gpu", "disable", "-ngl", "999")
    assert done.returncode == 0 and "warning" not in done.stderr


@pytest.mark.models
def test_a_driver_and_a_compiler_are_enough(machine, smollm2, tmp_path):
    env = machine(f'/bin/cp {modules.test_module()} "$OUT"')
    plain = run("-m", smollm2, *WORDS).stdout
    first = run("-m", smollm2, *WORDS, "-ngl", "7", env=env)
    assert first.returncode == 0, first.stderr
    assert first.stdout == plain
    assert "building the GPU module for Fake 9000 (sm_86)" in first.stderr
    assert "7 of 30 layers on Test card 0 (test)" in first.stderr
    assert "-gencode arch=compute_86,code=sm_86" in (tmp_path / "runs").read_text()
    again = run("-m", smollm2, *WORDS, "--gpu", "nvidia", env=env)
    assert again.stdout == plain and "building" not in again.stderr
    assert "30 of 30 layers on Test card 0 (test), output too" in again.stderr
    assert fakes.runs(tmp_path) == 1
    several = {**env, "LF_TEST_CARDS": "2"}
    done = run("-m", smollm2, *WORDS, "-ngl", "20", "-ts", "1,3", env=several)
    assert done.stdout == plain
    assert "5 of 30 layers on Test card 0 (test); 15 of 30 layers on Test card 1 (test)" in done.stderr
    done = run("-m", smollm2, *WORDS, "-ngl", "20", "-sm", "none", "-mg", "1", env=several)
    assert done.stdout == plain and "20 of 30 layers on Test card 1 (test)" in done.stderr
    done = run("-m", smollm2, *WORDS, "-ngl", "20", "-sm", "none", "-mg", "2", env=several)
    assert done.returncode == 1 and "--main-gpu 2: there are 2 cards" in done.stderr
    done = run("-m", smollm2, *WORDS, "-ngl", "20", "-dev", "CUDA1", "-nkvo", "-sm", "row", env=several)
    assert done.stdout == plain and "20 of 30 layers on Test card 1" in done.stderr
    assert "--split-mode row: whole layers are shared instead" in done.stderr


@pytest.mark.models
def test_a_small_card_takes_what_fits(machine, smollm2):
    env = machine(f'/bin/cp {modules.test_module()} "$OUT"', LF_TEST_MEMORY=str(150 << 20))
    done = run("-m", smollm2, *WORDS, "-c", "512", "-ngl", "auto", env=env)
    assert done.returncode == 0 and " of 30 layers fit on the GPU" in done.stderr
    done = run("-m", smollm2, *WORDS, "-c", "512", "-ngl", "999", env=env)
    assert done.returncode == 1 and "; try -ngl " in done.stderr
    done = run("-m", smollm2, *WORDS, "-c", "512", "-ngl", "2", env={**env, "LF_TEST_HOLES": "matmul_quantized"})
    assert done.returncode == 0 and "the GPU module has no kernels for matmul_quantized" in done.stderr


@pytest.mark.models
@pytest.mark.parametrize(("body", "more", "reason"), [
    ("echo 'nvcc fatal: Unsupported gpu architecture' >&2; exit 1", {}, "Unsupported gpu architecture"),
    ("exit 0", {"FAKE_CUINIT": "100"}, "shows no card"),
    ("exit 0", {"FAKE_CUINIT": "999"}, "does not start (error 999, unknown error)"),
    ("exit 0", {"LF_TEST_CARDS": "0"}, "shows no card"),
    ("exit 0", {"CUDA_PATH": ""}, "CUDA_PATH is empty"),
])
def test_what_keeps_a_gpu_away_is_said(machine, smollm2, body, more, reason):
    env = machine(body, **more)
    named = run("-m", smollm2, *WORDS, "--gpu", "nvidia", env=env)
    assert named.returncode == 1 and reason in named.stderr.splitlines()[-1]
    wished = run("-m", smollm2, *WORDS, "-ngl", "5", env=env)
    assert wished.returncode == 0 and reason in wished.stderr and wished.stdout


def test_a_card_newer_than_the_compiler_gets_ptx(machine, tmp_path):
    body = f'case "$ALL" in *-gencode*) echo "error: sm_86?"; exit 1;; esac; /bin/cp {modules.test_module()} "$OUT"'
    env = machine("ALL=$(/usr/bin/tail -n 1 " + f"{tmp_path}/runs)\n" + body)
    code = ("from gpu_modules.loader import Loader; from llamafile import gpu; "
            "print(Loader(gpu.shelf(print)).find('cuda').path)")  # fmt: skip
    done = fakes.python(code, env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "-arch=compute_80" in (tmp_path / "runs").read_text().splitlines()[1]
    log = Path(done.stdout.splitlines()[-1]).with_suffix(".log").read_text()
    assert "error: sm_86?" in log and "PTX" in log


def test_doctor_and_list(machine, tmp_path):
    env = machine(f'/bin/cp {modules.test_module()} "$OUT"', LF_TEST_CARDS="2")
    done = run("--list-devices", env=env)
    assert done.stdout == "CUDA0: Fake 9000, sm_86, 24576 MiB\nCUDA1: Fake 9000, sm_86, 24576 MiB\n"
    report = run("--gpu-doctor", env=env)
    assert report.returncode == 0 and not report.stderr
    for part in ("card CUDA1: Fake 9000", "(PATH): fake compiler 13.0", "probe: Test card 1", "$ ", "-gencode",
                 "known products right within 0", "whole, by ", "What to do", "NVIDIA GPUs work",
                 "no AMD compute driver", str(tmp_path / "home")):  # fmt: skip
        assert part in report.stdout, (part, report.stdout)
    assert "no GPU: " in run("--list-devices").stdout
    bare = run("--gpu-doctor")
    assert bare.returncode == 0 and "install the driver" in bare.stdout.partition("What to do")[2]


def test_places_of_nvcc(tmp_path):
    wheels = tmp_path / "venv" / "lib" / "python3.12" / "site-packages" / "nvidia"
    for folder in ("cu13/bin", "cu13/include", "cu13/lib", "cuda_runtime/include"):
        (wheels / folder).mkdir(parents=True)
    fakes.compiler(tmp_path, "exit 0", name="nvcc").rename(wheels / "cu13" / "bin" / "nvcc")
    fakes.compiler(tmp_path, "exit 0", name="nvcc")
    (tmp_path / "toolkit" / "bin").mkdir(parents=True)
    fakes.compiler(tmp_path, "exit 0", name="nvcc").rename(tmp_path / "toolkit" / "bin" / "nvcc")
    path = fakes.compiler(tmp_path, "exit 0", name="nvcc")
    found = compilers.nvcc({"PATH": str(path.parent), "CUDA_PATH": str(tmp_path / "toolkit"),
                            "VIRTUAL_ENV": str(tmp_path / "venv")})  # fmt: skip
    where = {os.path.relpath(c.path, tmp_path): c.where for c in found if c.path.startswith(str(tmp_path))}
    assert where == {"bin/nvcc": "PATH", "toolkit/bin/nvcc": "CUDA_PATH",
                     "venv/lib/python3.12/site-packages/nvidia/cu13/bin/nvcc": "wheel"}  # fmt: skip
    flags = compilers._wheel_flags(str(wheels / "cu13" / "bin" / "nvcc"))
    assert f"-I{wheels}/cuda_runtime/include" in flags and flags[-3:-1] == ["-cudart", "shared"]
    (wheels / "cu13" / "lib" / "libcudart_static.a").touch()
    assert "-cudart" not in compilers._wheel_flags(str(wheels / "cu13" / "bin" / "nvcc"))
    assert compilers._wheel_flags("/usr/local/cuda/bin/nvcc") == []


def test_amd_cards_are_read_from_the_kernels_topology(tmp_path):
    for node, (target, simds) in enumerate([(0, 0), (90010, 440), (110000, 96), (100306, 4)]):
        folder = tmp_path / str(node) / "mem_banks" / "0"
        folder.mkdir(parents=True)
        (folder / "properties").write_text(f"heap_type 1\nsize_in_bytes {node << 30}\n")
        (tmp_path / str(node) / "properties").write_text(f"simd_count {simds}\ngfx_target_version {target}\n")
        (tmp_path / str(node) / "name").write_text(f"card{node}\n")
    seen = drivers.amd({}, str(tmp_path))
    assert [card.architecture for card in seen] == ["gfx90a", "gfx1100", "gfx1036"]
    assert seen[1].memory == 2 << 30 and seen[1].name == "card2"
    assert [c.name for c in drivers.amd({"HIP_VISIBLE_DEVICES": "2,0"}, str(tmp_path))] == ["card3", "card1"]
    with pytest.raises(GpuFault, match="HIP_VISIBLE_DEVICES"):
        drivers.amd({"HIP_VISIBLE_DEVICES": ""}, str(tmp_path))
    with pytest.raises(GpuFault, match="no AMD compute driver"):
        drivers.amd({}, str(tmp_path / "none"))


@pytest.mark.parametrize(("architectures", "parts"), [("sm_80,sm_90", True), ("sm_90,sm_120", False)])
def test_the_newest_cards_code_is_compiled_in_whole(machine, tmp_path, architectures, parts):
    env = machine("")
    fakes.compiler(tmp_path, f'/bin/cp {modules.test_module()} "$OUT"', name="nvcc", version="release 13.0")
    tool = [sys.executable, "-m", "llamafile.freeze.prebuilt"]
    done = run("--architectures", architectures, "--output", tmp_path / "out", env=env, program=tool)
    assert done.returncode == 0, done.stderr
    typed = (tmp_path / "runs").read_text()
    assert "--threads=0" in typed and ("--split-compile=0" in typed) == parts


def test_prebuilt_modules_serve_machines_without_a_compiler(machine, tmp_path):
    env = machine(f'/bin/cp {modules.test_module()} "$OUT"')
    tool = [sys.executable, "-m", "llamafile.freeze.prebuilt"]
    done = run("--architectures", "sm_80,sm_90", "--output", tmp_path / "out", env=env, program=tool)
    assert done.returncode == 0, done.stderr
    (built,) = (tmp_path / "out" / "gpu").glob("*.so")
    assert "arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90" in (tmp_path / "runs").read_text()
    name = f"gpu/{built.name}"
    code = f"""
from gpu_modules.loader import Loader, Shelf
from llamafile import gpu
shelf = Shelf("9.9", gpu.sources, lambda: [{name!r}], lambda _: open({str(built)!r}, "rb").read(), gpu.probe, print)
print(Loader(shelf).find("cuda").path)
"""
    (tmp_path / "bin" / "nvcc").unlink()
    done = fakes.python(code, env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).read_bytes() == built.read_bytes()


@pytest.mark.models
def test_the_server_runs_on_cards_without_the_sandbox(machine, smollm2):
    from tests.server.running import Running

    env = machine(f'/bin/cp {modules.test_module()} "$OUT"')
    words = ("-c", "1024", "--temp", "0", "-t", "1")
    answers = []
    for more in ((), ("-ngl", "20")):
        server = Running(smollm2, *words, *more, environment=env)
        try:
            answers.append(server.post("/completion", {"prompt": "The sea is", "n_predict": 6}).json())
        finally:
            server.stop()
        assert ("sandbox: is off: Test card 0 is in use" in server.text) == bool(more), server.text
        assert ("20 of 30 layers on Test card 0 (test)" in server.text) == bool(more)
    assert answers[0]["content"] == answers[1]["content"] != ""
