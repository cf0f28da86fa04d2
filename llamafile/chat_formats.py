"""Chat formats by name: what stands before and after each turn, from which their jinja texts are made."""

from __future__ import annotations


class Format:
    """A chat format: `system`, `user` and `assistant` are (before, after); `answer` is where the model goes on.

    `inside` says that the system prompt stands inside the first user turn; `trim` names the roles whose text loses the
    white space around it. The words BOS and EOS in `before` and `after` mean the model's own tokens.
    """

    def __init__(self, system: tuple[str, str], user: tuple[str, str], assistant: tuple[str, str], answer: str, *,
                 inside: bool = False, trim: tuple[str, ...] = (), start: str = "") -> None:
        self.system, self.user, self.assistant, self.answer = system, user, assistant, answer
        self.inside, self.trim, self.start = inside, trim, start


ALL, ANSWERS = ("system", "user", "assistant"), ("assistant",)
BOS, EOS = "\0bos_token\0", "\0eos_token\0"


def _by_role(before: str, after: str, answer: str | None = None, *, assistant: str = "assistant",
             trim: tuple[str, ...] = (), start: str = "") -> Format:
    """Return a format whose turns differ in the role's name alone, which stands where `before` has a @."""
    turns = [(before.replace("@", role), after) for role in ("system", "user", assistant)]
    return Format(turns[0], turns[1], turns[2], turns[2][0] if answer is None else answer, trim=trim, start=start)


_MISTRAL_SYSTEM = ("", "\n\n")

FORMATS = {
    "alpaca": Format(("", "\n\n"), ("### Instruction:\n", "\n\n"), ("### Response:\n", EOS + "\n\n"),
                     "### Response:\n"),
    "chatglm3": _by_role("<|@|>\n ", "", "<|assistant|>", start="[gMASK]sop"),
    "chatglm4": _by_role("<|@|>\n", "", "<|assistant|>\n", start="[gMASK]<sop>"),
    "chatml": _by_role("<|im_start|>@\n", "<|im_end|>\n"),
    "command-r": Format(
        ("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        ("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", trim=ALL),
    "deepseek": Format(("", ""), ("### Instruction:\n", "\n"), ("### Response:\n", "\n<|EOT|>\n"), "### Response:\n"),
    "deepseek2": Format(("", "\n\n"), ("User: ", "\n\n"), ("Assistant: ", EOS), "Assistant:"),
    "deepseek3": Format(("", ""), ("<｜User｜>", ""), ("<｜Assistant｜>", EOS), "<｜Assistant｜>"),
    "exaone3": Format(("[|system|]", "[|endofturn|]\n"), ("[|user|]", "\n"), ("[|assistant|]", "[|endofturn|]\n"),
                      "[|assistant|]", trim=ALL),
    "falcon3": _by_role("<|@|>\n", "\n"),
    "gemma": Format(("", "\n\n"), ("<start_of_turn>user\n", "<end_of_turn>\n"),
                    ("<start_of_turn>model\n", "<end_of_turn>\n"), "<start_of_turn>model\n", inside=True, trim=ALL),
    "gpt-oss": _by_role("<|start|>@<|message|>", "<|end|>", "<|start|>assistant"),
    "granite": _by_role("<|start_of_role|>@<|end_of_role|>", "<|end_of_text|>\n"),
    "kimi-k2": Format(("<|im_system|>system<|im_middle|>", "<|im_end|>"),
                      ("<|im_user|>user<|im_middle|>", "<|im_end|>"),
                      ("<|im_assistant|>assistant<|im_middle|>", "<|im_end|>"),
                      "<|im_assistant|>assistant<|im_middle|>"),
    "llama2": Format(("<<SYS>>\n", "\n<</SYS>>\n\n"), (BOS + "[INST] ", " [/INST]"), (" ", " " + EOS), "", inside=True,
                     trim=ALL),
    "llama3": _by_role("<|start_header_id|>@<|end_header_id|>\n\n", "<|eot_id|>", trim=ALL),
    "llama4": _by_role("<|header_start|>@<|header_end|>\n\n", "<|eot|>", trim=ALL),
    "minicpm": Format(("", ""), ("<用户>", ""), ("<AI>", ""), "<AI>", trim=ALL),
    "mistral": Format(_MISTRAL_SYSTEM, ("[INST] ", " [/INST]"), ("", EOS), "", inside=True),
    "mistral-v1": Format(_MISTRAL_SYSTEM, (" [INST] ", " [/INST]"), (" ", EOS), "", inside=True, trim=ANSWERS),
    "mistral-v3": Format(_MISTRAL_SYSTEM, ("[INST] ", "[/INST]"), (" ", EOS), "", inside=True, trim=ANSWERS),
    "mistral-v3-tekken": Format(_MISTRAL_SYSTEM, ("[INST]", "[/INST]"), ("", EOS), "", inside=True, trim=ANSWERS),
    "mistral-v7": Format(("[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"), ("[INST] ", "[/INST]"), (" ", EOS), ""),
    "mistral-v7-tekken": Format(("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), ("[INST]", "[/INST]"), ("", EOS), ""),
    "monarch": _by_role(BOS + "@\n", EOS + "\n"),
    "openchat": Format(("", "<|end_of_turn|>"), ("GPT4 Correct User: ", "<|end_of_turn|>"),
                       ("GPT4 Correct Assistant: ", "<|end_of_turn|>"), "GPT4 Correct Assistant:"),
    "orion": Format(("", "\n\n"), ("Human: ", "\n\n"), ("Assistant: " + EOS, EOS), "Assistant: " + EOS, inside=True),
    "phi3": _by_role("<|@|>\n", "<|end|>\n"),
    "phi4": _by_role("<|im_start|>@<|im_sep|>", "<|im_end|>"),
    "rwkv-world": Format(("System: ", "\n\n"), ("User: ", "\n\n"), ("Assistant: ", "\n\n"), "Assistant:", trim=ALL),
    "smolvlm": Format(("<|im_start|>System: ", "<end_of_utterance>\n"), ("User: ", "<end_of_utterance>\n"),
                      ("Assistant: ", "<end_of_utterance>\n"), "Assistant:"),
    "vicuna": Format(("", "\n\n"), ("USER: ", "\n"), ("ASSISTANT: ", EOS + "\n"), "ASSISTANT:"),
    "vicuna-orca": Format(("SYSTEM: ", "\n"), ("USER: ", "\n"), ("ASSISTANT: ", EOS + "\n"), "ASSISTANT:"),
    "zephyr": _by_role("<|@|>\n", EOS + "\n"),
}

_SAME = {"deepseek-coder": "deepseek", "llama2-sys": "llama2"}

NAMES = tuple(sorted([*FORMATS, *_SAME]))


def format_of(name: str) -> Format:
    """Return a named format; KeyError for a name that is none."""
    return FORMATS[_SAME.get(name, name)]


def text_of_name(name: str) -> str:
    """Return the jinja text of a named format; KeyError for a name that is none."""
    form = format_of(name)
    system, user = _turn(form, "system", *form.system), _turn(form, "user", *form.user)
    if form.inside:
        system = "{% set ns.system %}" + system + "{% endset %}"
        user = _turn(form, "user", form.user[0], form.user[1], "{{ ns.system }}{% set ns.system = '' %}")
    return (
        "{% set ns = namespace(system='') %}" + _quote(form.start) + "{% for m in messages %}"
        "{% if m.role == 'system' %}" + system + "{% elif m.role == 'user' %}" + user
        + "{% else %}" + _turn(form, "assistant", *form.assistant) + "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}" + _quote(form.answer) + "{% endif %}"
    )


def _turn(form: Format, role: str, before: str, after: str, inside: str = "") -> str:
    """Return the jinja text of one turn, with other jinja text before its content."""
    content = "{{ m.content | trim }}" if role in form.trim else "{{ m.content }}"
    return _quote(before) + inside + content + _quote(after)


def _quote(text: str) -> str:
    """Return text as jinja expressions, so that no newline falls victim to jinja's trimming of blocks."""
    parts = text.split("\0")
    return "".join("{{ " + (part if index % 2 else repr(part)) + " }}" for index, part in enumerate(parts) if part)
