"""A tokenizer's chat template: renders conversations and parses the turns of its model.

    template = ChatTemplate(tokenizer)
    text = template.render(messages, tools, prompt=True)
    message = template.read(completion, tools, prompt=text)

The format of tool calls and the tokens that end a turn are found by rendering a few conversations with known words.
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

#: Exceptions of a template that refuses a conversation or fails on it.
REFUSALS = (TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
#: Tokens that end a turn in the chat templates of open models, used if the tokenizer has them as special tokens.
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
#: Number of characters at the end of a prompt that are searched for the start of reasoning.
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
#: Template format → other formats that models of the same family also write.
_KIN = {
    "json": ("python-tag", "python-tag-call", "function-json"),
    "mistral": ("mistral-args",),
    "mistral-args": ("mistral",),
}

Render = Callable[[Sequence[Message], Sequence[ToolSpec], bool], str]


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that we use."""

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens."""
        ...

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """Id → added token."""
        ...

    def apply_chat_template(self, conversation: Any, **settings: Any) -> Any:
        """Render a conversation."""
        ...

    def get_added_vocab(self) -> dict[str, int]:
        """Added token → id."""
        ...


def render(
    tokenizer: Tokenizer,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[dict[str, Any]] | None,
    prompt: bool = False,
) -> str:
    """Render a conversation; `prompt` adds the start of an assistant turn.

    If the template refuses our call ids, it gets ids in the format of Mistral's templates.

    Raises:
        TemplateError and the others of REFUSALS: if the template still refuses the conversation.
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
    """The chat template of a tokenizer; see the module's docstring."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def render(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), prompt: bool = False) -> str:
        """Render a conversation as text.

        Raises:
            TemplateError and the others of REFUSALS: if the template refuses the conversation.
        """
        if any(len(message.tool_calls) > 1 for message in messages) and self.one_call:
            messages = one_call_a_turn(messages)
        return self._render(messages, tools, prompt)

    def _render(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), prompt: bool = False) -> str:
        return render(self.tokenizer, message_dicts(messages), tool_dicts(tools), prompt)

    @cached_property
    def one_call(self) -> bool:
        """Whether the template renders only one call per turn; then each call is rendered in a turn of its own."""
        ask = Message(role="user", content=_ASK)
        results = [Message(role="tool", content=_RESULT, tool_call_id=call.id) for call in _CALLS]
        both = [ask, Message(role="assistant", tool_calls=_CALLS), *results]
        for messages, is_one_call in ((both, False), (one_call_a_turn(both), True)):
            try:
                text = self._render(messages, TOOLS)
            except REFUSALS:
                text = ""
            if "heath" in text and "clover" in text:
                return is_one_call
        return False

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """The formats in which the template writes calls; empty if it writes none or an unknown format."""
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
        """Return a turn's text up to its end token, without special tokens that are not part of calls or reasoning."""
        known = self.tokenizer.get_added_vocab()
        for end in self.ends | {str(getattr(self.tokenizer, "eos_token", None))}:
            text = text.partition(end)[0] if end in known else text
        for token in self.silent:
            text = text.replace(token, "")
        return text

    @cached_property
    def silent(self) -> frozenset[str]:
        """The special tokens that are not part of calls or reasoning."""
        added = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        return frozenset(token for token in (*added, *self.tokenizer.all_special_tokens) if not spoken(token))

    @cached_property
    def ends(self) -> frozenset[str]:
        """The added tokens that end a turn: in this template, or in other templates of open models.

        A token that the template also writes inside a turn, after reasoning or between two calls, is not included.
        """
        known = self.tokenizer.get_added_vocab()
        # Of the tokens of other templates use only special ones: in Gemma's vocabulary `</s>` is just the HTML tag.
        special = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        ask, again = Message(role="user", content=_ASK), Message(role="user", content=_AGAIN)
        answer, thought = Message(role="assistant", content=_ANSWER), {"reasoning": _THOUGHT}
        call = Message(role="assistant", tool_calls=_CALLS[:1])
        both = call.model_copy(update={"tool_calls": _CALLS})
        result = Message(role="tool", content=_RESULT, tool_call_id=_CALLS[0].id)
        ends = special & set(_ENDS)
        for turns, word in (([ask, answer], _ANSWER), ([ask, answer, again], _ANSWER), ([ask, call, result], "heath")):
            behind = self._between(turns, word, _AGAIN if again in turns else _RESULT if result in turns else "")
            ends |= _first(behind, known)
        inside: set[str] = set()
        for turns, start, end in (
            ([ask, answer.model_copy(update=thought)], _THOUGHT, _ANSWER),
            ([ask, call.model_copy(update=thought)], _THOUGHT, "heath"),
            ([ask, both], "heath", "clover"),
        ):
            between = self._between(turns, start, end)
            inside |= {token for token in known if token in between}
        ends = {token for token in ends & known.keys() if token not in inside and not spoken_inside(token)}
        # Without an end token before the result of a call, the last token of the call ends the turn.
        behind = self._between([ask, call, result], "heath", _RESULT)
        last = [token for token in known if token in behind and token not in inside]
        if last and not any(token in behind for token in ends):
            ends.add(max(last, key=behind.rfind))
        return frozenset(ends)

    @cached_property
    def missing_end(self) -> str:
        """The token that ends an answer only if a user message follows; empty if it always does, or there is none."""
        ask, answer = Message(role="user", content=_ASK), Message(role="assistant", content=_ANSWER)
        if self._between([ask, answer], _ANSWER, "").strip():
            return ""
        try:
            before = self._render([ask]).rpartition(_ASK)[0]
        except REFUSALS:
            return ""
        # A token that also stands before a first user message begins the message and does not end the answer.
        return self.earlier_end if self.earlier_end and self.earlier_end not in before else ""

    @cached_property
    def earlier_end(self) -> str | None:
        """The added token after an answer that is followed by a user message."""
        ask, again = Message(role="user", content=_ASK), Message(role="user", content=_AGAIN)
        turns = [ask, Message(role="assistant", content=_ANSWER), again]
        return next(iter(_first(self._between(turns, _ANSWER, _AGAIN), self.tokenizer.get_added_vocab())), None)

    @cached_property
    def role_ends(self) -> tuple[str, str] | None:
        """The tokens that start a user message and a tool result, if the template writes no end token."""
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
        # If user messages have an end token, an assistant turn without one is a fault of the template.
        own_end = self._between([ask], _ASK, "").strip()
        return (starts[0], behind) if all(starts) and not own_end else None

    def _between(self, messages: Sequence[Message], start: str, end: str) -> str:
        """Return what the template writes between two words; empty if one of them is missing."""
        try:
            text = self._render(messages, TOOLS if any(m.tool_calls for m in messages) else ())
        except REFUSALS:
            return ""
        _, there, behind = text.rpartition(start)
        if not there:
            return ""
        return behind.partition(end)[0] if end and end in behind else behind if not end else ""

    def read(self, text: str, tools: Sequence[ToolSpec], prompt: str = "", cut: bool = False) -> Message:
        """Parse one turn; never raises.

        Args:
            text: the completion; see `spoken_text`.
            tools: the tools of the request.
            prompt: the end of the prompt, which may start the reasoning.
            cut: whether the completion was truncated at its maximum number of tokens.
        """
        native = tuple(name for form in self.formats for name in (form, *_KIN.get(form, ())))
        message = read_turn(text, tools, native=native, opened=open_mark(prompt[-_TAIL:]), cut=cut).message
        schema = getattr(self.tokenizer, "response_template", None)
        if not schema or native or message.tool_calls or cut:
            return message
        return _by_schema(self.tokenizer, schema, text, prompt, tools) or message


def spoken_inside(token: str) -> bool:
    """Whether a token is part of a call or of reasoning and so ends no turn; `<|end|>` may do both."""
    return spoken(token) and token != "<|end|>"


def _first(text: str, known: Mapping[str, int]) -> set[str]:
    """Return the first added token in a text that is not part of a call, as a set."""
    at = [(text.find(token), -len(token), token) for token in known if token in text and not spoken_inside(token)]
    return {min(at)[2]} if at else set()


def turn_text(prompt: str, whole: str, last: str) -> str:
    """Return the text of the last turn; the template may render the end of the prompt differently before it.

    Args:
        prompt: the conversation before the turn, rendered with the start of an assistant turn.
        whole: the conversation with the turn, rendered.
        last: the last words before the turn.
    """
    before, after = prompt.rpartition(last)[2], whole.rpartition(last)[2]
    if after.startswith(before):
        return after[len(before) :]
    length = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    same = after[:length]
    # If the difference is inside a mark, go back to where the mark begins.
    for opens, closes in (("<", ">"), ("[", "]")):
        if same.rfind(opens) > same.rfind(closes):
            same = same[: same.rfind(opens)]
    return after[len(same) :]


def _by_schema(tokenizer: Any, schema: Any, text: str, prompt: str, tools: Sequence[ToolSpec]) -> Message | None:
    """Parse a turn with the tokenizer's own response template; None if it contains no call."""
    try:
        parsed = tokenizer.parse_response(text, schema, prefix=prompt, tools=tool_dicts(tools))
        functions = [call["function"] for call in parsed.get("tool_calls") or ()]
        calls = tuple(
            ToolCall(id=str(place), name=str(call["name"]), arguments=argument_texts(dict(call["arguments"])))
            for place, call in enumerate(functions)
        )
    except Exception as error:  # a third-party response template may raise anything
        return Message(
            role="assistant", content=text.strip(), unread=f"the tokenizer's response template fails: {error}"
        )
    if not calls:
        return None
    thought = parsed.get("reasoning_content") or parsed.get("thinking") or None
    return Message(
        role="assistant", content=str(parsed.get("content") or "").strip(), tool_calls=calls, reasoning=thought
    )
