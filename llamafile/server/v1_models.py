"""/v1/models: the one model there is, in OpenAI's form, with a list as Ollama's clients want it beside it."""

from __future__ import annotations

from llamafile.server.call import Json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call


async def get(call: Call) -> Json:
    """List the model under its name."""
    served = call.served
    tags = list(served.settings.tags)
    data = {
        "id": served.name, "object": "model", "created": served.created, "owned_by": "llamafile",
        "aliases": list(served.settings.names), "tags": tags, "meta": _meta(served),
    }  # fmt: skip
    details = {"parent_model": "", "format": "gguf", "family": served.model.architecture, "families": [],
               "parameter_size": "", "quantization_level": ""}
    older = {"name": served.name, "model": served.name, "modified_at": "", "size": "", "digest": "", "type": "model",
             "description": "", "tags": tags, "capabilities": ["completion"], "parameters": "", "details": details}
    return Json({"object": "list", "data": [data], "models": [older]})


def _meta(served: Any) -> dict[str, Any]:
    file = served.model.file
    count, size = 0, 0
    for tensor in file.tensors.values():
        elements = 1
        for extent in tensor.ne:
            elements *= extent
        count, size = count + elements, size + tensor.nbytes
    architecture = served.model.architecture
    return {
        "vocab_type": {"llama": 1, "gpt2": 2}.get(file.text("tokenizer.ggml.model"), 0),
        "n_vocab": served.model.n_vocab,
        "n_ctx_train": served.model.n_ctx_train, "n_ctx": served.scheduler.n_ctx,
        "n_embd": file.integer(f"{architecture}.embedding_length", 0, 0, 1 << 31), "n_params": count, "size": size,
    }  # fmt: skip
