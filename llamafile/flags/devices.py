"""Flags about graphics processors."""

from __future__ import annotations

from llamafile.flags.row import CHOICE, INT, MAYBE, NO_EFFECT, SWITCH, TEXT, Flag, later, without_effect

GROUP = "GPU"

NO_MODULES = "no GPU modules in this version yet; the CPU runs the model"
_GPUS = ("amd", "apple", "cublas", "hip", "metal", "nvidia", "rocblas", "rocm", "vulkan")

FLAGS = (
    Flag("-ngl --gpu-layers --n-gpu-layers", "n_gpu_layers", INT, -1, "Layers to run on the GPU; 999 or all means all.",
         words=(("auto", -1), ("all", 9999)), env="LLAMA_ARG_N_GPU_LAYERS", status=NO_EFFECT, note=NO_MODULES,
         quiet=(0, -1)),
    Flag("--gpu", "gpu", CHOICE, "auto", "Which GPU to use.", choices=("auto", "disable", "disabled", *_GPUS),
         status=NO_EFFECT, quiet=("auto", "disable", "disabled"), refused=_GPUS),
    without_effect("-dev --device", TEXT, "", "Devices to use, separated by commas.", NO_MODULES, metavar="NAMES",
                   env="LLAMA_ARG_DEVICE", quiet=("none",)),
    without_effect("-sm --split-mode", CHOICE, "layer", "How several GPUs share a model.",
                   choices=("none", "layer", "row", "tensor"), env="LLAMA_ARG_SPLIT_MODE"),
    without_effect("-ts --tensor-split", TEXT, "", "Shares of several GPUs.", metavar="N,N,...",
                   env="LLAMA_ARG_TENSOR_SPLIT"),
    without_effect("-mg --main-gpu", INT, 0, "The GPU for everything that is not shared.", env="LLAMA_ARG_MAIN_GPU"),
    without_effect("--kv-offload", SWITCH, True, "Keep the cache on the GPU.", off="-nkvo --no-kv-offload",
                   env="LLAMA_ARG_KV_OFFLOAD"),
    without_effect("--op-offload", SWITCH, True, "Run single ops on the GPU.", off="--no-op-offload"),
    without_effect("-ot --override-tensor", TEXT, "", "Where single tensors lie.", NO_MODULES, metavar="PATTERN=WHERE",
                   env="LLAMA_ARG_OVERRIDE_TENSOR"),
    without_effect("-cmoe --cpu-moe", SWITCH, True, "Keep the experts on the CPU.", env="LLAMA_ARG_CPU_MOE"),
    without_effect("-ncmoe --n-cpu-moe", INT, 0, "Keep the experts of N layers on the CPU.",
                   env="LLAMA_ARG_N_CPU_MOE"),
    without_effect("-ncffn --n-cpu-ffn", INT, 0, "Keep the feed-forward weights of N layers on the CPU.",
                   env="LLAMA_ARG_N_CPU_FFN"),
    without_effect("--moe-cache-mib", INT, 0, "GPU memory for experts.", env="LLAMA_ARG_MOE_CACHE_MIB"),
    without_effect("-fit --fit", MAYBE, "on", "Fit the model to the GPU's memory.", choices=("on", "off"),
                   env="LLAMA_ARG_FIT"),
    without_effect("-fitt --fit-target", TEXT, "", "GPU memory to leave free.", metavar="MIB,...",
                   env="LLAMA_ARG_FIT_TARGET"),
    without_effect("-fitc --fit-ctx", INT, 4096, "Smallest context to fit.", env="LLAMA_ARG_FIT_CTX"),
    without_effect("--recompile", SWITCH, False, "Compile the GPU modules anew."),
    without_effect("--nocompile", SWITCH, False, "Never compile GPU modules."),
    without_effect("--tinyblas", SWITCH, False, "Use the small matrix library on GPUs."),
    without_effect("--iq", SWITCH, False, "Compile all formats for GPUs."),
    without_effect("-nommq --no-mul-mat-q", SWITCH, False, "Use the vendor's matrix kernels."),
    later("--rpc", TEXT, "Other machines to run layers on.", metavar="HOST:PORT,...", env="LLAMA_ARG_RPC"),
)
