"""The texts by which tokens with a part to play are known where a file has no key for them."""

END_OF_TURN = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|eot|>", "<|endoftext|>", "<|end_of_text|>",
               "< EOT >", "_< EOT >", "<EOT>", "<｜end▁of▁sentence｜>", "<end_of_utterance>")
END_OF_MESSAGE = ("<|eom_id|>", "<|eom|>")
ENDS = (*END_OF_TURN, *END_OF_MESSAGE, "<|return|>", "<|call|>", "[EOT]", "[EOS]", "<eos>", "</s>")

# Fill in the middle: attribute, keys (the second is what files once called it), texts.
FILL = (
    ("fim_pre", ("fim_pre", "prefix"), ("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>",
                                        "▁<PRE>", "<|code_prefix|>")),
    ("fim_suf", ("fim_suf", "suffix"), ("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>",
                                        "▁<SUF>", "<|code_suffix|>")),
    ("fim_mid", ("fim_mid", "middle"), ("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>",
                                        "▁<MID>", "<|code_middle|>")),
    ("fim_pad", ("fim_pad",), ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>")),
    ("fim_rep", ("fim_rep",), ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>")),
    ("fim_sep", ("fim_sep",), ("<|file_sep|>",)),
)
