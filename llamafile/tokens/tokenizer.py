"""The tokenizer of one GGUF file: its vocabulary opened in C, its special tokens, its rules."""

from __future__ import annotations

from llamafile._native import ffi, lib
from llamafile.errors import LlamafileError
from llamafile.gguf.values import F32, I32, STRING

from .known import END_OF_MESSAGE, END_OF_TURN, ENDS, FILL

MODELS = {"gpt2": lib.LF_BPE, "llama": lib.LF_SPM}
KEY = "tokenizer.ggml."
SPM_IDS = {"unknown": 0, "bos": 1, "eos": 2}  # where a SentencePiece file does not say


class Tokenizer:
    """Text to ids and back; may be used from any thread; the file must stay open as long.

    `bos eos eot eom unk nl pad fim_pre fim_suf fim_mid fim_pad fim_rep fim_sep` are ids or None, `eog` is the
    frozenset of ids that end an answer, `n_vocab` the number of tokens.
    """

    fim_pre: int | None
    fim_suf: int | None
    fim_mid: int | None
    fim_pad: int | None
    fim_rep: int | None
    fim_sep: int | None

    def __init__(self, file):
        """Open the vocabulary of a llamafile.gguf.reader.File; raise LlamafileError where it has none that we know."""
        self._file = file  # the vocabulary lies in its mapping
        self._model = model = _model(file)
        pre = _pre(file) if model == lib.LF_BPE else -1
        self.n_vocab = file.array(KEY + "tokens", STRING).count
        self.unk = self._keyed("unknown")
        self._vocab = _open(file, model, pre, self.unk)
        self.add_bos = file.flag(KEY + "add_bos_token", model == lib.LF_SPM or bool(lib.lf_pre_add_bos(pre)))
        self.add_eos = file.flag(KEY + "add_eos_token", False)
        self._find_special()

    def encode(self, text, *, add_special=True, parse_special=True):
        """Return the ids of a str or of bytes, in which U+FFFD stands for broken UTF-8.

        add_special puts BOS and EOS where the model wants them. parse_special makes tokens of the texts of control
        tokens; leave it off for text of strangers. User-defined tokens are always found.
        """
        data = text if isinstance(text, bytes) else _utf8(text)
        out = ffi.new("lf_token_ids *")
        try:
            code = lib.lf_tokenize(self._vocab, ffi.from_buffer(data), len(data),
                                   lib.LF_PARSE_SPECIAL if parse_special else 0, out)
            if code:
                raise self._error(code)
            ids = ffi.unpack(out.data, out.count) if out.count else []
        finally:
            lib.lf_token_ids_free(out)
        if add_special and self.add_bos and self.bos is not None:
            ids.insert(0, self.bos)
        if add_special and self.add_eos and self.eos is not None:
            ids.append(self.eos)
        return ids

    def piece(self, id, special=False):
        """Return the bytes that one id adds to a text, perhaps half a character; none for a control token."""
        return self._bytes(ffi.new("int32_t[]", [id]), 1, lib.LF_SHOW_SPECIAL if special else 0)

    def detokenize(self, ids, *, special=False, start=True):
        """Return the bytes of a list of ids; with `special` control tokens are written out; ids out of range are none.

        `start` says that they begin a text: then the space that the model puts before texts is taken away.
        """
        flags = (lib.LF_SHOW_SPECIAL if special else 0) | (lib.LF_AT_START if start else 0)
        try:
            numbers = ffi.new("int32_t[]", ids)
        except OverflowError:  # such ids exist in no vocabulary
            numbers = ffi.new("int32_t[]", [id if 0 <= id < self.n_vocab else -1 for id in ids])
        return self._bytes(numbers, len(ids), flags)

    def token_id(self, text):
        """Return the id of the token that is written so (str or bytes) in the file, or None."""
        data = text if isinstance(text, bytes) else _utf8(text)
        id = lib.lf_token_id(self._vocab, ffi.from_buffer(data), len(data))
        return None if id < 0 else id

    def is_control(self, id):
        """Return whether an id is a control token, which is no text."""
        return lib.lf_token_kind(self._vocab, id) == lib.LF_TOKEN_CONTROL

    @property
    def vocab(self):
        """The vocabulary as C code takes it (lf_vocab *); it is good as long as this object."""
        return self._vocab

    def _bytes(self, ids, count, flags):
        out = ffi.new("lf_token_bytes *")
        try:
            code = lib.lf_detokenize(self._vocab, ids, count, flags, out)
            if code:
                raise self._error(code)
            return bytes(ffi.buffer(out.data, out.count)) if out.count else b""
        finally:
            lib.lf_token_bytes_free(out)

    def _error(self, code):
        return LlamafileError(f"{self._file.label}: {ffi.string(lib.lf_tokens_error(code)).decode()}")

    def _find_special(self):
        """Set the ids of the tokens with a part to play, from the file's keys or else by their texts."""
        self.bos, self.eos, self.pad = self._keyed("bos"), self._keyed("eos"), self._keyed("padding")
        self.eot = self._keyed("eot", known=END_OF_TURN)
        self.eom = self._keyed("eom", known=END_OF_MESSAGE)
        for name, keys, texts in FILL:
            setattr(self, name, self._keyed(*keys, known=texts))
        line = self.encode("\n", add_special=False, parse_special=False)
        self.nl = line[-1] if line else None
        ends = [self.eos, self.eot, self.eom, self.fim_pad, self.fim_rep, self.fim_sep, *map(self._known, ENDS)]
        if self._known("<|return|>") is not None and self._known("<|call|>") is not None:
            ends = [id for id in ends if id != self._known("<|end|>")]  # there it ends a message, not the answer
        self.eog = frozenset(id for id in ends if id is not None)

    def _keyed(self, *names, known=()):
        """Return the id that the file names; an id outside the vocabulary means, by custom, that there is none."""
        for name in names:
            default = SPM_IDS.get(name, -1) if self._model == lib.LF_SPM else -1
            id = self._file.integer(f"{KEY}{name}_token_id", default, -(2**63), 2**64)
            if 0 <= id < self.n_vocab:
                return id
        return next((id for id in map(self._known, known) if id is not None), None)

    def _known(self, text):
        """Return the id of a control or user-defined token by its text, or None."""
        id = self.token_id(text)
        kinds = lib.LF_TOKEN_CONTROL, lib.LF_TOKEN_USER_DEFINED
        return id if id is not None and lib.lf_token_kind(self._vocab, id) in kinds else None


def _utf8(text):
    """Return UTF-8, in which lone surrogates are broken sequences and escaped bytes are themselves again."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _model(file):
    name = file.text(KEY + "model")
    if name not in MODELS:
        raise LlamafileError(f"{file.label}: its tokenizer is of kind {name!r}, this build knows "
                             f"{' and '.join(MODELS)}; look for a newer build")
    return MODELS[name]


def _pre(file):
    """Return the number of the file's pre-tokenizer; files from before there was such a key use the oldest rules."""
    name = file.text(KEY + "pre", "default")
    number = -1 if "\0" in name else lib.lf_pre_number(name.encode())
    if number < 0:
        names, last = [], 0
        while lib.lf_pre_name(last) != ffi.NULL:
            names.append(ffi.string(lib.lf_pre_name(last)).decode())
            last += 1
        raise LlamafileError(f"{file.label}: its pre-tokenizer is {name!r}, this build knows {' '.join(names)}; "
                             "look for a newer build")
    return number


def _open(file, model, pre, unknown):
    """Open the vocabulary where it lies in the file's mapping; it is closed with the last reference to it."""
    source, found = ffi.new("lf_vocab_source *"), ffi.new("lf_vocab **")
    tokens = file.array(KEY + "tokens", STRING)
    _point(file, source.tokens, tokens)
    if model == lib.LF_BPE:
        _point(file, source.merges, file.array(KEY + "merges", STRING))
    else:
        _point(file, source.scores, file.array(KEY + "scores", F32))
    _point(file, source.types, file.array(KEY + "token_type", I32, None))
    source.width, source.model, source.pre = tokens.width, model, pre
    source.unknown = -1 if unknown is None else unknown
    source.space_prefix = file.flag(KEY + "add_space_prefix", True)
    source.trim_spaces = file.flag(KEY + "remove_extra_whitespaces", False)
    code = lib.lf_vocab_open(source, found)
    if code:
        raise LlamafileError(f"{file.label}: {ffi.string(lib.lf_tokens_error(code)).decode()}")
    return ffi.gc(found[0], lib.lf_vocab_close)


def _point(file, target, array):
    """Point a lf_vocab_array at an array of the file."""
    if array is not None:
        target.data = ffi.cast("void *", file.mappings[array.mapping].address + array.offset)
        target.count, target.nbytes = array.count, array.nbytes
