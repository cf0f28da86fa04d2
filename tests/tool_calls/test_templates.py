"""Templates of real models, with tools, against jinja set up as Hugging Face documents it, and transformers itself."""

from __future__ import annotations

import json

import pytest
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llamafile.chat_template import render
from llamafile.gguf.reader import open_path
from llamafile.tool_calls import plan
from tests import weights

from .test_tool_calls import TOOLS

pytestmark = pytest.mark.models

CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "São <&> Paulo"}'}}
TALKS = [
    [{"role": "user", "content": "hi"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is <b>?\n"}],
    [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"t": 21}'},
        {"role": "tool", "tool_call_id": "c1", "content": "ü"},
        {"role": "assistant", "content": "21 degrees."},
        {"role": "user", "content": "Thanks"},
    ],
]


def plain(template, **variables):
    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    sandbox.filters["tojson"] = tojson
    return sandbox.from_string(template).render(**variables)


def transformers_render(template, messages, tools, **variables):
    utilities = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    texts, _ = utilities.render_jinja_template([messages], chat_template=template, tools=tools, **variables)
    return texts[0]


@pytest.mark.parametrize("name", ["smollm2", "qwen0.5b"])
@pytest.mark.parametrize("talk", range(len(TALKS)))
@pytest.mark.parametrize("oracle", ["jinja", "transformers"])
def test_renders_as_others_do(name, talk, oracle):
    try:
        template = open_path(str(weights.fetch(name))).text("tokenizer.chat_template")
    except weights.Unavailable as problem:
        pytest.skip(str(problem))
    planned = plan(template, TOOLS)
    messages = planned.messages(TALKS[talk])
    ours = render(template, messages, bos="<s>", eos="</s>", tools=planned.tools)
    more = {"add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    if oracle == "jinja":
        assert ours == plain(template, messages=messages, tools=planned.tools, documents=None, **more)
    else:
        assert ours == transformers_render(template, messages, planned.tools, **more)
    assert "get_weather" in ours and ("Paulo" in ours) is (talk == 2)
