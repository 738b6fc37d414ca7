"""Tokenise examples into rows and mark the supervised tokens.

A token of a chat is supervised if the model must generate it at inference: from the end of the generation prompt to the
end-of-turn token. Both ends are found by rendering the conversation up to each turn, so any chat template works, with
or without `{% generation %}` markers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from holdfast.core.errors import InputError, MaskError
from holdfast.core.records import Example, Message
from holdfast.models.chat_format import message_dicts, one_call_a_turn, tool_dicts
from holdfast.models.chat_template import REFUSALS, ChatTemplate, turn_text
from holdfast.models.chat_template import render as render_chat
from holdfast.train.config import TrainConfig

#: The think block that a template writes for a turn without reasoning. Supervising it would teach not to reason.
EMPTY_THINK = re.compile(r"\s*<think>\s*</think>\s*")
_THINK_END = re.compile(r"\s*(?:<think>\s*)?</think>\s*")
#: The think block, open or closed, that a generation prompt ends with.
_PROMPT_THINK = re.compile(r"(?P<block>(?:</?think>\s*)+)\Z")
_DOC = "<|doc|>"
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One sequence to train on.

    Attributes:
        ids: token ids, shape (length,).
        supervised: whether each token counts in the loss, shape (length,); False for the first, which has no context.
        example: id of the source example.
    """

    ids: NDArray[np.int32]
    supervised: NDArray[np.bool_]
    example: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def fully_supervised(self) -> bool:
        """Whether every token except the first is supervised."""
        return bool(self.supervised[1:].all())


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a row before tokenisation, with the supervised spans as character ranges."""

    text: str
    spans: tuple[tuple[int, int], ...]
    example: str


def make_rows(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, config: TrainConfig | None = None
) -> list[TrainingRow]:
    """Tokenise examples and mark the supervised tokens; usually one row per example, in order.

    If the template renders a turn differently once later turns follow (many drop earlier reasoning), or begins it
    differently from its generation prompt, a chat becomes one row per assistant turn, so that each turn has the context
    that it has at inference: the prompt as the template renders it.  Parallel calls become one call per turn where the
    template renders no more, as at inference.

    Raises:
        InputError: there are no examples, or one is empty or longer than `config.max_length`.
        MaskError: the assistant turns cannot be located in the rendered text.
    """
    config = config or TrainConfig()
    if not examples:
        raise InputError("no examples to train on", remedy="check the recipe's output")
    texts = (text for example in examples for text in _render_located(example, tokenizer, config))
    rows: list[TrainingRow] = []
    while chunk := list(islice(texts, _CHUNK)):
        rows += _tokenise(chunk, tokenizer, config)
    return rows


def _render_located(example: Example, tokenizer: PreTrainedTokenizerBase, config: TrainConfig) -> list[Rendered]:
    """Render an example; add its id to errors without a location."""
    try:
        return list(render_example(example, tokenizer, config))
    except MaskError as error:
        raise MaskError(error.what, where=error.where or example.id, remedy=error.remedy) from None


def render_example(example: Example, tokenizer: PreTrainedTokenizerBase, config: TrainConfig) -> Iterator[Rendered]:
    """Yield the text or texts of one example with their supervised spans.

    Raises:
        InputError: the example has no text.
        MaskError: the assistant turns cannot be located in the rendered text.
    """
    if example.kind == "document":
        if not example.text.strip():
            raise InputError("the document is empty", where=example.id, remedy="remove it")
        head, end = document_delimiters(tokenizer)
        messages, tools = message_dicts(example.messages, config.keep_reasoning), tool_dicts(example.tools)
        conversation = apply_template(tokenizer, messages, tools) if example.messages else ""
        text = head + conversation.removeprefix(head) + example.text + end
        yield Rendered(text, ((0, len(text)),), example.id)
        return
    for chat in _render_chat(example, tokenizer, config):
        yield replace(chat, spans=((0, len(chat.text)),)) if config.stage == "midtrain" else chat


def document_delimiters(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """Return the tokens put before and after a document; empty if the tokenizer has none."""
    head = _DOC if _DOC in tokenizer.get_added_vocab() else str(tokenizer.bos_token or "")
    return head, str(tokenizer.eos_token or "")


def apply_template(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[dict[str, Any]] | None,
    prompt: bool = False,
) -> str:
    """Render the conversation as text; `prompt` adds the generation prompt of an assistant turn.

    Raises:
        MaskError: the tokenizer has no template, or the template raises an error.
    """
    try:
        return render_chat(tokenizer, messages, tools, prompt)
    except REFUSALS as error:
        reason = str(error).splitlines()[0]
        raise MaskError(f"the chat template fails: {reason}", remedy="correct the template or the example") from None


def _render_chat(example: Example, tokenizer: PreTrainedTokenizerBase, config: TrainConfig) -> list[Rendered]:
    shown = renderable(example.messages, tokenizer)
    turns = [place for place, message in enumerate(shown) if message.role == "assistant"]
    if not turns:
        raise MaskError("the chat has no assistant turn to supervise", where=example.id, remedy="remove the example")
    messages, tools = message_dicts(shown, config.keep_reasoning), tool_dicts(example.tools)
    learned = _learned(tokenizer, str(tokenizer.chat_template))
    ends = learned.ends
    texts = {turn: apply_template(tokenizer, messages[: turn + 1], tools) for turn in turns}
    # A template whose roles end each other writes no end behind the last turn; the model must still write one.
    texts = {turn: text + ends.closer(text, messages[turn]) for turn, text in texts.items()}
    whole = texts.get(len(messages) - 1) or apply_template(tokenizer, messages, tools)
    spans: list[tuple[int, int]] = []
    per_turn: list[Rendered] = []
    stable = True
    for turn in turns:
        head, text = apply_template(tokenizer, messages[:turn], tools, prompt=True), texts[turn]
        reasoned = bool(messages[turn].get("reasoning_content"))
        start = _turn_start(text, head, reasoned)
        if start is None or learned.opens_again(text, start):
            block = _PROMPT_THINK.search(head)
            if reasoned and block and "</think>" in block["block"]:
                what = f"the generation prompt closes its think block, so turn {turn} cannot have reasoning"
                raise MaskError(what, where=example.id, remedy="set keep_reasoning = false, or use another template")
            last = str(messages[turn - 1]["content"]) if turn else ""
            written = learned.written(head, text, last)
            text, stable = head + written, False
            start = _turn_start(text, head, reasoned) if written else None
        if start is None:
            what = f"the template does not open turn {turn} with its generation prompt"
            remedy = "use a template whose assistant turns start with the generation prompt"
            raise MaskError(what, where=example.id, remedy=remedy)
        span = (start, ends.after(text, start))
        spans.append(span)
        per_turn.append(Rendered(text, (span,), example.id))
        stable = stable and whole.startswith(text[: span[1]]) and whole.startswith(text[:start])
    return [Rendered(whole, tuple(spans), example.id)] if stable else per_turn


def _turn_start(text: str, head: str, reasoned: bool) -> int | None:
    """Return where the model starts to write a turn; None if the turn does not follow from the prompt.

    An empty think block at the start of a turn is not the model's to write, also if the prompt opened it.

    Args:
        text: the conversation up to and including the turn.
        head: the conversation before the turn, with the generation prompt.
        reasoned: whether the turn has reasoning.
    """
    block = _PROMPT_THINK.search(head)
    opened = block is not None and "</think>" not in block["block"]
    if text.startswith(head):
        start = len(head)
    elif block and text.startswith(head[: block.start("block")]) and (opened or not reasoned):
        # Some templates write the think block of a turn differently from the prompt, or leave it out.
        start, opened = block.start("block"), True
    else:
        return None
    empty = (_THINK_END if opened else EMPTY_THINK).match(text, start)
    return empty.end() if empty and not reasoned else start


@dataclass(frozen=True, slots=True)
class _EndTokens:
    """The tokens that end an assistant turn.

    Attributes:
        ends: the end tokens that the template writes.
        added: all added tokens of the tokenizer.
        roles: where roles end each other: the token that starts a user message, and the one that starts a tool result.
        missing: the token that ends an answer only if a message follows; empty if it always does.
    """

    ends: frozenset[str]
    added: tuple[str, ...]
    roles: tuple[str, str] | None
    missing: str = ""

    def closer(self, text: str, message: dict[str, Any]) -> str:
        """Return the token that ends a turn, if the template does not write it."""
        if self.missing:
            return "" if text.rstrip().endswith(tuple(self.ends)) else self.missing
        if self.roles is None or text.rstrip().endswith(self.roles):
            return ""
        return self.roles[1] if message.get("tool_calls") else self.roles[0]

    def after(self, text: str, start: int) -> int:
        """Return the position behind the first end token of the added tokens that a text ends with."""
        at, found = len(text.rstrip()), []
        while token := next((t for t in self.added if at - len(t) >= start and text.endswith(t, start, at)), None):
            found.append((token, at))
            at = start + len(text[start : at - len(token)].rstrip())
        return next((end for token, end in reversed(found) if token in self.ends), len(text.rstrip()))


@dataclass(frozen=True, slots=True)
class _Learned:
    """What probe conversations show of a template.

    Attributes:
        ends: the tokens that end an assistant turn.
        opening: what the generation prompt adds to a conversation, without a think block; None if an answer does not
            begin with it even after a single question, so that the template contradicts itself.
    """

    ends: _EndTokens
    opening: str | None

    def opens_again(self, text: str, start: int) -> bool:
        """Whether a turn begins with the opening that its prompt lacks; the model is not prompted to write that."""
        return text.startswith(self.opening, start) if self.opening else False

    def written(self, head: str, text: str, last: str) -> str:
        """Return what the model writes behind a prompt, from a conversation in which the turn has another beginning.

        Args:
            head: the conversation before the turn, with the generation prompt.
            text: the conversation up to and including the turn.
            last: the content of the last message before the turn; if it is empty, the turn cannot be located.
        """
        if not last or self.opening is None:
            return ""
        behind = text.rpartition(last)[2]
        _, opened, turn = behind.partition(self.opening) if self.opening else ("", "", "")
        return turn if opened else turn_text(head, text, last)


@lru_cache(maxsize=8)
def _learned(tokenizer: PreTrainedTokenizerBase, template: str) -> _Learned:
    chat = ChatTemplate(tokenizer)
    added = tuple(sorted(tokenizer.get_added_vocab(), key=len, reverse=True))
    ends = _EndTokens(chat.ends | {str(tokenizer.eos_token)}, added, chat.role_ends, chat.missing_end)
    ask = [{"role": "user", "content": "?"}]
    try:
        closed, opened = (render_chat(tokenizer, ask, None, prompt) for prompt in (False, True))
        answered = render_chat(tokenizer, [*ask, {"role": "assistant", "content": "!"}], None)
    except REFUSALS:
        return _Learned(ends, None)
    opening = _PROMPT_THINK.sub("", opened[len(closed) :]) if opened.startswith(closed) else ""
    return _Learned(ends, opening if opening.strip() in answered.rpartition("?")[2] else None)


def renderable(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> Sequence[Message]:
    """Return the messages as the template can render them: one call per turn if it renders no more, as at inference."""
    parallel = any(len(message.tool_calls) > 1 for message in messages)
    return one_call_a_turn(messages) if parallel and ChatTemplate(tokenizer).one_call else messages


def _tokenise(chunk: Sequence[Rendered], tokenizer: PreTrainedTokenizerBase, config: TrainConfig) -> list[TrainingRow]:
    encoded = tokenizer([text.text for text in chunk], add_special_tokens=False)
    rows = []
    for place, text in enumerate(chunk):
        ids = np.asarray(encoded["input_ids"][place], dtype=np.int32)
        if len(ids) > config.max_length:
            what = f"the example has {len(ids)} tokens, more than max_length = {config.max_length}"
            raise InputError(what, where=text.example, remedy="raise max_length or shorten the example")
        supervised = np.zeros(len(ids), dtype=np.bool_)
        for start, end in text.spans:
            first, final = encoded.char_to_token(place, start), encoded.char_to_token(place, end - 1)
            if end <= start or first is None or final is None:
                what = "an assistant turn has no tokens"
                raise MaskError(what, where=text.example, remedy="remove the example or correct the template")
            if encoded.token_to_chars(place, first).start < start or encoded.token_to_chars(place, final).end > end:
                quoted = text.text[max(0, start - 12) : start + 12]
                what = f"a token crosses the boundary of an assistant turn at {quoted!r}"
                raise MaskError(what, where=text.example, remedy="remove white space at the start and end of the turn")
            supervised[first : final + 1] = True
        supervised[0] = False
        rows.append(TrainingRow(ids, supervised, text.example))
    return rows
