"""Flags of the sampler; a destination here is the name of the field in llamafile.sampling.Params."""

from __future__ import annotations

from llamafile.flags.row import FLOAT, INT, LIST, SWITCH, TEXT, Flag, later, without_effect

GROUP = "Choosing the next token"

UINT32_MAX = (1 << 32) - 1
CHAIN = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature"

FLAGS = (
    Flag("-s --seed", "seed", INT, -1, "Seed of the random numbers; -1 takes a new one each time.", high=UINT32_MAX),
    Flag("--temp --temperature", "temperature", FLOAT, 0.8, "Temperature; 0 always takes the likeliest token.",
         env="LLAMA_ARG_TEMPERATURE"),
    Flag("--dynatemp-range", "dynatemp_range", FLOAT, 0.0, "Let the temperature vary by so much; 0 is off."),
    Flag("--dynatemp-exp --dynatemp-exponent", "dynatemp_exponent", FLOAT, 1.0, "Exponent of that variation."),
    Flag("--top-k", "top_k", INT, 40, "Choose among the N likeliest tokens; 0 is off.", env="LLAMA_ARG_TOP_K"),
    Flag("--top-p", "top_p", FLOAT, 0.95, "Choose among the likeliest tokens that sum to N; 1 is off.",
         env="LLAMA_ARG_TOP_P"),
    Flag("--min-p", "min_p", FLOAT, 0.05, "Drop tokens less likely than N times the likeliest; 0 is off.",
         env="LLAMA_ARG_MIN_P"),
    Flag("--top-nsigma --top-n-sigma", "top_n_sigma", FLOAT, -1.0,
         "Drop tokens more than N standard deviations below the best; -1 is off."),
    Flag("--typical --typical-p", "typical_p", FLOAT, 1.0, "Locally typical sampling; 1 is off."),
    Flag("--xtc-probability", "xtc_probability", FLOAT, 0.0, "Chance to exclude the top choices; 0 is off."),
    Flag("--xtc-threshold", "xtc_threshold", FLOAT, 0.1, "Probability above which a choice is a top choice."),
    Flag("--repeat-last-n", "repeat_last_n", INT, 64, "Tokens to look back at for penalties; 0 is off, -1 all."),
    Flag("--repeat-penalty", "repeat_penalty", FLOAT, 1.0, "Penalty for repeated tokens; 1 is off.",
         env="LLAMA_ARG_REPEAT_PENALTY"),
    Flag("--presence-penalty", "presence_penalty", FLOAT, 0.0, "Penalty for tokens seen at all; 0 is off.",
         env="LLAMA_ARG_PRESENCE_PENALTY"),
    Flag("--frequency-penalty", "frequency_penalty", FLOAT, 0.0, "Penalty for each time a token was seen; 0 is off.",
         env="LLAMA_ARG_FREQUENCY_PENALTY"),
    Flag("--dry-multiplier", "dry_multiplier", FLOAT, 0.0, "Strength of the penalty for repeated sequences; 0 is off."),
    Flag("--dry-base", "dry_base", FLOAT, 1.75, "Base of that penalty."),
    Flag("--dry-allowed-length", "dry_allowed_length", INT, 2, "Length up to which a repetition costs nothing."),
    Flag("--dry-penalty-last-n", "dry_penalty_last_n", INT, -1, "Tokens to look back at for it; 0 is off, -1 all."),
    Flag("--dry-sequence-breaker", "dry_sequence_breakers", LIST, ("\n", ":", '"', "*"),
         "Text that ends a repeated sequence; replaces the usual ones; none means no breakers."),
    Flag("--mirostat", "mirostat", INT, 0, "Mirostat 1 or 2 instead of the top choices; 0 is off."),
    Flag("--mirostat-ent", "mirostat_tau", FLOAT, 5.0, "Mirostat's target entropy (tau)."),
    Flag("--mirostat-lr", "mirostat_eta", FLOAT, 0.1, "Mirostat's learning rate (eta)."),
    Flag("-l --logit-bias", "logit_bias", LIST, (), "Make a token likelier or less: 15043+1, 15043-inf.",
         metavar="ID(+/-)BIAS"),
    Flag("--ignore-eos", "ignore_eos", SWITCH, False, "Go on when the model would end."),
    Flag("--samplers", "samplers", TEXT, CHAIN, "The samplers in order, separated by semicolons.", metavar="NAMES",
         replaces=("sampling_seq",)),
    Flag("--sampler-seq --sampling-seq --samplers-seq", "sampling_seq", TEXT, None,
         "The samplers by their letters, as in edskypmxt.", metavar="LETTERS", replaces=("samplers",)),
    later("--adaptive-target", FLOAT, "Choose tokens near this probability."),
    later("--adaptive-decay", FLOAT, "How fast that target adapts."),
    without_effect("-bs --backend-sampling", SWITCH, False, "Sample on the device.", "sampling runs on the CPU",
                   env="LLAMA_ARG_BACKEND_SAMPLING"),
    without_effect("--tfs", FLOAT, 1.0, "Tail free sampling.",
                   "tail free sampling does not exist any more; use --min-p", quiet=(1.0,)),
    without_effect("--penalize-nl", SWITCH, True, "Penalise newlines like other tokens; they are.",
                   off="--no-penalize-nl"),
)
