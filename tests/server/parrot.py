"""Writes a model that says one text, cut into tokens as asked: each token of the text leads to the next one."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEAD, FF = 512, 64, 32
START = 259  # behind <unk>, <s>, </s> and the 256 bytes
EOS = 2


def write(path: Path, pieces: list[str], after: dict[str, str] | None = None) -> Path:
    """Write a GGUF whose answer to any prompt is these pieces, a token each, and then its end.

    The prompt's last character must not be a piece. `after` names pieces that lead to another one than the next.
    """
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)),
             *(piece.replace(" ", "▁") for piece in pieces)]
    following = [START] * START + [*range(START + 1, START + len(pieces)), EOS]
    for piece, then in (after or {}).items():
        following[START + pieces.index(piece)] = START + pieces.index(then)
    codes = np.random.default_rng(1).choice(np.array([-1, 1], np.float32), (len(texts), WIDTH))
    output = np.zeros_like(codes)
    for here, there in enumerate(following):
        # The many tokens before the first piece share a direction, lest their sum drown it.
        if here < START:
            codes[here] = codes[0]
        output[there] = codes[here]
    assert (np.argmax(codes @ output.T, 1) == following).all()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("parrot")
    keys = {"context_length": 2048, "vocab_size": len(texts), "block_count": 1, "embedding_length": WIDTH,
            "feed_forward_length": FF, "attention.head_count": 1, "attention.head_count_kv": 1,
            "attention.key_length": HEAD, "attention.value_length": HEAD, "rope.dimension_count": HEAD}
    for name, value in keys.items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([0.0] * len(texts))
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * len(pieces)])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(EOS)
    writer.add_add_space_prefix(False)
    shapes = {"attn_q": (HEAD, WIDTH), "attn_k": (HEAD, WIDTH), "attn_v": (HEAD, WIDTH), "attn_output": (WIDTH, HEAD),
              "ffn_gate": (FF, WIDTH), "ffn_up": (FF, WIDTH), "ffn_down": (WIDTH, FF)}
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("token_embd.weight", codes)
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
