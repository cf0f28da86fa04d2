"""How families of models write tool calls, and how a chat template shows which family it is of."""

from __future__ import annotations


class Format:
    """A way to write calls: begin, then for each call head, its name, middle, its arguments as JSON, tail; then end.

    White space in these texts stands for any that JSON may have there. `marks` are those of their parts that may be
    single control tokens. `separator` stands between calls; `several` says that there may be more than one. `alone`
    says that calls have no mark of their own and stand at the beginning of an answer. `style` says how arguments are
    written, `quote` what stands around texts in them where that is no JSON. `loose` are other formats that models of
    the family fall into at the beginning of an answer, without any mark.
    """

    def __init__(self, name: str, head: str, middle: str, tail: str, *, begin: str = "", separator: str = "",
                 end: str = "", marks: tuple[str, ...] = (), several: bool = True, alone: bool = False,
                 style: str = "json", quote: str = "", loose: tuple[Format, ...] = (),
                 shown: tuple[str, ...] = ()) -> None:
        self.name, self.head, self.middle, self.tail = name, head, middle, tail
        self.begin, self.separator, self.end = begin, separator, end
        self.marks, self.several, self.alone = marks, several, alone
        self.style, self.quote, self.loose = style, quote, loose
        self.shown = shown  # a template of this family has all of these in it

    @property
    def trigger(self) -> str:
        """The text by which a call is known."""
        text = self.begin or self.head
        return next((mark for mark in self.marks if text.startswith(mark)), text.split()[0])


_CALLS, _CALL, _SEP = "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"
_CALL_END, _CALLS_END = "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"

# Qwen2.5-Coder is told of the tags and writes a block of JSON all the same.
_JSON = (' { "name": "', '", "arguments": ', " }")
LOOSE = (Format("bare", *_JSON, separator=" "),
         Format("json block", *_JSON, begin="```json", separator=" ", end=" ```"),
         Format("block", *_JSON, begin="```", separator=" ", end=" ```"))
HERMES = Format("hermes", '<tool_call> { "name": "', '", "arguments": ', " } </tool_call>", separator=" ",
                marks=("<tool_call>", "</tool_call>"), loose=LOOSE, shown=("<tool_call>",))
GENERIC = Format("generic", HERMES.head, HERMES.middle, HERMES.tail, separator=" ", marks=HERMES.marks, loose=LOOSE)
# The first that a template shows is taken: the more particular ones come first.
FORMATS = (
    Format("qwen3-coder", "<tool_call> <function=", "> ", "</function> </tool_call>", separator=" ",
           marks=("<tool_call>", "</tool_call>"), style="xml", shown=("<function=", "<parameter=", "<tool_call>")),
    Format("functionary-v3.1", "<function=", "> ", " </function>", separator=" ", shown=("<function=", "</function>")),
    Format("functionary-v3.2", ">>>", "\n", " ", style="channels", shown=(">>>all",)),
    Format("mistral-v11", "[TOOL_CALLS]", "[ARGS]", "", marks=("[TOOL_CALLS]", "[ARGS]"),
           shown=("[TOOL_CALLS]", "[ARGS]")),
    Format("mistral", ' { "name": "', '", "arguments": ', "", begin="[TOOL_CALLS] [", separator=" , ", end=" ]",
           marks=("[TOOL_CALLS]",), style="mistral", shown=("[TOOL_CALLS]",)),
    Format("granite", ' { "name": "', '", "arguments": ', " }", begin="<|tool_call|> [", separator=" , ", end=" ]",
           marks=("<|tool_call|>",), shown=("<|tool_call|>", "<|start_of_role|>")),
    Format("command-r7b", ' { "tool_call_id": "0", "tool_name": "', '", "parameters": ', " }",
           begin="<|START_ACTION|> [", separator=" , ", end=" ]<|END_ACTION|>",
           marks=("<|START_ACTION|>", "<|END_ACTION|>"), style="numbered", shown=("<|START_ACTION|>",)),
    Format("gpt-oss", "<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", "",  # <|call|> is its end
           marks=("<|channel|>", "<|constrain|>", "<|message|>"), several=False, style="harmony",
           shown=("<|channel|>", "<|message|>")),
    Format("deepseek-v3", f"{_CALL}function{_SEP}", " ```json ", f" ```{_CALL_END}", begin=_CALLS, separator=" ",
           end=_CALLS_END, marks=(_CALLS, _CALL, _SEP, _CALL_END, _CALLS_END), shown=(_CALL, "```json")),
    Format("deepseek-v3.1", _CALL, _SEP, _CALL_END, begin=_CALLS, separator=" ", end=_CALLS_END,
           marks=(_CALLS, _CALL, _SEP, _CALL_END, _CALLS_END), shown=(_CALL,)),
    Format("function-gemma", "<start_function_call>call:", "", "<end_function_call>", style="gemma", quote="<escape>",
           marks=("<start_function_call>", "<end_function_call>", "<escape>"), shown=("<start_function_call>",)),
    Format("gemma4", "<|tool_call>call:", "", "<tool_call|>", style="gemma", quote='<|"|>',
           marks=("<|tool_call>", "<tool_call|>", '<|"|>'), shown=("<|tool_call>call:",)),
    HERMES,
    Format("llama3", ' { "name": "', '", "parameters": ', " }", several=False, alone=True, style="llama",
           shown=("<|start_header_id|>", '"parameters"', "tools")),
)
PYTHON_TAG = "<|python_tag|>"


def choose(template: str) -> Format:
    """Return the format of a template; the generic one where it says nothing about tools."""
    if "tools" not in template and "functions" not in template:
        return GENERIC
    return next((found for found in FORMATS if all(text in template for text in found.shown)), GENERIC)
