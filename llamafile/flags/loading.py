"""Flags about the model in memory: which file, how large a context, how many threads, RoPE, the cache's formats."""

from __future__ import annotations

from llamafile.flags.row import CHOICE, FLOAT, INT, LIST, MAYBE, PATH, SWITCH, TEXT, Flag, later, without_effect
from llamafile.flags.running import ON_OFF

GROUP = "Model, context and machine"

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
MOST_THREADS = 512
_SAME = "prompts run on the same threads as answers"
_FUSED = "attention is always fused"

FLAGS = (
    Flag("-m --model", "model", PATH, None,
         "GGUF file; a member of this executable; ARCHIVE.zip@MEMBER; another llamafile.", env="LLAMA_ARG_MODEL"),
    Flag("-c --ctx-size", "n_ctx", INT, 8192,
         "Tokens of context; 0 takes the model's own. The default is never more than the model was trained for.",
         low=0, env="LLAMA_ARG_CTX_SIZE"),
    Flag("-b --batch-size", "n_batch", INT, 2048, "Tokens of a prompt handed over at once.", low=1,
         env="LLAMA_ARG_BATCH"),
    Flag("-ub --ubatch-size", "n_ubatch", INT, 512, "Tokens computed at once.", low=1, env="LLAMA_ARG_UBATCH"),
    Flag("-t --threads", "n_threads", INT, -1, "Threads; -1 takes the physical cores.", low=-1, high=MOST_THREADS,
         env="LLAMA_ARG_THREADS"),
    Flag("-tb --threads-batch", "n_threads_batch", INT, -1, "Threads for prompts; -1 takes as many as -t.", low=-1,
         high=MOST_THREADS, env="LLAMA_ARG_THREADS_BATCH"),
    Flag("--isa", "isa", TEXT, None, "Instruction set to use instead of the best one; --version lists them.",
         metavar="NAME"),
    Flag("--mlock", "mlock", SWITCH, False, "Keep the weights in memory.", env="LLAMA_ARG_MLOCK"),
    Flag("--mmap", "mmap", SWITCH, True, "Map the weights and let pages come as they are used; --no-mmap reads "
         "them all into memory first.", off="--no-mmap",
         env="LLAMA_ARG_MMAP"),
    Flag("-lm --load-mode", "load_mode", CHOICE, "auto", "How weights come in: mapped, locked in memory, or read.",
         choices=("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"), env="LLAMA_ARG_LOAD_MODE"),
    without_effect("-dio --direct-io", SWITCH, False, "Read past the page cache.", off="-ndio --no-direct-io",
                   note="weights are mapped", env="LLAMA_ARG_DIO"),
    without_effect("--warmup", SWITCH, False, "Run once before the prompt; it is never needed.", off="--no-warmup"),
    Flag("--numa", "numa", MAYBE, "", "Memory nodes: spread threads and their weights over all (distribute; so are "
         "more threads than one node has cores), keep to the node it starts on (isolate), or leave the placing to "
         "numactl and the system (numactl).", choices=("distribute", "isolate", "numactl"), env="LLAMA_ARG_NUMA"),
    Flag("-ctk --cache-type-k", "cache_type_k", CHOICE, "f16", "Format of the cached keys.", choices=CACHE_TYPES,
         env="LLAMA_ARG_CACHE_TYPE_K"),
    Flag("-ctv --cache-type-v", "cache_type_v", CHOICE, "f16", "Format of the cached values.", choices=CACHE_TYPES,
         env="LLAMA_ARG_CACHE_TYPE_V"),
    without_effect("-fa --flash-attn", MAYBE, "auto", "Fuse attention; it always is.", _FUSED, choices=ON_OFF,
                   env="LLAMA_ARG_FLASH_ATTN", quiet=("on", "auto")),
    Flag("--rope-scaling", "rope_scaling", CHOICE, None, "Kind of RoPE scaling; else the model's own.",
         choices=("none", "linear", "yarn"), env="LLAMA_ARG_ROPE_SCALING_TYPE"),
    Flag("--rope-scale", "rope_scale", FLOAT, None, "Stretch the context by this factor.", low=1e-6,
         env="LLAMA_ARG_ROPE_SCALE", replaces=("rope_freq_scale",)),
    Flag("--rope-freq-base", "rope_freq_base", FLOAT, None, "RoPE's base frequency; else the model's own.", low=0,
         high=1e12, env="LLAMA_ARG_ROPE_FREQ_BASE"),
    Flag("--rope-freq-scale", "rope_freq_scale", FLOAT, None,
         "RoPE's frequencies times this; the inverse of --rope-scale.", low=0,
         env="LLAMA_ARG_ROPE_FREQ_SCALE", replaces=("rope_scale",)),
    Flag("--yarn-orig-ctx", "yarn_orig_ctx", INT, 0, "Context the model was trained with; 0 takes the model's word.",
         low=0, env="LLAMA_ARG_YARN_ORIG_CTX"),
    Flag("--yarn-ext-factor", "yarn_ext_factor", FLOAT, -1.0, "YaRN's mix of extrapolation; -1 takes the model's.",
         env="LLAMA_ARG_YARN_EXT_FACTOR"),
    Flag("--yarn-attn-factor", "yarn_attn_factor", FLOAT, -1.0, "YaRN's scale of attention; -1 takes the model's.",
         env="LLAMA_ARG_YARN_ATTN_FACTOR"),
    Flag("--yarn-beta-slow", "yarn_beta_slow", FLOAT, -1.0, "YaRN's slow dimension; -1 takes the model's.",
         env="LLAMA_ARG_YARN_BETA_SLOW"),
    Flag("--yarn-beta-fast", "yarn_beta_fast", FLOAT, -1.0, "YaRN's fast dimension; -1 takes the model's.",
         env="LLAMA_ARG_YARN_BETA_FAST"),
    Flag("-C --cpu-mask", "cpu_mask", TEXT, "", "Processors to use, as a hexadecimal mask.", metavar="MASK"),
    Flag("-Cr --cpu-range", "cpu_range", TEXT, "", "Processors to use, as a range.", metavar="LO-HI"),
    without_effect("-Cb --cpu-mask-batch", TEXT, "", "Processors for prompts, as a mask.", _SAME, metavar="MASK"),
    without_effect("-Crb --cpu-range-batch", TEXT, "", "Processors for prompts, as a range.", _SAME,
                   metavar="LO-HI"),
    Flag("--cpu-strict", "cpu_strict", INT, 0, "1 gives each thread one processor of its own.", low=0, high=1),
    without_effect("--cpu-strict-batch", INT, 0, "Bind threads for prompts.", _SAME, quiet=(0,)),
    Flag("--prio", "prio", INT, 0, "Priority: -1 low, 0 ordinary, 1 medium, 2 high, 3 highest.", low=-1, high=3),
    without_effect("--prio-batch", INT, 0, "Priority for prompts.", _SAME, quiet=(0,)),
    Flag("--poll", "poll", INT, 50, "How long threads that wait spin before they sleep: 0 not at all, 50 for about "
         "40 microseconds, 100 for twice as long.", low=0, high=100),
    without_effect("--poll-batch", INT, 50, "How long threads spin for prompts.", _SAME, quiet=(50,)),
    Flag("-rtr --repack --run-time-repack", "repack", SWITCH, False, "Lay weights out in memory as the processor reads "
         "them: faster, for as much memory again. `convert --repack` does it ahead of time.", off="-nr --no-repack",
         env="LLAMA_ARG_REPACK"),
    without_effect("--no-host", SWITCH, False, "Bypass host buffers.", env="LLAMA_ARG_NO_HOST"),
    without_effect("-dt --defrag-thold", FLOAT, -1.0, "When to tidy the cache; it never needs it.",
                   env="LLAMA_ARG_DEFRAG_THOLD"),
    without_effect("--swa-full", SWITCH, True, "Keep the whole cache of sliding-window layers; it is kept.",
                   env="LLAMA_ARG_SWA_FULL"),
    without_effect("-dkvc --dump-kv-cache", SWITCH, False, "Print the cache.", "the cache is not printed"),
    without_effect("--logits-all", SWITCH, False, "Compute all logits.", "only the needed logits are computed"),
    without_effect("-lzm --lazy-mode", CHOICE, "auto", "Read some tensors on demand; mapped weights always are.",
                   choices=ON_OFF, env="LLAMA_ARG_LAZY_MODE"),
    without_effect("--check-tensors", SWITCH, False, "Look for NaN and infinities in the weights.",
                   "places, sizes and formats of tensors are checked always, their values are not"),
    Flag("--override-kv", "override_kv", LIST, (), "Change metadata: KEY=TYPE:VALUE with int, float, bool or str.",
         metavar="KEY=TYPE:VALUE"),
    later("-mu --model-url", TEXT, "Download the model.", metavar="URL", env="LLAMA_ARG_MODEL_URL"),
    later("-dr --docker-repo", TEXT, "Download the model from a container registry.", metavar="NAME",
          env="LLAMA_ARG_DOCKER_REPO"),
    later("-hf -hfr --hf-repo", TEXT, "Download the model from Hugging Face.", metavar="NAME",
          env="LLAMA_ARG_HF_REPO"),
    later("-hff --hf-file", TEXT, "The file in that repository.", metavar="NAME", env="LLAMA_ARG_HF_FILE"),
    without_effect("-hft --hf-token", TEXT, "", "Access token for Hugging Face.", "nothing is downloaded",
                   metavar="TOKEN"),
)
