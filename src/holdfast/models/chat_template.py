"""A tokenizer's chat template: renders conversations, and says how the model that it belongs to writes its turns.

    template = ChatTemplate(tokenizer)
    text = template.render(messages, tools, prompt=True)
    message = template.read(written, tools, prompt=text)

What a turn looks like is learned by rendering a few conversations of known words: the format of its calls, and the
tokens that end it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

from jinja2 import TemplateError

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models.chat_format import message_dicts, nine_ids, one_call_a_turn, tool_dicts
from holdfast.models.formats import open_mark, read_turn
from holdfast.models.formats.table import spoken
from holdfast.models.formats.values import argument_texts

#: What a template raises when it refuses a conversation, or fails on it.
REFUSALS = (TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
#: Ends of a turn in the chat templates of open models, used where the tokenizer has them.
_ENDS = (
    "<|end|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "</s>",
    "<|call|>",
    "<|return|>",
)
#: Signs of a prompt's end that are looked at for an open thought.
_TAIL = 400
_ASK, _AGAIN, _ANSWER, _THOUGHT, _RESULT = "quagga?", "okapi?", "ibex.", "gnu.", "tapir."
TOOLS = (
    ToolSpec(name="find_animal", description="Finds an animal.", parameters={"place": "where to look"}),
    ToolSpec(name="feed_animal", description="Feeds an animal.", parameters={"food": "what it gets"}),
)
_CALLS = (
    ToolCall(id="000000001", name="find_animal", arguments={"place": "heath"}),
    ToolCall(id="000000002", name="feed_animal", arguments={"food": "clover"}),
)
#: Formats that models of one family write beside the one of their template.
_KIN = {
    "json": ("python-tag", "python-tag-call", "function-json"),
    "mistral": ("mistral-args",),
    "mistral-args": ("mistral",),
}

Render = Callable[[Sequence[Message], Sequence[ToolSpec], bool], str]


class Tokenizer(Protocol):
    """What is asked of a tokenizer of transformers."""

    @property
    def all_special_tokens(self) -> list[str]:
        """Tokens that are no text."""
        ...

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """Id → added token, which says whether it is special."""
        ...

    def apply_chat_template(self, conversation: Any, **settings: Any) -> Any:
        """Render a conversation."""
        ...

    def get_added_vocab(self) -> dict[str, int]:
        """Tokens that are no pieces of words → their ids."""
        ...


def render(
    tokenizer: Tokenizer,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[dict[str, Any]] | None,
    prompt: bool = False,
) -> str:
    """A conversation as the chat template writes it; `prompt` adds the opening of an assistant's turn.

    A template that refuses our call ids is given such as Mistral's templates take.

    Raises:
        TemplateError and the others of REFUSALS: the template refuses the conversation all the same.
    """
    write = partial(
        tokenizer.apply_chat_template,
        tools=list(tools) if tools else None,
        tokenize=False,
        add_generation_prompt=prompt,
    )
    try:
        return str(write(list(messages)))
    except TemplateError:
        adapted = nine_ids(messages)
        if adapted == list(messages):
            raise
        return str(write(adapted))


class ChatTemplate:
    """The chat template of a tokenizer; see the module."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def render(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), prompt: bool = False) -> str:
        """A conversation as text.

        Raises:
            TemplateError and the others of REFUSALS: the template refuses it.
        """
        if any(len(message.tool_calls) > 1 for message in messages) and self.one_call:
            messages = one_call_a_turn(messages)
        return self._render(messages, tools, prompt)

    def _render(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), prompt: bool = False) -> str:
        return render(self.tokenizer, message_dicts(messages), tool_dicts(tools), prompt)

    @cached_property
    def one_call(self) -> bool:
        """Whether the template writes one call of a turn and no second: then each is told in a turn of its own."""
        ask = Message(role="user", content=_ASK)
        results = [Message(role="tool", content=_RESULT, tool_call_id=call.id) for call in _CALLS]
        told = [ask, Message(role="assistant", tool_calls=_CALLS), *results]
        for messages, wanted in ((told, False), (one_call_a_turn(told), True)):
            try:
                text = self._render(messages, TOOLS)
            except REFUSALS:
                text = ""
            if "heath" in text and "clover" in text:
                return wanted
        return False

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """The formats in which the template writes calls; none where it writes none, or one that we do not know."""
        for calls in (_CALLS, _CALLS[:1]):
            try:
                return read_turn(self._turn(calls), TOOLS).formats
            except REFUSALS:
                continue
        return ()

    def _turn(self, calls: Sequence[ToolCall]) -> str:
        ask = Message(role="user", content=_ASK)
        turn = Message(role="assistant", tool_calls=tuple(calls))
        text = turn_text(self._render([ask], TOOLS, True), self._render([ask, turn], TOOLS), _ASK)
        return self.spoken_text(text)

    def spoken_text(self, text: str) -> str:
        """What of a turn's text is told to a reader: up to its end, without the special tokens that say nothing."""
        known = self.tokenizer.get_added_vocab()
        for end in self.ends | {str(getattr(self.tokenizer, "eos_token", None))}:
            text = text.partition(end)[0] if end in known else text
        for token in self.silent:
            text = text.replace(token, "")
        return text

    @cached_property
    def silent(self) -> frozenset[str]:
        """The special tokens that are no part of what a turn says."""
        added = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        return frozenset(token for token in (*added, *self.tokenizer.all_special_tokens) if not spoken(token))

    @cached_property
    def ends(self) -> frozenset[str]:
        """The added tokens with which the template ends a turn, and those known to end turns elsewhere.

        A token that it also writes inside a turn, between a thought and what follows it or between two calls, is none.
        """
        known = self.tokenizer.get_added_vocab()
        # Special ones alone of those known elsewhere: in Gemma's vocabulary `</s>` is the HTML tag, and ends nothing.
        special = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        ask, again = Message(role="user", content=_ASK), Message(role="user", content=_AGAIN)
        answer, thought = Message(role="assistant", content=_ANSWER), {"reasoning": _THOUGHT}
        call = Message(role="assistant", tool_calls=_CALLS[:1])
        both = call.model_copy(update={"tool_calls": _CALLS})
        result = Message(role="tool", content=_RESULT, tool_call_id=_CALLS[0].id)
        found = special & set(_ENDS)
        for told, word in (([ask, answer], _ANSWER), ([ask, answer, again], _ANSWER), ([ask, call, result], "heath")):
            behind = self._between(told, word, _AGAIN if again in told else _RESULT if result in told else "")
            found |= _first(behind, known)
        inside: set[str] = set()
        for told, start, end in (
            ([ask, answer.model_copy(update=thought)], _THOUGHT, _ANSWER),
            ([ask, call.model_copy(update=thought)], _THOUGHT, "heath"),
            ([ask, both], "heath", "clover"),
        ):
            between = self._between(told, start, end)
            inside |= {token for token in known if token in between}
        return frozenset(token for token in found & known.keys() if token not in inside and not spoken_inside(token))

    @cached_property
    def earlier_end(self) -> str | None:
        """The added token behind an answer that a user message follows."""
        ask, again = Message(role="user", content=_ASK), Message(role="user", content=_AGAIN)
        told = [ask, Message(role="assistant", content=_ANSWER), again]
        return next(iter(_first(self._between(told, _ANSWER, _AGAIN), self.tokenizer.get_added_vocab())), None)

    @cached_property
    def role_ends(self) -> tuple[str, str] | None:
        """The tokens that start a user message and a tool result, if the template writes no other end of any turn."""
        known = self.tokenizer.get_added_vocab()
        ask, again = Message(role="user", content=_ASK), Message(role="user", content=_AGAIN)
        answer, call = Message(role="assistant", content=_ANSWER), Message(role="assistant", tool_calls=_CALLS[:1])
        result = Message(role="tool", content=_RESULT, tool_call_id=_CALLS[0].id)
        if self._between([ask, answer], _ANSWER, "").strip():
            return None
        user, assistant, tool = (
            self._between([ask, answer, again], _ANSWER, _AGAIN),
            self._between([ask, answer, again], _ASK, _ANSWER),
            self._between([ask, call, result], "heath", _RESULT),
        )
        starts = [next((t for t in known if text.startswith(t)), "") for text in (user, assistant)]
        behind = next(iter(_first(tool, known)), starts[0])
        # Where user messages have an end of their own, a turn without one is a fault of the template.
        own_end = self._between([ask], _ASK, "").strip()
        return (starts[0], behind) if all(starts) and not own_end else None

    def _between(self, messages: Sequence[Message], start: str, end: str) -> str:
        """What the template writes between two words; empty where it writes one of them not at all."""
        try:
            text = self._render(messages, TOOLS if any(m.tool_calls for m in messages) else ())
        except REFUSALS:
            return ""
        _, there, behind = text.rpartition(start)
        if not there:
            return ""
        return behind.partition(end)[0] if end and end in behind else behind if not end else ""

    def read(self, text: str, tools: Sequence[ToolSpec], prompt: str = "", cut: bool = False) -> Message:
        """One turn from its spoken text; never raises.

        Args:
            text: what the model wrote; see `spoken_text`.
            tools: what the request offers.
            prompt: the end of what it was asked, to see whether a thought was opened.
            cut: whether the turn was cut at its most tokens.
        """
        native = tuple(name for form in self.formats for name in (form, *_KIN.get(form, ())))
        message = read_turn(text, tools, native=native, opened=open_mark(prompt[-_TAIL:]), cut=cut).message
        schema = getattr(self.tokenizer, "response_template", None)
        if not schema or native or message.tool_calls or cut:
            return message
        return _by_schema(self.tokenizer, schema, text, prompt, tools) or message


def spoken_inside(token: str) -> bool:
    """Whether a token belongs to a call or a thought and so ends no turn; `<|end|>` may do both."""
    return spoken(token) and token != "<|end|>"


def _first(text: str, known: Mapping[str, int]) -> set[str]:
    """The added token that is the first to stand in a text, behind what belongs to a call."""
    at = [(text.find(token), -len(token), token) for token in known if token in text and not spoken_inside(token)]
    return {min(at)[2]} if at else set()


def turn_text(prompt: str, whole: str, said: str) -> str:
    """What a conversation adds to its prompt, where the template may write the prompt's end in another way.

    Args:
        prompt: rendered with the opening of a turn.
        whole: rendered with the turn.
        said: the last words before it.
    """
    before, after = prompt.rpartition(said)[2], whole.rpartition(said)[2]
    if after.startswith(before):
        return after[len(before) :]
    length = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    same = after[:length]
    # Back to where a mark begins.
    for opens, closes in (("<", ">"), ("[", "]")):
        if same.rfind(opens) > same.rfind(closes):
            same = same[: same.rfind(opens)]
    return after[len(same) :]


def _by_schema(tokenizer: Any, schema: Any, text: str, prompt: str, tools: Sequence[ToolSpec]) -> Message | None:
    """A turn as transformers reads it by the tokenizer's own response template; None where it holds no call."""
    try:
        told = tokenizer.parse_response(text, schema, prefix=prompt, tools=tool_dicts(tools))
        made = [call["function"] for call in told.get("tool_calls") or ()]
        calls = tuple(
            ToolCall(id=str(place), name=str(call["name"]), arguments=argument_texts(dict(call["arguments"])))
            for place, call in enumerate(made)
        )
    except Exception as error:  # whatever a response template of others raises
        return Message(
            role="assistant", content=text.strip(), unread=f"the tokenizer's response template fails: {error}"
        )
    if not calls:
        return None
    thought = told.get("reasoning_content") or told.get("thinking") or None
    return Message(
        role="assistant", content=str(told.get("content") or "").strip(), tool_calls=calls, reasoning=thought
    )
