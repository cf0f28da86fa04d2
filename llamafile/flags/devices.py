"""Flags about graphics processors."""

from __future__ import annotations

from llamafile.flags.row import CHOICE, INT, MAYBE, SWITCH, TEXT, Flag, later, without_effect

GROUP = "GPU"

NO_PARTS = "layers are offloaded whole"
_GPUS = ("apple", "metal", "amd", "rocm", "hip", "rocblas", "nvidia", "cuda", "cublas", "vulkan")

FLAGS = (
    Flag("-ngl --gpu-layers --n-gpu-layers", "n_gpu_layers", INT, 0,
         "Layers to run on the GPU, the last ones; auto: as many as fit; 999 or all means all.",
         words=(("auto", -1), ("all", 9999)), low=-1, env="LLAMA_ARG_N_GPU_LAYERS"),
    Flag("--gpu", "gpu", CHOICE, "auto", "Which GPU to use; one that is named must be there, and gets all layers that "
         "fit.", choices=("auto", "disable", "disabled", *_GPUS), unlisted=("emulated",), refused=("vulkan",)),
    Flag("-dev --device", "device", TEXT, "", "Cards to use, as in CUDA0,CUDA1; none for the CPU.", metavar="NAMES",
         env="LLAMA_ARG_DEVICE"),
    Flag("-sm --split-mode", "split_mode", CHOICE, "layer", "How several cards share a model: whole layers, or all on "
         "the one of --main-gpu.", choices=("none", "layer", "row", "tensor"), env="LLAMA_ARG_SPLIT_MODE"),
    Flag("-ts --tensor-split", "tensor_split", TEXT, "", "Shares of the cards; by their free memory if not given.",
         metavar="N,N,...", env="LLAMA_ARG_TENSOR_SPLIT"),
    Flag("-mg --main-gpu", "main_gpu", INT, 0, "The card that --split-mode none uses.", env="LLAMA_ARG_MAIN_GPU"),
    Flag("--kv-offload", "kv_offload", SWITCH, True, "Keep the cache on the GPU.", off="-nkvo --no-kv-offload",
         env="LLAMA_ARG_KV_OFFLOAD"),
    Flag("--recompile", "recompile", SWITCH, False, "Build the GPU module anew."),
    Flag("--nocompile", "nocompile", SWITCH, False, "Never build a GPU module; take one that was built before."),
    Flag("--gpu-doctor", "gpu_doctor", SWITCH, False, "Tell what of the GPUs works, what does not, and what to do."),
    Flag("--list-devices", "list_devices", SWITCH, False, "List the GPUs, and exit."),
    without_effect("--op-offload", SWITCH, True, "Run single ops on the GPU.", off="--no-op-offload"),
    without_effect("-ot --override-tensor", TEXT, "", "Where single tensors lie.", NO_PARTS, metavar="PATTERN=WHERE",
                   env="LLAMA_ARG_OVERRIDE_TENSOR"),
    Flag("-cmoe --cpu-moe", "cpu_moe", SWITCH, False, "Keep the experts of all layers on the CPU.",
         env="LLAMA_ARG_CPU_MOE"),
    Flag("-ncmoe --n-cpu-moe", "n_cpu_moe", INT, 0, "Keep the experts of the first N layers on the CPU.", low=0,
         env="LLAMA_ARG_N_CPU_MOE"),
    without_effect("-ncffn --n-cpu-ffn", INT, 0, "Keep the feed-forward weights of N layers on the CPU.",
                   env="LLAMA_ARG_N_CPU_FFN"),
    without_effect("--moe-cache-mib", INT, 0, "GPU memory for experts.", env="LLAMA_ARG_MOE_CACHE_MIB"),
    without_effect("-fit --fit", MAYBE, "on", "Fit the model to the GPU's memory.", choices=("on", "off"),
                   env="LLAMA_ARG_FIT"),
    without_effect("-fitt --fit-target", TEXT, "", "GPU memory to leave free.", metavar="MIB,...",
                   env="LLAMA_ARG_FIT_TARGET"),
    without_effect("-fitc --fit-ctx", INT, 4096, "Smallest context to fit.", env="LLAMA_ARG_FIT_CTX"),
    without_effect("--tinyblas", SWITCH, False, "Use our own matrix kernels on GPUs; no others are."),
    without_effect("--iq", SWITCH, False, "Compile all formats for GPUs."),
    without_effect("-nommq --no-mul-mat-q", SWITCH, False, "Use the vendor's matrix kernels."),
    later("--rpc", TEXT, "Other machines to run layers on.", metavar="HOST:PORT,...", env="LLAMA_ARG_RPC"),
)
