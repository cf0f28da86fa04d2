"""Which format each tensor of a model gets, by the file type that was asked for."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from llamafile.gguf.values import Array
from runtime.quants import BY_ID, FORMATS, title


def spread(i, n):
    """The first and last eighth of n layers, and of the rest each third one: where errors cost most."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def eighth(i, n):
    """The first eighth of the layers."""
    return i < n // 8


def every(i, n):
    """All layers."""
    return True


# File type: the format of most matrices; then, by what a tensor is called in its layer, the format that some layers get
# instead (the first row whose layers match). "attn_v+" is for models whose queries share a value head by fours or more.
# This is how llama.cpp mixes, so that files of both have the same size and speed.
MIXES: dict[str, tuple[str, dict[str, list]]] = {
    **{name: (name.lower(), {}) for name in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q6_K")},
    "Q2_K": ("q2_k", {"attn_v+": [("q4_k", every)], "attn_v": [("q3_k", every)], "ffn_down": [("q3_k", every)],
                      "attn_output": [("q3_k", every)]}),
    "Q3_K_S": ("q3_k", {}),
    "Q3_K_M": ("q3_k", {"attn_v": [("q5_k", lambda i, n: i < 2), ("q4_k", every)],
                        "ffn_down": [("q5_k", lambda i, n: i < n // 16), ("q4_k", every)],
                        "attn_output": [("q4_k", every)]}),
    "Q3_K_L": ("q3_k", {"attn_v": [("q5_k", every)], "ffn_down": [("q5_k", every)], "attn_output": [("q5_k", every)]}),
    "Q4_K_S": ("q4_k", {"attn_v": [("q5_k", lambda i, n: i < 4)], "ffn_down": [("q5_k", eighth)]}),
    "Q4_K_M": ("q4_k", {"attn_v": [("q6_k", spread)], "ffn_down": [("q6_k", spread)]}),
    "Q5_K_S": ("q5_k", {}),
    "Q5_K_M": ("q5_k", {"attn_v": [("q6_k", spread)], "ffn_down": [("q6_k", spread)]}),
    "IQ4_NL": ("iq4_nl", {"attn_v+": [("q5_k", every)], "ffn_down": [("q5_k", eighth)]}),
    "IQ4_XS": ("iq4_xs", {"attn_v+": [("q5_k", every)], "ffn_down": [("q5_k", eighth)]}),
}
EIGHT_EXPERTS = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS")  # attn_output becomes Q5_K then

# Small tensors that decide much, or that no matrix product reads, keep the format they have: endings, parts of names.
KEPT = ("_norm.weight", "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight", "position_embd.weight",
        "token_types.weight", "ssm_conv1d.weight", "shortconv.conv.weight", "attn_rel_b.weight",
        "per_layer_model_proj.weight")
KEPT_PARTS = ("altup", "laurel", "time_mix_")
# What takes over where a row is no multiple of 256; where it is none of 32 either, F16 does.
SMALLER_BLOCKS = {"q2_k": "q4_0", "q3_k": "q4_0", "iq4_xs": "iq4_nl", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}


SAME = {"attn_qkv": "attn_v", "attn_kv_b": "attn_v"}  # tensors that contain another one and get what it gets


class Request:
    """What was asked for: `kind`, a name of MIXES or COPY, and the switches of the command."""

    def __init__(self, kind, requantize=False, leave_output=False, pure=False, output=None, embedding=None):
        self.kind, self.requantize, self.leave_output, self.pure = kind, requantize, leave_output, pure
        self.output, self.embedding = output, embedding  # Formats for output.weight and token_embd.weight, or None


class Plan:
    """Chooses the format of each tensor of an open File."""

    def __init__(self, file, request):
        self.file, self.request = file, request
        self.usual, self.rules = MIXES.get(request.kind, ("", {}))
        arch = file.text("general.architecture", "")
        heads = _first(file, f"{arch}.attention.head_count", 0)
        self.shared = heads // max(1, _first(file, f"{arch}.attention.head_count_kv", heads))
        self.experts = file.integer(f"{arch}.expert_count", 0)
        self.large = file.integer(f"{arch}.block_count", 0) == 80 and self.shared > 1
        self.layers: dict[str, list[int]] = {}  # what a tensor is called in its layer → the layers that have one
        for name in file.tensors:
            layer, part = _place(name)
            if layer is not None and layer not in self.layers.setdefault(part, []):
                self.layers[part].append(layer)
        for numbers in self.layers.values():
            numbers.sort()

    def format_of(self, tensor):
        """Return the Format that a tensor is to have; raise LlamafileError where it cannot be converted into it."""
        now = BY_ID.get(tensor.type)
        if now is None:
            raise LlamafileError(f"{self.file.label}: tensor {tensor.name} has {title(tensor.type)}, which this build "
                                 "cannot copy; look for a newer build")
        now = now.plain or now  # what is written is plain
        if self.request.kind == "COPY" or self._is_kept(tensor):
            return now
        wanted = FORMATS[self._name(tensor)]
        if tensor.ne[0] % wanted.block:
            wanted = FORMATS[SMALLER_BLOCKS.get(wanted.name, "f16")]
            wanted = FORMATS["f16"] if tensor.ne[0] % wanted.block else wanted
        if wanted is now:
            return now
        if not now.computed:
            raise LlamafileError(f"{self.file.label}: tensor {tensor.name} is {now!r}, which this build cannot decode; "
                                 "start from an F16 or BF16 file")
        if now.group and not self.request.requantize:
            raise LlamafileError(f"{self.file.label}: tensor {tensor.name} is {now!r} already, and converting it again "
                                 "loses more; start from an F16 or BF16 file, or give --allow-requantize")
        return wanted

    def _is_kept(self, tensor):
        name, matrix = tensor.name, any(extent > 1 for extent in tensor.ne[1:])
        return (not name.endswith("weight") or not matrix or name.endswith(KEPT)
                or any(part in name for part in KEPT_PARTS)
                or (self.request.leave_output and name == "output.weight"))

    def _name(self, tensor):
        """Return the name of the format by the user's wishes and the mix, whatever the row's length."""
        request, name = self.request, tensor.name
        tied = "output.weight" not in self.file.tensors  # then the embedding is in its place
        is_output = name == "output.weight" or (tied and name == "token_embd.weight")
        if name == "token_embd.weight" and request.embedding:
            return request.embedding.name
        if is_output and request.output:
            return request.output.name
        if request.pure or not FORMATS[self.usual].group:
            return self.usual
        if is_output:
            return "q8_0" if self.usual == "q8_0" or tensor.ne[0] % FORMATS[self.usual].block else "q6_k"
        return self._mixed(name)

    def _mixed(self, name):
        layer, part = _place(name)
        if layer is None:
            return self.usual
        if self.experts == 8 and part in ("attn_v", "attn_k"):
            return "q8_0"
        if self.experts == 8 and part == "attn_output":
            return "q5_k" if self.request.kind in EIGHT_EXPERTS else self.usual
        rows = self.rules.get(part, [])
        if part == "attn_v" and self.shared >= 4:
            rows = self.rules.get("attn_v+", rows)
        numbers = self.layers[part]
        found = next((form for form, where in rows if where(numbers.index(layer), len(numbers))), self.usual)
        # In models of 80 layers eight queries share a value head: it is small, and errors in it cost eight times.
        return "q5_k" if part == "attn_v" and self.large and found in ("q3_k", "q4_k") else found


def _place(name):
    """Return the layer and what the tensor is in it, "blk.7.attn_v.weight" → (7, "attn_v"); or None and its name."""
    head, number, part = (*name.split("."), "", "")[:3]
    if head != "blk" or not number.isdecimal():
        return None, name
    return int(number), SAME.get(part, "ffn_down" if part.startswith("ffn_down") else part)


def _first(file, key, default):
    """Return an integer key, or the first element where it is an array of one for each layer."""
    value = file.get(key, default)
    if isinstance(value, Array) and len(value):
        value = value.tolist(1)[0]
    return value if type(value) is int else default
