"""The tokenizers we compare with: Hugging Face's, with each pattern as its makers published it, and SentencePiece."""

from __future__ import annotations

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CAMEL = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
         r"|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = CAMEL % (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}")
TEKKEN = CAMEL % ("", "", "")
CASED = ("\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗ"
         "ὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ"
         "Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+")
EAST = r"[一-龥ࠀ-一가-퟿]+"
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
             r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")
DIGIT = r"\p{N}"
PATTERNS = {  # of each kind of pre-tokenizer: one pattern after the other cuts the pieces of the one before
    "gpt-2": [GPT2],
    "llama-bpe": [CL100K % "{1,3}"],
    "qwen2": [CL100K % ""],
    "deepseek-r1-qwen": [CL100K % ""],
    "smollm": [DIGIT, GPT2],
    "tekken": [TEKKEN],
    "gpt-4o": [O200K],
    "deepseek-llm": [r"[\r\n]", CASED, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", EAST, DIGIT],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST, DIGIT],
    "deepseek-v3": [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT2, r"[0-9][0-9][0-9]"],
    "default": [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
}
COMPOSES = {"qwen2"}
WHOLE_WORDS = {"llama-bpe", "tekken"}


def byte_alphabet():
    """Return the 256 characters by which byte-level vocabularies write bytes, in the order of the bytes."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def pre_tokenizer(pre):
    """Return Hugging Face's pre-tokenizer with a model's patterns."""
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in PATTERNS[pre]]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def bpe(vocab, merges, pre, special=()):
    """Return a byte-level BPE tokenizer; vocab maps text to id, merges are pairs, special are texts of tokens."""
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre in WHOLE_WORDS))
    made.pre_tokenizer = pre_tokenizer(pre)
    if pre in COMPOSES:
        made.normalizer = normalizers.NFC()
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return made


def spm_bpe(vocab, merges):
    """Return Hugging Face's form of a SentencePiece BPE model with byte fallback and a space in front."""
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return made


def sentencepiece_model(tokens, scores, kinds, *, prefix=True, trim=False):
    """Return a SentencePiece BPE processor with these tokens, from a model file that is written here."""
    pieces = b"".join(
        _field(1, _field(1, token) + _varint(2 << 3 | 5) + _float(score) + _number(3, kind))
        for token, score, kind in zip(tokens, scores, kinds, strict=True)
    )
    trainer = _number(3, 2) + _number(35, int(BYTE in kinds))  # model_type BPE, byte_fallback
    normalizer = _field(1, b"identity") + _number(3, int(prefix)) + _number(4, int(trim)) + _number(5, 1)
    made = sentencepiece.SentencePieceProcessor()
    made.LoadFromSerializedProto(pieces + _field(2, trainer) + _field(3, normalizer))
    return made


def _varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def _number(field, n):
    return _varint(field << 3) + _varint(n)


def _float(x):
    import struct

    return struct.pack("<f", x)


def _field(field, data):
    return _varint(field << 3 | 2) + _varint(len(data)) + data
