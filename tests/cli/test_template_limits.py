"""Chat templates that would never end, or fill the memory, are refused in a line; honest ones are as they were."""

from __future__ import annotations

import time

import pytest
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llamafile.chat_template import render
from llamafile.errors import LlamafileError

MESSAGES = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
DOUBLE = "{% set ns = namespace(x=START) %}{% for i in range(64) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"


def doubling(start, step):
    return DOUBLE.replace("START", start).replace("STEP", step)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxx' * 1000 }}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        doubling("'ab'", "ns.x ~ ns.x"),
        doubling("'ab'", "ns.x + ns.x"),
        doubling("'ab'", "ns.x * 2"),
        doubling("['a']", "ns.x + ns.x"),
        doubling("['ab']", "[ns.x | join('x'), ns.x | join('x')]"),
        doubling("'aa'", "ns.x | replace('a', 'aaaa')"),
        "{{ 'a' * 999999999 }}",
        "{{ 'x'.ljust(10 ** 9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 2 ** 999999999 }}",
        "x" * 300_000,
        "{{ lipsum(n=100000) }}",
    ],
    ids=range(19),
)
def test_what_would_not_end(template):
    started = time.process_time()
    with pytest.raises(LlamafileError) as caught:
        render(template, MESSAGES)
    assert "\n" not in str(caught.value) and time.process_time() - started < 8


HONEST = [
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ loop.previtem }} {% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ m.content ~ 1 ~ none ~ '<' }}{% else %}none{% endfor %}",
    "{% macro f(x, y='d') %}[{{ x }}{{ y }}{{ varargs }}]{% endmacro %}{{ f(1) }}{{ f(1, 2, 3) }}"
    "{% macro g() %}{{ caller('z') }}{% endmacro %}{% call(q) g() %}<{{ q }}>{% endcall %}",
    "{{ messages | map(attribute='role') | join(',') }}{{ 'a-%s-%03d' % ('b', 7) }}{{ '{:>4}'.format(3) }}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% if loop.first %}{% continue %}{% endif %}.{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for i in range(1000) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{{ messages[::-1] | length }}{{ (messages + messages) | length }}{{ 'a,b'.split(',')[1] }}{{ 'a' * 3 ~ 2 ** 5 }}",
    "{{ 'a\nb' | replace('a', 'c') }}{{ 'abc' | indent(2) }}{{ 'x' | center(9) }}",
]


@pytest.mark.parametrize("template", HONEST, ids=range(len(HONEST)))
def test_the_rest_is_as_jinja_has_it(template):
    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    assert render(template, MESSAGES) == plain.from_string(template).render(messages=MESSAGES)
