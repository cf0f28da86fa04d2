"""The kinds of GPU: how their cards are found, which compilers may make their module, and by what command."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys

from gpu_modules import GpuFault, drivers

QUICK = 30  # seconds for a question to a compiler
INCLUDES = ("runtime", "gpu_modules/generated")
# Of all sources, what every kind reads.
HEADERS = (*(f"runtime/{name}.h" for name in ("program", "call", "a8", "module")), "gpu_modules/generated/")


class Kind:
    """One kind of GPU: `words` choose it after --gpu; `folders` are the sources its module is made of."""

    def __init__(self, name, words, title, devices, folders, unit, find, attempts):
        self.name, self.words, self.title, self.devices = name, words, title, devices
        self.folders, self.unit = folders, unit  # the unit is the one file that is compiled
        self.find, self.attempts = find, attempts

    def sources(self, everything):
        """What of {name: bytes} the module is made of; raises GpuFault where this program holds none of it."""
        wanted = (*HEADERS, *(f"gpu_modules/{folder}/" for folder in self.folders))
        found = {name: data for name, data in everything.items() if name.startswith(wanted)}
        if self.unit not in found:
            raise GpuFault(f"this program holds no sources of a module for {self.title}")
        return found


class Compiler:
    """A compiler that was found: its path and where it was looked for."""

    def __init__(self, path, where):
        self.path, self.where = path, where

    def identity(self):
        """What differs when another compiler lies at the path; cheaper than asking for its version."""
        facts = os.stat(self.path)
        return f"{os.path.realpath(self.path)} {facts.st_size} {facts.st_mtime_ns}"

    def version(self):
        """What --version prints; raises GpuFault where the compiler does not even do that."""
        return " ".join(ask([self.path, "--version"]).split())


def ask(command):
    """What a quick question to a tool prints; raises GpuFault."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=QUICK, errors="replace")  # fmt: skip
    except subprocess.TimeoutExpired:
        raise GpuFault(f"{command[0]}: does not answer within {QUICK} s") from None
    except OSError as problem:
        raise GpuFault(f"{command[0]}: cannot be run ({problem.strerror})") from None
    if done.returncode:
        raise GpuFault(f"{command[0]}: {' '.join(command[1:])} fails with status {done.returncode}")
    return done.stdout


def _first(names, places, environment):
    """Compilers of these names on PATH and in these places (where → pattern), each once."""
    found, seen = [], set()
    for name in names:
        paths = [("PATH", shutil.which(name, path=environment.get("PATH", "")))]
        paths += [(where, path) for where, pattern in places for path in sorted(glob.glob(os.path.join(pattern, name)))]
        for where, path in paths:
            if path and os.access(path, os.X_OK) and os.path.realpath(path) not in seen:
                seen.add(os.path.realpath(path))
                found.append(Compiler(path, where))
    return found


def nvcc(environment=os.environ):
    """The CUDA compilers: on PATH, of CUDA_PATH, where toolkits are installed, and of the wheels."""
    places = [("CUDA_PATH", os.path.join(environment["CUDA_PATH"], "bin"))] if environment.get("CUDA_PATH") else []
    places += [(folder, folder) for folder in ("/usr/local/cuda/bin", "/opt/cuda/bin")]
    roots = [environment.get("VIRTUAL_ENV"), environment.get("CONDA_PREFIX"), "/usr/local", "/usr"]
    if environment.get("HOME"):
        roots.append(os.path.join(environment["HOME"], ".local"))
    for root in filter(None, roots):
        for packages in ("site-packages", "dist-packages"):
            places.append(("wheel", f"{glob.escape(root)}/lib/python3*/{packages}/nvidia/*/bin"))
    return _first(["nvcc"], places, environment)


def _nvcc_attempts(compiler, architectures):
    """The card's own instructions; where the compiler is older than the card, PTX that the driver translates."""
    common = ["-std=c++17", "-O3", "--shared", "-Xcompiler", "-fPIC,-fvisibility=hidden", *_wheel_flags(compiler.path)]
    release = re.search(r"release (\d+)\.(\d+)", ask([compiler.path, "--version"]))
    if release and (int(release[1]), int(release[2])) >= (12, 2):
        common += on_all_processors(architectures)
    exact = [word for arch in architectures for word in _gencode(arch)]
    yield "the card's own instructions", [*common, *exact]
    yield "PTX, which the driver translates", [*common, f"-arch=compute_{_newest(compiler, architectures)}"]


def on_all_processors(architectures):
    """Flags for an nvcc from 12.2 on. The newest cards' code is compiled in whole: in parts registers run out."""
    newest = max(int(arch.partition("_")[2]) for arch in architectures)
    return ["--threads=0", *(["--split-compile=0"] if newest < 100 else [])]


def _gencode(architecture):
    number = architecture.removeprefix("sm_")
    return ["-gencode", f"arch=compute_{number},code=sm_{number}"]


def _newest(compiler, architectures):
    """The newest architecture that the compiler knows and all of the cards can run."""
    most = min(int(arch.removeprefix("sm_")) for arch in architectures)
    known = [int(line.removeprefix("compute_")) for line in ask([compiler.path, "--list-gpu-arch"]).split()
             if line.removeprefix("compute_").isdecimal()]  # fmt: skip
    usable = [number for number in known if number <= most]
    if not usable:
        raise GpuFault(f"{compiler.path}: knows nothing as old as sm_{most}; install an older CUDA toolkit")
    return max(usable)


def _wheel_flags(path):
    """Where an nvcc from a wheel finds headers and the runtime library of the wheels beside it."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(path))))
    if os.path.basename(home) != "nvidia":
        return []
    libraries = sorted(glob.glob(f"{glob.escape(home)}/*/lib"))
    flags = [f"-I{folder}" for folder in sorted(glob.glob(f"{glob.escape(home)}/*/include"))]
    flags += [f"-L{folder}" for folder in libraries]
    if not any(os.path.exists(f"{folder}/libcudart_static.a") for folder in libraries):
        flags += ["-cudart", "shared", *(f"-Xlinker=-rpath={folder}" for folder in libraries)]
    return flags


def hipcc(environment=os.environ):
    """The HIP compilers: on PATH, of HIP_PATH, and where ROCm is installed."""
    places = [("HIP_PATH", os.path.join(environment["HIP_PATH"], "bin"))] if environment.get("HIP_PATH") else []
    places += [(folder, f"{folder}/bin") for folder in ("/opt/rocm", "/opt/rocm-*")]
    return _first(["hipcc"], places, environment)


def _hipcc_attempts(compiler, architectures):
    targets = [f"--offload-arch={arch}" for arch in architectures]
    yield "the cards' own instructions", ["-x", "hip", "-std=c++17", "-O3", "-shared", "-fPIC", "-fvisibility=hidden",
                                          "-Wno-unused-result", "-Wno-pass-failed", *targets]  # fmt: skip


def _cxx(environment=os.environ):
    names = [environment["CXX"]] if environment.get("CXX") else []
    return _first([*names, "c++", "g++", "clang++"], [], environment)


def _cxx_attempts(compiler, architectures):
    yield "C++ for this processor", ["-x", "c++", "-std=c++17", "-O1", "-shared", "-fPIC",
                                     "-fvisibility=hidden", "-pthread", "-DLF_EMULATED"]  # fmt: skip


def _cc(environment=os.environ):
    return _first(["cc", "clang"], [], environment)


def _cc_attempts(compiler, architectures):
    yield "Objective-C", ["-O3", "-shared", "-fPIC", "-fvisibility=hidden", "-fobjc-arc", "-framework", "Foundation",
                          "-framework", "Metal"]  # fmt: skip


KINDS = {
    kind.name: kind
    for kind in (
        Kind("metal", ("apple", "metal"), "Apple GPUs", drivers.apple, ("metal",), "gpu_modules/metal/module.m",
             _cc, _cc_attempts),
        Kind("hip", ("amd", "rocm", "hip", "rocblas"), "AMD GPUs", drivers.amd, ("cuda",), "gpu_modules/cuda/module.cu",
             hipcc, _hipcc_attempts),
        Kind("cuda", ("nvidia", "cuda", "cublas"), "NVIDIA GPUs", drivers.nvidia, ("cuda",),
             "gpu_modules/cuda/module.cu", nvcc, _nvcc_attempts),
        Kind("emulated", ("emulated",), "emulated cards", drivers.emulated, ("cuda", "emulated"),
             "gpu_modules/cuda/module.cu", _cxx, _cxx_attempts),
    )
}  # fmt: skip
ORDER = ("metal",) if sys.platform == "darwin" else ("hip", "cuda")  # what --gpu auto tries


def command(kind, compiler, flags, folder, output):
    """The whole command line; the sources lie in `folder` by their names."""
    includes = [*(f"gpu_modules/{name}" for name in reversed(kind.folders)), *INCLUDES]
    flags = [*flags, *([f'-DLF_SOURCES="{folder}"'] if kind.name == "metal" else [])]
    return [compiler.path, *flags, *(f"-I{os.path.join(folder, name)}" for name in includes), "-o", output,
            os.path.join(folder, kind.unit)]  # fmt: skip
