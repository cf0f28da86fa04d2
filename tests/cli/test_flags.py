"""The flag table: every row is whole, no spelling means two things, defaults are those of the rooms it serves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llamafile import arguments
from llamafile.arguments import read
from llamafile.errors import LlamafileError
from llamafile.flags import ENVIRONMENT, GROUPS, SPELLINGS, TABLE, canonical
from llamafile.flags.row import CHOICE, FLOAT, INT, LATER, LIST, MAYBE, NO_EFFECT, PATH, SWITCH, TEXT, WORKS
from llamafile.sampling import Params

# Typed from the issue, section 5, and from the examples; the table must know each of them.
ASKED = """
-m --model -p --prompt -f --file -e --escape -n --n-predict --predict -c --ctx-size --ctx_size -b --batch-size
--batch_size -ub --ubatch-size -t --threads -tb --threads-batch --temp --temperature --top-k --top-p --min-p
--repeat-penalty --repeat_penalty --repeat-last-n --presence-penalty --frequency-penalty --seed -s -r --reverse-prompt
--in-prefix --in-suffix --in-prefix-bos -i --interactive --interactive-first -cnv --conversation --chat-template
--color --keep --mirostat --mirostat-lr --mirostat-ent --ignore-eos --no-display-prompt --silent-prompt --special
--simple-io --verbose-prompt --log-disable --mlock --no-mmap --no-warmup --numa --prompt-cache --prompt-cache-all
--prompt-cache-ro -ngl --n-gpu-layers --gpu-layers --gpu --rope-scaling --rope-scale --rope-freq-base
--rope-freq-scale --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast -ctk
--cache-type-k -ctv --cache-type-v --version -h --help --grammar --image --mmproj --server --lora --grammar-file -md
--host --port --cli --verify --samplers --typical --tfs --logit-bias -l --dry-multiplier --xtc-probability --isa
--unsecure --nobrowser --embedding --path -np -cb --alias --api-key --recompile --nocompile --tinyblas -sm -ts -mg
""".split()  # noqa: SIM905 - a list of literals would be three times as long


@pytest.mark.parametrize("spelling", ASKED)
def test_known(spelling):
    assert canonical(spelling) in SPELLINGS


@pytest.mark.parametrize("spelling", ["--image", "--mmproj", "--lora"])
def test_coming_flags_are_refused_in_one_line(spelling):
    with pytest.raises(LlamafileError, match=rf"^{spelling}: not in this version yet; remove it$"):
        read([spelling, "x"], environment={})


def test_no_spelling_stands_twice():
    spellings = [name for flag in TABLE for name in flag.names + flag.off]
    assert sorted(spellings) == sorted(set(spellings))
    assert len(ENVIRONMENT) == sum(bool(flag.env) for flag in TABLE)


def test_rows_are_whole():
    for flag in TABLE:
        assert flag.names, flag.off
        for name in flag.names + flag.off:
            assert re.fullmatch(r"-[a-zA-Z][a-z]*|--[a-z0-9]+(-[a-z0-9]+)*|-no-[a-z]+", name), name
        assert flag.help.endswith("."), flag.name
        assert flag.kind in (SWITCH, INT, FLOAT, TEXT, PATH, CHOICE, MAYBE, LIST)
        assert flag.status in (WORKS, NO_EFFECT, LATER)
        assert bool(flag.choices) is (flag.kind in (CHOICE, MAYBE)), flag.name
        assert not flag.off or flag.kind == SWITCH, flag.name
        assert flag.dest.isidentifier()
        assert not flag.refused or set(flag.refused) <= set(flag.choices)
        assert all(any(other.dest == dest for other in TABLE) for dest in flag.replaces), flag.name


def test_defaults_are_values_the_flag_could_take():
    kinds = {SWITCH: (bool, type(None)), INT: (int, type(None)), FLOAT: (float, type(None)),
             TEXT: (str, type(None)), PATH: (str, type(None)), LIST: (tuple, type(None))}
    for flag in TABLE:
        if flag.kind in kinds:
            assert isinstance(flag.default, kinds[flag.kind]), flag.name
        else:
            assert flag.default in (*flag.choices, None, ""), flag.name


def test_one_destination_has_one_row():
    destinations = [flag.dest for flag in TABLE]
    assert len(destinations) == len(set(destinations))


def test_sampling_rows_are_the_fields_of_params_with_their_defaults():
    params = Params()
    group = next(flags for title, flags in GROUPS if title == "Choosing the next token")
    served = {flag.dest: flag for flag in group if flag.status == WORKS and flag.dest != "sampling_seq"}
    assert set(served) == set(Params.__slots__) - {"min_keep", "n_probs"}
    for name, flag in served.items():
        ours = flag.default
        assert (dict(ours) if name == "logit_bias" else ours) == getattr(params, name), name


def test_environment_twins_follow_one_form():
    for name in ENVIRONMENT:
        assert name.startswith("LLAMA_"), name


def test_what_works_is_read_somewhere():
    root = Path(arguments.__file__).parent
    source = "".join(path.read_text() for path in root.rglob("*.py"))
    served = set(Params.__slots__) | set(re.findall(r'"((?:rope|yarn)_[a-z_]+)": \(', source))
    for flag in TABLE:
        if flag.status == WORKS and flag.dest not in served:
            assert re.search(rf"\boptions\.{flag.dest}\b", source), flag.name
