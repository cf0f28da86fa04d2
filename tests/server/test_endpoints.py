"""Each endpoint, field by field, as llama-server's clients know them."""

from __future__ import annotations

import base64
import re
import struct

import pytest
from gguf import GGUFReader

from llamafile.server.app import PATHS

from .running import PATIENCE, events

pytestmark = pytest.mark.models

TIMINGS = {"cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_n",
           "predicted_ms", "predicted_per_token_ms", "predicted_per_second"}
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


def test_health(server):
    for path in ("/health", "/v1/health"):
        found = server.get(path)
        assert (found.status_code, found.json()) == (200, {"status": "ok"})
        assert found.headers["content-type"].startswith("application/json") and found.headers["date"].endswith("GMT")


def test_models_tell_what_the_file_says(server, smollm2):
    fields = GGUFReader(smollm2).fields
    found = server.get("/v1/models").json()
    assert found == server.get("/models").json()
    assert found["object"] == "list" and len(found["data"]) == 1
    model = found["data"][0]
    assert model["id"] == smollm2.rpartition("/")[2] and model["object"] == "model" and model["created"] > 1.7e9
    meta = model["meta"]
    assert meta["n_vocab"] == len(fields["tokenizer.ggml.tokens"].data) == 49152
    assert meta["n_ctx_train"] == fields["llama.context_length"].parts[-1][0]
    assert meta["n_embd"] == fields["llama.embedding_length"].parts[-1][0]
    tensors = GGUFReader(smollm2).tensors
    assert meta["n_params"] == sum(int(tensor.n_elements) for tensor in tensors)
    assert meta["size"] == sum(int(tensor.n_bytes) for tensor in tensors)


def test_props(server):
    found = server.get("/props").json()
    assert found["total_slots"] == 4 and found["model_path"].endswith(".gguf")
    assert found["modalities"] == {"vision": False, "audio": False} and found["is_sleeping"] is False
    assert "<|im_start|>" in found["chat_template"] and found["bos_token"] == "<|im_start|>"
    settings = found["default_generation_settings"]
    assert settings["n_ctx"] == 2048
    assert settings["params"]["temperature"] == 0 and settings["params"]["top_k"] == 40
    assert settings["params"]["samplers"][0] == "penalties" and settings["params"]["samplers"][-1] == "temperature"
    refused = server.post("/props", {"temperature": 1})
    assert refused.status_code == 501 and refused.json()["error"]["type"] == "not_supported_error"


def test_slots(server):
    slots = server.get("/slots").json()
    assert [slot["id"] for slot in slots] == [0, 1, 2, 3]
    assert all(slot["n_ctx"] == 2048 and slot["is_processing"] is False for slot in slots)
    assert server.get("/slots?fail_on_no_slot=1").status_code == 200


def test_a_slot_is_saved_and_restored(server, tmp_path_factory):
    prompt = "Once upon a time there was a llama that lived on a hill. " * 4
    first = server.post("/completion", {"prompt": prompt, "n_predict": 8, "id_slot": 1}).json()
    assert first["id_slot"] == 1
    saved = server.post("/slots/1?action=save", {"filename": "kept.bin"}).json()
    assert saved["id_slot"] == 1 and saved["filename"] == "kept.bin" and saved["timings"]["save_ms"] >= 0
    assert saved["n_saved"] >= first["tokens_evaluated"] and saved["n_written"] > 1000
    assert server.post("/slots/1?action=erase", {}).json() == {"id_slot": 1, "n_erased": saved["n_saved"]}
    restored = server.post("/slots/1?action=restore", {"filename": "kept.bin"}).json()
    assert restored["n_restored"] == saved["n_saved"] and restored["n_read"] == saved["n_written"]
    again = server.post("/completion", {"prompt": prompt, "n_predict": 8, "id_slot": 1}).json()
    assert again["content"] == first["content"] and again["timings"]["prompt_n"] == 1


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", ".hidden", "..", "", "a\0b", "x" * 300, "a\\b"])
def test_a_slot_s_file_is_a_plain_name(server, name):
    for action in ("save", "restore"):
        found = server.post(f"/slots/0?action={action}", {"filename": name})
        assert found.status_code == 400 and found.json()["error"]["param"] == "filename"


def test_slots_that_are_not_there(server):
    for path in ("/slots/4?action=erase", "/slots/x?action=erase", "/slots/0?action=eat", "/slots/0"):
        assert server.post(path, {}).status_code == 400, path
    assert server.post("/slots/0?action=restore", {"filename": "nothing.bin"}).status_code == 400


def test_metrics_are_what_prometheus_reads(server):
    server.post("/completion", {"prompt": "a b c", "n_predict": 3, "cache_prompt": False})
    found = server.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    values, kinds = {}, {}
    for line in found.text.splitlines():
        if line.startswith("# TYPE "):
            name, kinds[name] = line.split()[2:]
        elif not line.startswith("#"):
            assert re.fullmatch(r"llamacpp:[a-z_]+ [-+.0-9e]+", line), line
            values[line.split()[0]] = float(line.split()[1])
    assert set(values) == set(kinds) and set(kinds.values()) == {"counter", "gauge"}
    for name in ("prompt_tokens_total", "prompt_seconds_total", "prompt_tokens_seconds", "tokens_predicted_total",
                 "tokens_predicted_seconds_total", "predicted_tokens_seconds", "n_decode_total"):
        assert values[f"llamacpp:{name}"] > 0, name
    for name in ("requests_processing", "requests_deferred", "n_tokens_max", "n_busy_slots_per_decode"):
        assert values[f"llamacpp:{name}"] >= 0, name


def test_tokens_there_and_back(server):
    text = "Hello, wörld! 🦙\n  two spaces"
    tokens = server.post("/tokenize", {"content": text}).json()["tokens"]
    assert server.post("/detokenize", {"tokens": tokens}).json() == {"content": text}
    pieces = server.post("/tokenize", {"content": text, "with_pieces": True}).json()["tokens"]
    assert [piece["id"] for piece in pieces] == tokens
    data = b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces)
    assert data.decode() == text
    assert any(isinstance(piece["piece"], list) for piece in pieces)  # the llama is of several tokens
    special = server.post("/tokenize", {"content": "<|im_end|>"}).json()["tokens"]
    plain = server.post("/tokenize", {"content": "<|im_end|>", "parse_special": False}).json()["tokens"]
    assert len(special) == 1 < len(plain)
    mixed = server.post("/tokenize", {"content": [5, "Hello", 6]}).json()["tokens"]
    assert mixed[0] == 5 and mixed[-1] == 6 and mixed[1:-1] == server.post("/tokenize", {"content": "Hello"}).json()[
        "tokens"]


def test_apply_template(server):
    found = server.post("/apply-template", {"messages": MESSAGES}).json()
    assert found["prompt"].endswith(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    begun = [*MESSAGES, {"role": "assistant", "content": "The capital"}]
    assert server.post("/apply-template", {"messages": begun}).json()["prompt"].endswith("assistant\nThe capital")


def test_completion_field_by_field(server):
    found = server.post("/completion", {"prompt": "The capital of France is", "n_predict": 5, "return_tokens": True,
                                        "stop": ["\n\n"], "cache_prompt": False}).json()
    assert found["content"].startswith(" Paris") and found["stop"] is True and found["index"] == 0
    assert found["stop_type"] in ("limit", "word") and found["truncated"] is False
    assert server.post("/detokenize", {"tokens": found["tokens"]}).json()["content"].startswith(found["content"])
    assert found["tokens_evaluated"] == 5 and found["tokens_predicted"] <= 5
    assert found["prompt"] == "The capital of France is" and found["model"].endswith(".gguf")
    assert set(found["timings"]) == TIMINGS and found["timings"]["prompt_n"] == 5
    settings = found["generation_settings"]
    assert settings["stop"] == ["\n\n"] and settings["n_predict"] == 5 and settings["temperature"] == 0
    assert {"id_slot", "has_new_line", "stopping_word", "tokens_cached"} <= set(found)


def test_a_stop_word_is_not_part_of_the_answer(server):
    whole = server.post("/completion", {"prompt": "1, 2, 3, 4,", "n_predict": 12}).json()["content"]
    assert " 7" in whole
    cut = server.post("/completion", {"prompt": "1, 2, 3, 4,", "n_predict": 12, "stop": " 7"}).json()
    assert cut["content"] == whole.partition(" 7")[0]
    assert (cut["stop_type"], cut["stopping_word"]) == ("word", " 7")


def test_a_stream_adds_up_to_the_whole(server):
    body = {"prompt": "Once upon a time", "n_predict": 12, "n_probs": 2, "return_progress": True,
            "timings_per_token": True}
    whole = server.post("/completion", body).json()
    import httpx

    asked = {**body, "stream": True}
    with httpx.stream("POST", server.url + "/completion", json=asked, timeout=PATIENCE) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        import json

        pieces = [json.loads(data) for _, data in events(response)]
    assert "".join(piece["content"] for piece in pieces) == whole["content"]
    assert [piece["stop"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1]["stop_type"] == whole["stop_type"] and set(pieces[-1]["timings"]) == TIMINGS
    progress = [piece["prompt_progress"] for piece in pieces if "prompt_progress" in piece]
    assert progress and set(progress[-1]) == {"total", "cache", "processed", "time_ms"}
    assert progress[-1]["processed"] == progress[-1]["total"] == whole["tokens_evaluated"]
    assert all(set(piece["timings"]) == TIMINGS for piece in pieces[:-1])
    probs = [entry for piece in pieces[:-1] for entry in piece.get("completion_probabilities", [])]
    assert [entry["id"] for entry in probs] == [entry["id"] for entry in whole["completion_probabilities"]]


def test_probabilities_before_and_after_sampling(server):
    body = {"prompt": "The capital of France is", "n_predict": 1, "n_probs": 3}
    before = server.post("/completion", body).json()["completion_probabilities"][0]
    assert before["token"] == " Paris" and bytes(before["bytes"]) == b" Paris" and before["logprob"] < 0
    best = before["top_logprobs"]
    assert len(best) == 3 and best[0]["id"] == before["id"] and best[0]["logprob"] >= best[1]["logprob"]
    after = server.post("/completion", {**body, "post_sampling_probs": True, "temperature": 1, "top_k": 2,
                                        "seed": 1}).json()["completion_probabilities"][0]
    assert 0 < after["prob"] <= 1 and len(after["top_probs"]) <= 3
    assert sum(entry["prob"] for entry in after["top_probs"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("bias", [[[" Paris", False]], [["PARIS", False]], {" Paris": False}])
def test_logit_bias_bans(server, bias):
    token = server.post("/tokenize", {"content": " Paris"}).json()["tokens"]
    assert len(token) == 1
    if isinstance(bias, list) and bias[0][0] == "PARIS":
        bias = [[token[0], False]]
    for given in (bias, {str(token[0]): -100}):
        found = server.post("/completion", {"prompt": "The capital of France is", "n_predict": 1, "logit_bias": given})
        assert found.json()["content"] != " Paris"
    forced = server.post("/completion", {"prompt": "The capital of France is", "n_predict": 1,
                                         "logit_bias": [[" London", 100.0]]}).json()
    assert forced["content"] == " London"


def test_prompts_in_all_their_forms(server):
    tokens = server.post("/tokenize", {"content": "The capital of France is"}).json()["tokens"]
    forms = ["The capital of France is", tokens, [*tokens[:2], " of France is"], {"prompt_string":
             "The capital of France is"}, ["The capital of France is"], [tokens]]
    for form in forms:
        found = server.post("/completion", {"prompt": form, "n_predict": 1}).json()
        assert found["content"] == " Paris", form
    several = server.post("/completion", {"prompt": ["The capital of France is", tokens, "1, 2, 3,"], "n_predict": 2,
                                          "n_cmpl": 2}).json()
    assert [each["index"] for each in several] == list(range(6))
    assert [each["content"][:6] for each in several[:4]] == [" Paris"] * 4
    with_data = server.post("/completion", {"prompt": {"prompt_string": "x", "multimodal_data": ["AAAA"]}})
    assert with_data.status_code == 501


def test_response_fields(server):
    body = {"prompt": "a", "n_predict": 1, "response_fields": ["content", "generation_settings/n_predict", "nothing"]}
    assert set(server.post("/completion", body).json()) == {"content", "n_predict"}


def test_n_predict_0_reads_the_prompt_alone(server):
    found = server.post("/completion", {"prompt": "A prompt of several words", "n_predict": 0}).json()
    assert found["content"] == "" and found["tokens_predicted"] == 0 and found["stop_type"] == "limit"


def test_the_same_seed_is_the_same_text_and_several_answers_differ(server):
    body = {"prompt": "My favourite animal is", "n_predict": 8, "temperature": 1.5, "seed": 42, "n_cmpl": 3}
    first, second = server.post("/completion", body).json(), server.post("/completion", body).json()
    assert [each["content"] for each in first] == [each["content"] for each in second]
    assert len({each["content"] for each in first}) > 1


def test_the_context_is_exceeded(server):
    found = server.post("/completion", {"prompt": "word " * 3000})
    error = found.json()["error"]
    assert (found.status_code, error["type"]) == (400, "exceed_context_size_error")
    assert error["n_ctx"] == 2048 and error["n_prompt_tokens"] >= 3000


def test_embeddings_in_both_forms(server):
    native = server.post("/embedding", {"content": "A llama"}).json()
    row = native[0]["embedding"][0]
    assert native[0]["index"] == 0 and len(row) == 576 and sum(x * x for x in row) == pytest.approx(1, abs=1e-4)
    found = server.post("/v1/embeddings", {"input": ["A llama", "A llama", "Taxes"], "model": "m"}).json()
    assert found["object"] == "list" and found["model"] == "m" and [e["index"] for e in found["data"]] == [0, 1, 2]
    assert found["data"][0]["embedding"] == pytest.approx(row, abs=1e-6)
    assert found["data"][0]["embedding"] != found["data"][2]["embedding"]
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 4
    packed = server.post("/v1/embeddings", {"input": "A llama", "encoding_format": "base64"}).json()["data"][0]
    assert struct.unpack("<576f", base64.b64decode(packed["embedding"])) == pytest.approx(row, abs=1e-6)
    largest = server.post("/embedding", {"content": "A llama", "embd_normalize": 0}).json()[0]["embedding"][0]
    assert max(map(abs, largest)) == pytest.approx(32760, rel=1e-4)
    assert server.post("/v1/embeddings", {"input": "x", "dimensions": 64}).status_code == 501


@pytest.mark.parametrize("path", ["/rerank", "/reranking", "/v1/rerank", "/v1/reranking", "/infill",
                                  "/v1/chat/completions/control"])
def test_what_model_or_build_lack_is_a_sentence(server, path):
    found = server.post(path, {})
    error = found.json()["error"]
    assert (found.status_code, error["code"], error["type"]) == (501, 501, "not_supported_error")
    assert " " in error["message"]


def test_images_are_not_understood(server):
    parts = [{"type": "text", "text": "What is this?"},
             {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    found = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]})
    assert found.status_code == 501 and found.json()["error"]["type"] == "not_supported_error"


def test_adapters(server):
    assert server.get("/lora-adapters").json() == []
    assert server.post("/lora-adapters", []).json() == {"success": True}
    assert server.post("/lora-adapters", [{"id": 0, "scale": 1}]).status_code == 501


def test_v1_completions(server):
    found = server.post("/v1/completions", {"prompt": ["The capital of France is", "1, 2, 3,"], "max_tokens": 2,
                                            "logprobs": 2, "n": 1, "model": "any"}).json()
    assert found["object"] == "text_completion" and found["model"] == "any"
    assert [choice["index"] for choice in found["choices"]] == [0, 1]
    choice = found["choices"][0]
    assert choice["text"].startswith(" Paris") and choice["finish_reason"] == "length"
    logprobs = choice["logprobs"]
    assert logprobs["tokens"][0] == " Paris" and len(logprobs["top_logprobs"][0]) == 2
    assert logprobs["text_offset"] == [0, 6] and logprobs["content"][0]["id"] > 0
    usage = found["usage"]
    assert usage["completion_tokens"] == 4 and usage["total_tokens"] == usage["prompt_tokens"] + 4
    echoed = server.post("/v1/completions", {"prompt": "The capital of France is", "max_tokens": 1, "echo": True})
    assert echoed.json()["choices"][0]["text"] == "The capital of France is Paris"


def test_input_tokens_are_counted(server):
    prompt = server.post("/apply-template", {"messages": MESSAGES}).json()["prompt"]
    count = len(server.post("/tokenize", {"content": prompt}).json()["tokens"])
    for path in ("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens"):
        assert server.post(path, {"messages": MESSAGES}).json()["input_tokens"] == count
    for path in ("/v1/responses/input_tokens", "/responses/input_tokens"):
        assert server.post(path, {"input": MESSAGES[0]["content"]}).json()["input_tokens"] == count
    assert server.post("/v1/messages/count_tokens", {"messages": MESSAGES}).json() == {"input_tokens": count}


def test_the_page_or_a_word_about_it(server):
    found = server.get("/")
    assert found.status_code == 200 and found.headers["content-type"].startswith("text/html")
    assert found.headers["x-content-type-options"] == "nosniff"
    again = server.get("/", headers={"if-none-match": found.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_every_path_knows_its_methods(server):
    for path in PATHS:
        place = path.replace("*", "0")
        found = server.get(place)
        if found.status_code == 405:
            assert found.headers["allow"] == "POST"
            assert found.json()["error"]["type"] == "invalid_request_error"
        else:
            assert found.status_code == 200, path
    import httpx

    assert httpx.delete(server.url + "/v1/models").status_code == 405
    head = httpx.head(server.url + "/v1/models")
    assert head.status_code == 200 and not head.content and int(head.headers["content-length"]) > 100
