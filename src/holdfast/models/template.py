"""Chat templates for models that come without one, or with one that tells of no tools.

`chatml_tools.jinja` and `gemma_tools.jinja` write tools, calls and results in the Hermes form (`<tools>`,
`<tool_call>`, `<tool_response>`), with the turn marks that the model's vocabulary has.  A model that has a template
keeps it for conversations without tools.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import TemplateError

_FOLDER = Path(__file__).parent / "templates"
#: token that opens a turn → the template written with it
_BY_MARK = {"<|im_start|>": "chatml_tools.jinja", "<start_of_turn>": "gemma_tools.jinja"}
_TOOL = {
    "type": "function",
    "function": {
        "name": "probe_tool",
        "description": "A probe.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}
_WITH_TOOLS = (
    "{%- if tools or messages | selectattr('tool_calls') | list "
    "or messages | selectattr('role', 'equalto', 'tool') | list %}"
)


def choose_template(tokenizer: Any) -> tuple[str | None, str]:
    """The chat template that a converted model gets, and in words whose it is.

    Args:
        tokenizer: a transformers tokenizer, with the template that it came with, if any.
    """
    own: str | None = tokenizer.chat_template
    if own and tells_of_tools(tokenizer):
        return own, "the model's own"
    vocabulary = tokenizer.get_vocab()
    mark = next((mark for mark in _BY_MARK if mark in vocabulary and (not own or mark in own)), None)
    if mark is None:
        said = "the model's own, which does not tell of tools" if own else "none: the file brings no chat template"
        return own, said
    ours = (_FOLDER / _BY_MARK[mark]).read_text(encoding="utf-8").strip()
    if own:
        both = f"{_WITH_TOOLS}{ours}{{% else %}}{own}{{% endif %}}"
        return both, "the model's own without tools; with tools one in the Hermes form was added, which it never saw"
    return ours, f"added: {_BY_MARK[mark].partition('_')[0]} turns, tools in the Hermes form; the file brings none"


def tells_of_tools(tokenizer: Any) -> bool:
    """Whether the tokenizer's chat template writes the tools that it is given."""
    try:
        text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tools=[_TOOL], tokenize=False)
    except (TemplateError, ValueError, TypeError):
        return False
    return "probe_tool" in str(text)
