"""Chat templates for models without one, or with one that does not render tools.

`chatml_tools.jinja` and `gemma_tools.jinja` write tools, calls and results in the Hermes form (`<tools>`,
`<tool_call>`, `<tool_response>`), with the turn tokens of the model's vocabulary.  If a model has a template, it is
kept for conversations without tools.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import TemplateError

_FOLDER = Path(__file__).parent / "templates"
#: Token that starts a turn → template that uses it.
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
    """Choose the chat template of a converted model; returns the template and a description of its origin.

    Args:
        tokenizer: a transformers tokenizer, with its own template if it has one.
    """
    own: str | None = tokenizer.chat_template
    if own and renders_tools(tokenizer):
        return own, "the model's own"
    vocabulary = tokenizer.get_vocab()
    mark = next((mark for mark in _BY_MARK if mark in vocabulary and (not own or mark in own)), None)
    if mark is None:
        origin = "the model's own, which does not render tools" if own else "none: the file has no chat template"
        return own, origin
    ours = (_FOLDER / _BY_MARK[mark]).read_text(encoding="utf-8").strip()
    if own:
        both = f"{_WITH_TOOLS}{ours}{{% else %}}{own}{{% endif %}}"
        origin = "the model's own without tools; for tools one in the Hermes form was added (not trained on)"
        return both, origin
    kind = _BY_MARK[mark].partition("_")[0]
    return ours, f"added: {kind} turns, tools in the Hermes form; the file has no chat template"


def renders_tools(tokenizer: Any) -> bool:
    """Whether the tokenizer's chat template renders tools."""
    try:
        text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tools=[_TOOL], tokenize=False)
    except (TemplateError, ValueError, TypeError):
        return False
    return "probe_tool" in str(text)
