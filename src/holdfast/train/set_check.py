"""Name the set of a training example in errors, because users know the names of their sets, not the ids of examples.

refuse_unseen_calls(examples, tokenizer)
with naming_sets(examples, tokenizer):
    rows = make_rows(examples, tokenizer, config)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transformers import PreTrainedTokenizerBase

from holdfast.core.errors import InputError, MaskError
from holdfast.core.records import Example, Message, ToolCall, ToolSpec
from holdfast.models.chat_format import message_dicts, tool_dicts
from holdfast.models.chat_template import REFUSALS, ChatTemplate, render
from holdfast.models.probe import probe

_TOOL = ToolSpec(name="holdfastprobe", description="Looks something up.", parameters={"what": "the name"})


def refuse_unseen_calls(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> None:
    """Reject sets with tool calls if the checkpoint's chat template does not render tool calls.

    Raises:
        MaskError: the template renders no tool call; the error names the sets and one example.
    """
    calling = [example for example in examples if any(message.tool_calls for message in example.messages)]
    # A tokenizer without a chat template is rejected later, with its own error.
    if not calling or not tokenizer.chat_template or _shows_calls(tokenizer):
        return
    named = sorted({example.provenance.recipe for example in calling})
    hold = "hold" if named[1:] else "holds"
    what = f"the checkpoint's chat template shows no tool calls, and {_sets(named)} {hold} them"
    remedy = f"leave {_sets(named)} out, or start from a checkpoint whose chat template shows tool calls"
    raise MaskError(what, where=calling[0].id, remedy=remedy)


@contextmanager
def naming_sets(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Context manager that adds to errors about one of `examples` its set, and what the chat template drops.

    Raises:
        InputError: an error raised inside the block, with the same class.
    """
    try:
        yield
    except InputError as error:
        example = next((example for example in examples if example.id == error.where), None)
        if example is None:
            raise
        named, drops = example.provenance.recipe, ""
        if isinstance(error, MaskError) and example.kind == "chat" and tokenizer.chat_template:
            drops = _dropped(example, tokenizer)
        remedy = f"{error.remedy}; or leave the set '{named}' out"
        raise type(error)(f"set '{named}': {error.what}{drops}", where=error.where, remedy=remedy) from None


def _dropped(example: Example, tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template drops of conversations like this one, for the end of an error; empty if nothing is known."""
    system, tools = example.messages[0].role == "system", any(message.tool_calls for message in example.messages)
    faults = probe(ChatTemplate(tokenizer), system=system, tools=tools)
    return f" (the chat template drops {'; '.join(dict.fromkeys(fault.what for fault in faults))})" if faults else ""


def _sets(names: Sequence[str]) -> str:
    return f"the {'sets' if names[1:] else 'set'} {', '.join(repr(name) for name in names)}"


def _shows_calls(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template renders the name and the argument of a tool call in the middle of a conversation."""
    call = ToolCall(id="0", name=_TOOL.name, arguments={"what": "holdfastvalue"})
    messages = [
        Message(role="user", content="Who is it?"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="Ann.", tool_call_id="0"),
        Message(role="assistant", content="Ann."),
    ]
    try:
        # Rendered without the tool's definition, so that a match comes from the call and not from the definition.
        text = render(tokenizer, message_dicts(messages), None)
    except REFUSALS:
        try:
            text = render(tokenizer, message_dicts(messages), tool_dicts([_TOOL]))
        except REFUSALS:
            return False
    return "holdfastvalue" in text and _TOOL.name in text
