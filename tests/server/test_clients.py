"""The official clients of OpenAI and Anthropic, as their documentation uses them."""

from __future__ import annotations

import json

import anthropic
import jsonschema
import openai
import pytest

pytestmark = pytest.mark.models

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
                                           "population": {"type": "integer", "minimum": 0, "maximum": 99999999}},
          "required": ["city", "population"], "additionalProperties": False}
WEATHER = {"name": "get_weather", "description": "Tells the weather in a city.",
           "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
                          "required": ["city"], "additionalProperties": False}}


@pytest.fixture(scope="module")
def client(everywhere):
    with openai.OpenAI(base_url=everywhere.url + "/v1", api_key="sk-no-key-required", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def claude(everywhere):
    with anthropic.Anthropic(base_url=everywhere.url, api_key="none", max_retries=0) as found:
        yield found


def test_chat(client, everywhere):
    found = client.chat.completions.create(model="LLaMA_CPP", messages=MESSAGES, max_tokens=30)
    assert found.object == "chat.completion" and found.model == "LLaMA_CPP" and found.id.startswith("chatcmpl-")
    choice = found.choices[0]
    prompt = everywhere.post("/apply-template", {"messages": MESSAGES}).json()["prompt"]
    by_hand = everywhere.post("/completion", {"prompt": prompt, "n_predict": 30}).json()["content"]
    assert choice.message.content.strip() == by_hand.strip() != "" and choice.message.role == "assistant"
    assert choice.finish_reason in ("stop", "length") and choice.index == 0
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    again = client.chat.completions.create(model="x", messages=MESSAGES, max_tokens=30)
    assert again.choices[0].message.content == choice.message.content
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens - 1


def test_chat_streams_the_same(client):
    whole = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=30)
    chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=30, stream=True,
                                                 stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].object == "chat.completion.chunk"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        whole.choices[0].finish_reason]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1
    without = list(client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=3, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in without)


def test_several_answers(client):
    found = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8, n=3, temperature=1.5, seed=3)
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in found.choices}) > 1
    chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8, n=3, temperature=1.5,
                                                 seed=3, stream=True))
    texts = ["", "", ""]
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in found.choices]


def test_logprobs(client):
    found = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=5, logprobs=True, top_logprobs=3)
    content = found.choices[0].logprobs.content
    assert len(content) == found.usage.completion_tokens == 5
    assert b"".join(bytes(entry.bytes) for entry in content).decode() == found.choices[0].message.content
    assert all(len(entry.top_logprobs) == 3 and entry.logprob <= 0 for entry in content)
    assert all(entry.top_logprobs[0].token == entry.token for entry in content)  # at temperature 0
    bare = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=2, logprobs=True)
    assert [entry.top_logprobs for entry in bare.choices[0].logprobs.content] == [[], []]
    chunks = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=5, logprobs=True, top_logprobs=3,
                                            stream=True)
    streamed = [e.token for c in chunks if c.choices[0].logprobs for e in c.choices[0].logprobs.content]
    assert streamed == [entry.token for entry in content]


def test_answers_follow_a_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    found = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=200, response_format=form)
    jsonschema.validate(json.loads(found.choices[0].message.content), SCHEMA)
    loose = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Give me a JSON object."}],
                                           max_tokens=300, response_format={"type": "json_object"}, seed=1)
    if loose.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(loose.choices[0].message.content), dict)


def test_a_schema_that_cannot_be_followed_is_the_client_s_mistake(client):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strange"}}}
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.chat.completions.create(model="m", messages=MESSAGES, response_format=form)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_tools(client, choice):
    tools = [{"type": "function", "function": WEATHER}]
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    found = client.chat.completions.create(model="m", messages=question, tools=tools, tool_choice=choice,
                                           max_tokens=100)
    message = found.choices[0].message
    assert found.choices[0].finish_reason == "tool_calls" and message.content is None
    call = message.tool_calls[0]
    assert call.type == "function" and call.id and call.function.name == "get_weather"
    jsonschema.validate(json.loads(call.function.arguments), WEATHER["parameters"])
    chunks = list(client.chat.completions.create(model="m", messages=question, tools=tools, tool_choice=choice,
                                                 max_tokens=100, stream=True))
    deltas = [d for chunk in chunks if chunk.choices for d in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].function.name == "get_weather" and deltas[0].id
    assert "".join(d.function.arguments or "" for d in deltas if d.index == 0) == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    answered = [*question, {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
                {"role": "tool", "tool_call_id": call.id, "content": "Rain, 12 degrees."}]
    after = client.chat.completions.create(model="m", messages=answered, tools=tools, tool_choice="none", max_tokens=30)
    assert after.choices[0].message.content and not after.choices[0].message.tool_calls


def test_completions_and_models(client):
    found = client.completions.create(model="m", prompt="The capital of France is", max_tokens=3, logprobs=1)
    assert found.choices[0].text.startswith(" Paris") and found.choices[0].logprobs.tokens[0] == " Paris"
    streamed = client.completions.create(model="m", prompt="The capital of France is", max_tokens=3, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == found.choices[0].text
    names = [model.id for model in client.models.list()]
    assert len(names) == 1


def test_embeddings(client):
    found = client.embeddings.create(model="m", input=["A llama", "A camel"])  # the client asks for base64
    assert len(found.data) == 2 and len(found.data[0].embedding) == 576
    plain = client.embeddings.create(model="m", input="A llama", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(found.data[0].embedding, abs=1e-6)


def test_responses(client):
    found = client.responses.create(model="m", instructions="You answer briefly.", input="What is the capital of "
                                    "France?", max_output_tokens=40)
    assert found.id.startswith("resp_") and found.object == "response" and len(found.output_text) > 2
    assert found.status in ("completed", "incomplete") and found.usage.total_tokens > found.usage.output_tokens > 0
    events = list(client.responses.create(model="m", instructions="You answer briefly.", input="What is the capital of "
                                          "France?", max_output_tokens=40, stream=True))
    assert [event.type for event in events[:4]] == ["response.created", "response.in_progress",
                                                    "response.output_item.added", "response.content_part.added"]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == found.output_text
    assert events[-1].type == f"response.{found.status}" and events[-1].response.output_text == found.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_responses_with_tools_and_schema(client):
    tools = [{"type": "function", "strict": True, **WEATHER}]
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    found = client.responses.create(model="m", input=question, tools=tools, tool_choice="required",
                                    max_output_tokens=100)
    call = found.output[0]
    assert call.type == "function_call" and call.name == "get_weather" and call.status == "completed"
    jsonschema.validate(json.loads(call.arguments), WEATHER["parameters"])
    answered = [*question, call.model_dump(), {"type": "function_call_output", "call_id": call.call_id,
                                               "output": "Rain."}]
    after = client.responses.create(model="m", input=answered, max_output_tokens=20)
    assert after.output_text
    form = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA}}
    shaped = client.responses.create(model="m", input="The capital of France?", text=form, max_output_tokens=200)
    jsonschema.validate(json.loads(shaped.output_text), SCHEMA)


def test_errors_are_the_client_s_own(client):
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="m", messages=[])
    assert wrong.value.param == "messages" and wrong.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        client.files.list()


def test_messages(claude):
    found = claude.messages.create(model="m", max_tokens=40, messages=MESSAGES, system="You answer briefly.")
    assert found.type == "message" and found.role == "assistant" and len(found.content[0].text) > 2
    assert found.stop_reason in ("end_turn", "max_tokens") and found.usage.output_tokens > 0
    with claude.messages.stream(model="m", max_tokens=40, messages=MESSAGES, system="You answer briefly.") as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == found.content[0].text == final.content[0].text and final.stop_reason == found.stop_reason
    word = final.content[0].text[3:6]
    stopped = claude.messages.create(model="m", max_tokens=40, messages=MESSAGES, system="You answer briefly.",
                                     stop_sequences=[word])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", word)
    assert stopped.content[0].text == text.partition(word)[0]


def test_messages_with_tools(claude):
    tools = [{"name": "get_weather", "description": "Tells the weather.", "input_schema": WEATHER["parameters"]}]
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked = {"model": "m", "max_tokens": 100, "tools": tools, "tool_choice": {"type": "any"}, "messages": question}
    found = claude.messages.create(**asked)
    call = found.content[-1]
    assert found.stop_reason == "tool_use" and call.type == "tool_use" and call.name == "get_weather"
    jsonschema.validate(call.input, WEATHER["parameters"])
    with claude.messages.stream(**asked) as stream:
        assert stream.get_final_message().content[-1].input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain."}
    after = claude.messages.create(model="m", max_tokens=20, tools=tools, tool_choice={"type": "none"}, messages=[
        *question, {"role": "assistant", "content": [call.model_dump()]}, {"role": "user", "content": [result]}])
    assert after.content[0].type == "text"


def test_tokens_are_counted(claude, client):
    count = claude.messages.count_tokens(model="m", messages=MESSAGES).input_tokens
    found = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=1)
    assert count == found.usage.prompt_tokens


def test_an_error_as_anthropic_has_it(claude):
    with pytest.raises(anthropic.BadRequestError) as wrong:
        claude.messages.create(model="m", max_tokens=5, messages=[])
    assert wrong.value.body["type"] == "error" and wrong.value.body["error"]["type"] == "invalid_request_error"
