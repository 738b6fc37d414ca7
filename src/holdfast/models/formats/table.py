"""The table of call formats: the marks of calls, the parser for the text between them, and the models that use them.

The rows come from the chat templates of the named models.  If two formats begin with the same mark, the text after it
distinguishes them.  The closing mark may be missing if the call is complete and the turn was not truncated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.models.formats import bodies
from holdfast.models.formats.bodies import Body, Pairs

_NAME = r"[\w.\-/]+"


@dataclass(frozen=True)
class Format:
    """A format of tool calls.

    Attributes:
        name: name of the format.
        opens: pattern of the mark before a call or a list of calls.
        body: parser for the calls.
        closes: pattern of the mark after them.
        users: model families whose templates write this format.
        must_close: whether other text may follow only after the closing mark.
    """

    name: str
    opens: str
    body: Body
    closes: str
    users: str
    must_close: bool = True


def _pairs(name: str, key: str, opens: str, closes: str, end: str, bare: bool = True) -> Pairs:
    """Make a parser for pairs of key and value; without its closing mark a value ends at the next pair or at the end.

    Args:
        name: pattern of the name; group `name`.
        key: pattern of a key.
        opens: pattern that begins a pair, with KEY in place of the key.
        closes: pattern that ends its value.
        end: pattern that ends the call.
        bare: see `bodies.Pairs`.
    """
    first, others = opens.replace("KEY", f"(?P<key>{key})"), opens.replace("KEY", key)
    strict = rf"\s*{first}(?P<value>(?:(?!{others}).)*?){closes}"
    loose = rf"\s*{first}(?P<value>(?:(?!{others}|{closes}).)*?)(?=\s*{others}|\s*(?:{end}))"
    strict_, loose_ = (re.compile(pattern, re.DOTALL) for pattern in (strict, loose))
    return Pairs(re.compile(name), strict_, loose_, re.compile(rf"\s*(?:{end})"), bare)


_HERMES = r"(?i:tool[-_ ]?calls?|function[-_ ]?calls?|tools|tool_use)"
_NS = r"(?:｜DSML｜|minimax:|atem:|antml:)?"
_GLM = r"(?::opensource)?"

TABLE: tuple[Format, ...] = (
    Format(
        "hermes",
        rf"<{_HERMES}>\s*(?=[\[{{\"'`])",
        bodies.json_calls,
        rf"</{_HERMES}>",
        "Hermes 2 and 3, Qwen 2.5 and 3, QwQ, Granite 4, Bielik, MiMo, Reka, Nemotron Nano 2, Apriel, MiniMax M1",
    ),
    Format(
        "function-json",
        rf"<function=(?={_NAME}>\s*\{{)",
        bodies.named(rf"(?P<name>{_NAME})>\s*"),
        r"</function>",
        "Llama 3.1 with custom tools, Functionary 3.1",
    ),
    Format(
        "qwen-xml",
        rf"(?:<(?:seed:)?tool_call>\s*)?<function=(?={_NAME}>\s*(?!\{{))",
        _pairs(
            rf"(?P<name>{_NAME})>",
            r"[^>\n]+",
            "<parameter=KEY>",
            "</parameter>",
            r"</function>|(?=</(?:seed:)?tool_call>)|\Z",
        ),
        r"</(?:seed:)?tool_call>",
        "Qwen3-Coder, Qwen 3.5 and later, Nemotron 3, Step 3.5, Seed OSS",
        must_close=False,
    ),
    Format(
        "glm",
        rf"(?:<tool_calls{_GLM}>\s*)?<tool_call{_GLM}>\s*(?=[\w.\-]+\s*(?:<|\Z))",
        _pairs(
            rf"(?P<name>[\w.\-]+)\s*(?:<tool_sep{_GLM}>)?",
            r"[^<]+",
            rf"<arg_key{_GLM}>KEY</arg_key{_GLM}>\s*<arg_value{_GLM}>",
            rf"</arg_value{_GLM}>",
            rf"(?=</tool_call{_GLM}>)|\Z",
            bare=False,
        ),
        rf"</tool_call{_GLM}>(?:\s*</tool_calls{_GLM}>)?",
        "GLM 4.5 to 4.7, Laguna, Ling 3, Spark 2.5, Hunyuan 3",
    ),
    Format(
        "invoke",
        # Muse also writes the name of the tool before the block.
        r"(?:(?:<\|eom\|>)?(?:<\|start\|>assistant)?[ ]to=[\w.\-]+<\|message\|>\s*)?"
        rf"(?:<{_NS}(?:function_calls|tool_calls?)>\s*)?<{_NS}invoke name=\"",
        _pairs(
            r"(?P<name>[^\"<>\n]+)\">",
            r"[^\"<>\n]+",
            rf"<{_NS}parameter name=\"KEY\"[^<>\n]*>",
            rf"</{_NS}parameter>",
            rf"</{_NS}invoke>|\Z",
        ),
        rf"</{_NS}(?:function_calls|tool_calls?)>",
        "MiniMax M2, DeepSeek V3.2 and V4, Muse",
        must_close=False,
    ),
    Format(
        "function-name",
        r"<function name=\"",
        _pairs(r"(?P<name>[^\"<>\n]+)\">", r"[^\"<>\n]+", r"<param name=\"KEY\">", "</param>", r"</function>|\Z"),
        r"",
        "MiniCPM 5",
        must_close=False,
    ),
    Format(
        "mistral",
        r"\[TOOL_CALLS\]\s*(?=[\[{])",
        bodies.json_calls,
        r"\[/TOOL_CALLS\]",
        "Mistral 7B v0.3, Nemo, Mixtral",
        must_close=False,
    ),
    Format(
        "mistral-args",
        rf"\[TOOL_CALLS\]\s*(?={_NAME}\s*(?:\[CALL_ID\]|\[ARGS\]|\{{))",
        bodies.named(rf"(?P<name>{_NAME})\s*(?:\[CALL_ID\][^\[{{]*)?(?:\[ARGS\])?\s*"),
        r"",
        "Mistral Small 3.2, Ministral 3, Devstral, Magistral",
        must_close=False,
    ),
    Format(
        "deepseek",
        r"(?:<｜tool▁calls▁begin｜>\s*)?<｜tool▁call▁begin｜>",
        bodies.named(
            r"(?:function<｜tool▁sep｜>)?(?P<name>[\w.\-]+)\s*(?:<｜tool▁sep｜>)?\s*(?:```(?:json)?\s*)?",
            r"\s*(?:```)?",
        ),
        r"<｜tool▁call▁end｜>(?:\s*<｜tool▁calls▁end｜>)?",
        "DeepSeek V3, R1, V3.1",
    ),
    Format("gemma", r"<\|tool_call>\s*call:", bodies.gemma_calls, r"<tool_call\|>", "Gemma 4"),
    Format(
        "phi",
        r"<\|tool_call\|>\s*(?=[\[{])",
        bodies.json_calls,
        r"<\|/tool_call\|>",
        "Phi 4 mini, Granite 3",
        must_close=False,
    ),
    Format("apertus", r"<\|tools_prefix\|>", bodies.keyed_calls, r"<\|tools_suffix\|>", "Apertus"),
    Format(
        "lfm2",
        r"<\|tool_call_start\|>\s*(?=\[?\s*[\w.]+\()",
        bodies.python_calls,
        r"<\|tool_call_end\|>",
        "LFM2, LFM2.5",
    ),
    Format("lfm2-json", r"<\|tool_call_start\|>\s*(?=\[?\s*\{)", bodies.json_calls, r"<\|tool_call_end\|>", "LFM2"),
    Format(
        "python-tag",
        r"<\|python_(?:tag|start)\|>\s*(?=\[?\s*\{)",
        bodies.json_calls,
        r"<\|python_end\|>",
        "Llama 3, Llama 4",
        must_close=False,
    ),
    Format(
        "python-tag-call",
        r"<\|python_(?:tag|start)\|>\s*(?=\[?\s*[\w.]+\()",
        bodies.python_calls,
        r"<\|python_end\|>",
        "Llama 3, Llama 4",
        must_close=False,
    ),
    Format("cohere", r"<\|START_ACTION\|>", bodies.json_calls, r"<\|END_ACTION\|>", "Command R7B, Command A"),
    Format(
        "kimi",
        r"(?:<\|tool_calls_section_begin\|>\s*)?<\|tool_call_begin\|>",
        bodies.named(r"\s*(?:functions\.)?(?P<name>[\w.\-]+)(?::\d+)?\s*<\|tool_call_argument_begin\|>\s*"),
        r"<\|tool_call_end\|>(?:\s*<\|tool_calls_section_end\|>)?",
        "Kimi K2",
    ),
    Format(
        "solar",
        r"(?:<\|tool_calls\|>\s*)?<\|tool_call:begin\|>",
        bodies.named(r"[^<]*<\|tool_call:name\|>(?P<name>[\w.\-]+)<\|tool_call:args\|>\s*"),
        r"<\|tool_call:end\|>",
        "Solar Open",
    ),
    Format(
        "gigachat",
        r"(?:<\|function_call\|>|<\|message_sep\|>\s*function call<\|role_sep\|>)\s*(?=\{)",
        bodies.json_calls,
        r"<\|message_sep\|>",
        "GigaChat 3",
        must_close=False,
    ),
)

#: Marks that begin a call; one outside parsed calls shows that a call could not be parsed.
BEGINS = re.compile(
    rf"<(?:{_HERMES}|seed:tool_call|tool_calls?{_GLM})>|<function=|<{_NS}invoke name=|<function name="
    r"|\[TOOL_CALLS\]|<｜tool▁calls?▁begin｜>|<\|tool_call(?:\||>|_start|_begin|:begin)|<\|python_(?:tag|start)\|>"
    r"|<\|tools_prefix\|>|<\|START_ACTION\|>|<\|function_call\|>|to=functions\."
)
#: Marks that end a call; one after a parsed call is ignored.
ENDS = re.compile(
    rf"</(?:{_HERMES}|seed:tool_call|tool_calls?{_GLM}|function|param|parameter|{_NS}(?:invoke|function_calls|tool_calls?))>"
    r"|\[/TOOL_CALLS\]|<｜tool▁calls?▁end｜>|<tool_call\|>|<\|/tool_call\|>|<\|tool_call(?:_end|:end)\|>"
    r"|<\|tool_calls(?:_section_end)?\|>|<\|tools_suffix\|>|<\|END_ACTION\|>|<\|python_end\|>"
)
#: Marks inside calls, and the marks of reasoning and answers.
_INSIDE = (
    r"\[ARGS\]|\[CALL_ID\]|\[/?THINK\]|<｜tool▁sep｜>|<\|tool_call(?:_argument_begin|:name|:args)\|>|<\|tool_call>"
    r"|<\|(?:channel|message|start|constrain|end|think|content|role_sep|message_sep|function_call)\|>"
    r"|<\|channel>|<channel\|>|<\|\"\|>|｜DSML｜|<\|(?:START|END)_(?:THINKING|RESPONSE|TEXT)\|>"
    r"|<\|inner_(?:prefix|suffix)\|>|</?(?:\w+:)?(?:think|thinking|reasoning|scratchpad)(?::\w+)?>|◁/?think▷"
    rf"|</?(?:arg_key|arg_value|tool_sep){_GLM}>|</?(?:param|parameter|invoke|function)\b[^>]*>?|<\|tool_calls_section_begin\|>"
    r"|<\|tool_call(?:\||_start\||_begin\||:begin\|)>"
)
_SPOKEN = re.compile(rf"(?:{BEGINS.pattern}|{ENDS.pattern}|{_INSIDE})")


def spoken(token: str) -> bool:
    """Whether a special token is part of a call or of reasoning, so that it must be kept in decoding."""
    return bool(_SPOKEN.fullmatch(token))
