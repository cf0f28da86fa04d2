"""Tools with a model that was trained to call them, in the built executable, through the official clients."""

from __future__ import annotations

import json

import anthropic
import jsonschema
import openai
import pytest

from tests.executable.built import BUILT

from .running import Running

pytestmark = [pytest.mark.built, pytest.mark.models]

WEATHER = {"name": "get_weather", "description": "Get the current weather in a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "minLength": 1, "maxLength": 30},
                                     "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city"], "additionalProperties": False}}
TIME = {"name": "get_time", "description": "Get the current time in a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "minLength": 1, "maxLength": 30}},
    "required": ["city"], "additionalProperties": False}}
SCHEMAS = {tool["name"]: tool["parameters"] for tool in (WEATHER, TIME)}
TOOLS = [{"type": "function", "function": tool} for tool in (WEATHER, TIME)]
PARIS = [{"role": "user", "content": "What is the weather in Paris?"}]
BOTH = [{"role": "user", "content": "What is the weather in Paris and what time is it in Rome? Call both tools."}]
ANSWER = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {
    "type": "object", "properties": {"degrees": {"type": "integer", "minimum": -80, "maximum": 60}},
    "required": ["degrees"], "additionalProperties": False}}}


@pytest.fixture(scope="module")
def served(qwen0_5b):
    if not BUILT.exists():
        pytest.skip("build/llamafile is not built; make executable")
    found = Running(qwen0_5b, "-c", "4096", "--temp", "0", program=(str(BUILT),))
    yield found
    found.stop()
    assert "Traceback" not in found.text, found.text


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def claude(served):
    with anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0) as found:
        yield found


def ask(client, messages, **more):
    return client.chat.completions.create(model="m", messages=messages, max_tokens=200, **more).choices[0]


def checked(call):
    """The name and the arguments of a call, which follow their schema."""
    arguments = json.loads(call.function.arguments)
    jsonschema.validate(arguments, SCHEMAS[call.function.name])
    return call.function.name, arguments


@pytest.mark.parametrize(("choice", "name"), [
    ("auto", "get_weather"), ("required", "get_weather"),
    ({"type": "function", "function": {"name": "get_time"}}, "get_time"),
])  # fmt: skip
def test_a_call(client, choice, name):
    found = ask(client, PARIS, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    assert found.finish_reason == "tool_calls" and found.message.content is None
    [call] = found.message.tool_calls
    assert checked(call)[0] == name and checked(call)[1]["city"] == "Paris" and call.id
    chunks = client.chat.completions.create(model="m", messages=PARIS, max_tokens=200, tools=TOOLS, tool_choice=choice,
                                            parallel_tool_calls=False, stream=True)
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or ()]
    assert deltas[0].id and deltas[0].function.name == name and not any(delta.function.name for delta in deltas[1:])
    assert "".join(delta.function.arguments for delta in deltas) == call.function.arguments
    assert len(deltas) > 4  # as they come


def test_none_and_no_need(client):
    found = ask(client, PARIS, tools=TOOLS, tool_choice="none")
    assert found.message.content and not found.message.tool_calls and found.finish_reason in ("stop", "length")
    hello = ask(client, [{"role": "user", "content": "Write a haiku about llamas, in plain words."}], tools=TOOLS)
    assert hello.message.content or hello.message.tool_calls


def test_several_calls_at_once(client):
    found = ask(client, BOTH, tools=TOOLS, tool_choice="required")
    calls = dict(map(checked, found.message.tool_calls))
    assert calls["get_weather"]["city"] == "Paris" and len(found.message.tool_calls) >= 2
    assert len({call.id for call in found.message.tool_calls}) == len(found.message.tool_calls)
    chunks = client.chat.completions.create(model="m", messages=BOTH, max_tokens=200, tools=TOOLS,
                                            tool_choice="required", stream=True)
    arguments = {}
    for delta in (d for chunk in chunks for d in chunk.choices[0].delta.tool_calls or ()):
        arguments[delta.index] = arguments.get(delta.index, "") + delta.function.arguments
    assert list(arguments.values()) == [call.function.arguments for call in found.message.tool_calls]


def test_the_result_is_read(client):
    call = ask(client, PARIS, tools=TOOLS, tool_choice="required", parallel_tool_calls=False).message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 23, "sky": "thunderstorm"}'}
    after = ask(client, [*PARIS, {"role": "assistant", "tool_calls": [call.model_dump()]}, result], tools=TOOLS,
                tool_choice="none")  # so small a model calls again and again where it may
    assert after.finish_reason == "stop" and "23" in after.message.content


def test_a_call_or_a_shaped_answer(client):
    found = ask(client, PARIS, tools=TOOLS, response_format=ANSWER)
    assert [checked(call) for call in found.message.tool_calls or ()] or json.loads(found.message.content)
    told = [*PARIS, {"role": "assistant", "content": "I look."},
            {"role": "user", "content": "I know it: 23 degrees. Answer with the degrees."}]
    shaped = ask(client, told, tools=TOOLS, response_format=ANSWER)
    if shaped.message.tool_calls:
        assert [checked(call) for call in shaped.message.tool_calls]
    else:
        jsonschema.validate(json.loads(shaped.message.content), ANSWER["json_schema"]["schema"])
    never = ask(client, told, tools=TOOLS, tool_choice="none", response_format=ANSWER)
    jsonschema.validate(json.loads(never.message.content), ANSWER["json_schema"]["schema"])
    must = ask(client, PARIS, tools=TOOLS, tool_choice="required", response_format=ANSWER)
    assert all(checked(call) for call in must.message.tool_calls) and must.message.tool_calls


def test_anthropic_s_client(claude):
    tools = [{"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
             for tool in (WEATHER, TIME)]
    asked = {"model": "m", "messages": PARIS, "tools": tools}
    counted = claude.messages.count_tokens(**asked).input_tokens
    assert counted > claude.messages.count_tokens(model="m", messages=PARIS).input_tokens + 100
    for choice in ({"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "get_weather"}):
        found = claude.messages.create(max_tokens=200, tool_choice=choice, **asked)
        call = found.content[-1]
        assert (found.stop_reason, call.type, call.name, call.input["city"]) == ("tool_use", "tool_use", "get_weather",
                                                                                 "Paris")
        jsonschema.validate(call.input, WEATHER["parameters"])
        assert found.usage.input_tokens + found.usage.cache_read_input_tokens == counted
    with claude.messages.stream(max_tokens=200, tool_choice={"type": "any"}, **asked) as stream:
        parts = [event.partial_json for event in stream if event.type == "input_json"]
        assert stream.get_final_message().content[-1].input == json.loads("".join(parts)) and len(parts) > 3
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "23 degrees"}]}
    messages = [*PARIS, {"role": "assistant", "content": [call.model_dump()]}, {"role": "user", "content": [result]}]
    after = claude.messages.create(max_tokens=100, model="m", tools=tools, tool_choice={"type": "none"},
                                   messages=messages)
    assert after.stop_reason == "end_turn" and "23" in after.content[0].text


def test_responses(client):
    tools = [{"type": "function", "strict": True, **tool} for tool in (WEATHER, TIME)]
    asked = {"model": "m", "input": PARIS, "tools": tools, "max_output_tokens": 200}
    for choice in ("auto", "required", {"type": "function", "name": "get_weather"}):
        [call] = client.responses.create(tool_choice=choice, parallel_tool_calls=False, **asked).output
        assert (call.type, call.name, json.loads(call.arguments)["city"]) == ("function_call", "get_weather", "Paris")
    events = list(client.responses.create(tool_choice="required", parallel_tool_calls=False, stream=True, **asked))
    parts = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(parts) == call.arguments == events[-1].response.output[0].arguments and len(parts) > 3
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "23 degrees"}
    after = client.responses.create(model="m", input=[*PARIS, call.model_dump(), output], tools=tools,
                                    tool_choice="none", max_output_tokens=100)
    assert after.status == "completed" and "23" in after.output_text


def test_infill(served):
    """The gap is filled by what stands around it, and by what only another file says."""
    def filled(prefix, suffix, **more):
        body = {"input_prefix": prefix, "input_suffix": suffix, "n_predict": 16, "temperature": 0, **more}
        return served.post("/infill", body).json()["content"]

    fibonacci = filled("def fib(n):\n    if n < 2:\n        return n\n    return ", "\n\n\nprint(fib(10))\n")
    assert fibonacci.replace(" ", "").startswith("fib(n-1)+fib(n-2)\n")
    assert filled("def double(x):\n", "\n\nprint(double(2))\n", prompt="    return x *").startswith(" 2\n")
    use = "from zebra import quagga_name, ZEBRA_", "\n\nprint(quagga_name(1))\n"
    other = {"filename": "zebra.py", "text": "ZEBRA_LIMIT_42 = 42\n\n\ndef quagga_name(n):\n    return 'q' * n\n"}
    assert filled(*use, input_extra=[other]).startswith("LIMIT_42")
    assert not filled(*use).startswith("LIMIT_42")
