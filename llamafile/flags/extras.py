"""Flags of adapters and images, which belong to coming versions, and of speculation."""

from __future__ import annotations

from llamafile.flags.loading import CACHE_TYPES
from llamafile.flags.row import CHOICE, FLOAT, INT, LIST, PATH, SWITCH, TEXT, Flag, later, without_effect

MOST_GUESSES = 1 << 16  # what others allow; a pass takes 32 along

GROUP = "Adapters, images, speculation"

FLAGS = (
    later("--lora", LIST, "LoRA adapter.", metavar="FILE"),
    later("--lora-scaled", LIST, "LoRA adapter and its scale.", metavar="FILE:SCALE"),
    later("--lora-base", PATH, "Model that the adapter's layers come from."),
    later("--lora-init-without-apply", SWITCH, "Load adapters but do not apply them."),
    later("--control-vector", LIST, "Control vector.", metavar="FILE"),
    later("--control-vector-scaled", LIST, "Control vector and its scale.", metavar="FILE:SCALE"),
    later("--control-vector-layer-range", LIST, "Layers for control vectors.", metavar="START END"),
    later("-mm --mmproj", PATH, "Model that encodes images.", env="LLAMA_ARG_MMPROJ"),
    later("-mmu --mmproj-url", TEXT, "Download that model.", metavar="URL", env="LLAMA_ARG_MMPROJ_URL"),
    without_effect("--mmproj-auto", SWITCH, False, "Find that model by itself.", off="--no-mmproj --no-mmproj-auto",
                   env="LLAMA_ARG_MMPROJ_AUTO"),
    without_effect("--mmproj-offload", SWITCH, False, "Run that model on the GPU.", off="--no-mmproj-offload",
                   env="LLAMA_ARG_MMPROJ_OFFLOAD"),
    later("-mmdev --mmproj-device", TEXT, "Device for that model."),
    later("--image", LIST, "Image to look at.", metavar="FILE"),
    later("--audio", LIST, "Sound to listen to.", metavar="FILE"),
    later("--video", LIST, "Video to look at.", metavar="FILE"),
    later("--image-min-tokens", INT, "Fewest tokens of an image.", env="LLAMA_ARG_IMAGE_MIN_TOKENS"),
    later("--image-max-tokens", INT, "Most tokens of an image.", env="LLAMA_ARG_IMAGE_MAX_TOKENS"),
    later("--mtmd-batch-max-tokens", INT, "Tokens of images encoded at once.", env="LLAMA_ARG_MTMD_BATCH_MAX_TOKENS"),
    Flag("-md --model-draft --spec-draft-model", "model_draft", PATH, None, "Small model of the same vocabulary that "
         "guesses ahead; a file or a member of this executable.", env="LLAMA_ARG_MODEL_DRAFT"),
    later("-hfd -hfrd --hf-repo-draft", TEXT, "Download that model.", metavar="NAME", env="LLAMA_ARG_HFD_REPO"),
    Flag("-ngld --gpu-layers-draft --n-gpu-layers-draft", "n_gpu_layers_draft", INT, 0, "Its layers on the GPU.",
         words=(("auto", -1), ("all", 9999)), low=-1, env="LLAMA_ARG_N_GPU_LAYERS_DRAFT"),
    Flag("-cd --ctx-size-draft", "ctx_size_draft", INT, 0, "Tokens of a text's end that it sees at most; 0: the whole "
         "context.", low=0, env="LLAMA_ARG_CTX_SIZE_DRAFT"),
    later("-devd --device-draft", TEXT, "Its devices."),
    Flag("-ctkd --cache-type-k-draft --spec-draft-type-k", "cache_type_k_draft", CHOICE, "f16",
         "Format of its cached keys.", choices=CACHE_TYPES, env="LLAMA_ARG_CACHE_TYPE_K_DRAFT"),
    Flag("-ctvd --cache-type-v-draft --spec-draft-type-v", "cache_type_v_draft", CHOICE, "f16",
         "Format of its cached values.", choices=CACHE_TYPES, env="LLAMA_ARG_CACHE_TYPE_V_DRAFT"),
    Flag("-td --threads-draft", "threads_draft", INT, 0, "Its threads; 0: those of -t.", low=0),
    Flag("--draft --draft-max --draft-n --spec-draft-n-max", "draft_max", INT, 16, "Tokens to guess ahead at most, "
         "where it pays; 0 turns guessing off. The text is the same with and without.", low=0, high=MOST_GUESSES,
         env="LLAMA_ARG_DRAFT_MAX"),
    Flag("--draft-min --draft-n-min --spec-draft-n-min", "draft_min", INT, 0, "Fewer guesses are not tried.", low=0,
         env="LLAMA_ARG_DRAFT_MIN"),
    Flag("--draft-p-min --spec-draft-p-min", "draft_p_min", FLOAT, 0.0, "Probability below which the draft model "
         "stops guessing; what does not pay is left out anyway.", low=0, high=1, env="LLAMA_ARG_DRAFT_P_MIN"),
    later("-ps --p-split --draft-p-split --spec-draft-p-split", FLOAT, "Probability that splits a guess."),
    later("-pa --p-accept", FLOAT, "Probability that accepts a guess."),
    Flag("--spec-type", "spec_type", TEXT, "auto", "What guesses come from: lookup (earlier text), draft (the model "
         "of -md), both, or none; auto: draft where there is one, and lookup unless layers are on a GPU.",
         metavar="KIND,...", env="LLAMA_ARG_SPEC_TYPE"),
    Flag("--lookup", "lookup", SWITCH, True, "Guess from the text so far, where it repeats itself.",
         off="--no-lookup"),
    Flag("--lookup-ngram-min --spec-ngram-size-n", "lookup_ngram_min", INT, 3, "Tokens that must be alike before a "
         "guess from earlier text.", low=1, high=32),
    later("-lcs --lookup-cache-static", PATH, "Guesses from a fixed file."),
    later("-lcd --lookup-cache-dynamic", PATH, "Guesses from a file that learns."),
)
