"""Runs inside a child process: lets a prebuilt llama.cpp quantize a GGUF into several file types."""

from __future__ import annotations

import ctypes as c
import sys
from pathlib import Path

from tests.oracles.llama_cpp_worker import CPU_LIBRARY


class Params(c.Structure):
    """llama_model_quantize_params: threads, file type, formats of output and embedding; switches; pointers."""

    _fields_ = [("numbers", c.c_int32 * 4), ("switches", c.c_uint8 * 8), ("pointers", c.c_void_p * 8)]


def main(folder, source, target, *wishes):
    """Quantize `source` for each wish "type:requantize:pure" into `target` with the type's number before its name."""
    c.CDLL(str(Path(folder, "libggml-base.so")), mode=c.RTLD_GLOBAL)
    ggml = c.CDLL(str(next(Path(folder).glob("libggml.v*.so"))), mode=c.RTLD_GLOBAL)
    lib = c.CDLL(str(next(Path(folder).glob("libllama.v*.so"))))
    ggml.ggml_backend_load(str(Path(folder, CPU_LIBRARY)).encode())
    lib.llama_model_quantize_default_params.restype = Params
    lib.llama_model_quantize.argtypes = [c.c_char_p, c.c_char_p, c.POINTER(Params)]
    for wish in wishes:
        number, requantize, pure = map(int, wish.split(":"))
        params = lib.llama_model_quantize_default_params()
        if list(params.switches[:4]) != [0, 1, 0, 0] or params.numbers[0] != 0:
            sys.exit("llama.cpp's quantize parameters have another layout")
        params.numbers[0], params.numbers[1] = 1, number
        params.switches[0], params.switches[3] = requantize, pure
        if lib.llama_model_quantize(source.encode(), f"{target}.{number}".encode(), c.byref(params)):
            sys.exit(f"llama.cpp failed on {wish}")


if __name__ == "__main__":
    main(*sys.argv[1:])
