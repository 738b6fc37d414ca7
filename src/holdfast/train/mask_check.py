"""Check the loss mask: a second parser derives the tokens to supervise, and any difference raises an error.

A wrong mask does not show in the loss curve. This module therefore finds the turns by itself: it learns from probe
conversations how the template opens an assistant turn, finds the delimiters among the token ids, and compares the
decoded turns with the example: text, tool calls, reasoning and end token. It shares one thing with `rows`: which tokens
end a turn, as `models.chat_template` learns it from the template. An error there would pass both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any

from transformers import PreTrainedTokenizerBase

from holdfast.core.errors import MaskError
from holdfast.core.records import Example, Message
from holdfast.models.chat_template import REFUSALS, ChatTemplate, render
from holdfast.train.config import TrainConfig
from holdfast.train.rows import TrainingRow, renderable

_PROBE = "zebra"
#: Conversations before an answer: a question, or a tool result.
_PROBES: tuple[list[dict[str, Any]], ...] = (
    [{"role": "user", "content": "?"}],
    [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"type": "function", "id": "000000000", "function": {"name": "look", "arguments": {"at": "it"}}}
            ],
        },
        {"role": "tool", "content": "!", "tool_call_id": "000000000"},
    ],
)
_EMPTY_THINK = re.compile(r"\s*<think>\s*</think>\s*")
_THINK_END = re.compile(r"\s*</think>\s*")
#: The think block, open or closed, that a generation prompt ends with.
_PROMPT_THINK = re.compile(r"(?:</?think>\s*)+\Z")
_REMEDY = "correct the template or the example; do not train on this"


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The token ids around assistant turns.

    Attributes:
        openings: id sequences that open a turn.
        weak: id sequences after which a turn may follow, such as the end of a tool result; the last one before the
            turn opens it.
        closings: ids that close a turn.
        inner: those of them that also stand inside a turn, right before another opening.
        think: the think block that the generation prompt opens and leaves open; empty if it opens none.
        thought: whether the generation prompt ends with a think block that is closed.
    """

    openings: tuple[tuple[int, ...], ...]
    weak: tuple[tuple[int, ...], ...]
    closings: frozenset[int]
    inner: frozenset[int]
    think: str = ""
    thought: bool = False


@dataclass(frozen=True, slots=True)
class Census:
    """Counts of checked data: rows, tokens, supervised tokens, assistant turns, tool calls, turns with reasoning."""

    rows: int
    tokens: int
    supervised: int
    turns: int
    calls: int
    reasoned: int


def check_masks(
    examples: Sequence[Example], rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, config: TrainConfig
) -> Census:
    """Compare the supervised tokens of `rows` with those derived from the examples.

    Args:
        examples: training examples, in order.
        rows: rows made from them, in the same order.
        tokenizer: tokenizer that made the rows.
        config: stage and reasoning policy.

    Returns:
        Counts of the checked data.

    Raises:
        MaskError: at the first difference; the error gives the example and the tokens.
    """
    groups = [(name, list(group)) for name, group in groupby(rows, key=lambda row: row.example)]
    if [name for name, _ in groups] != [example.id for example in examples]:
        raise MaskError("rows and examples do not match one to one", remedy="give each example a unique id")
    delimiters = None
    for example, (_, group) in zip(examples, groups, strict=True):
        if example.kind == "document":
            _check_document(example, group, tokenizer)
            continue
        delimiters = delimiters or find_delimiters(tokenizer)
        _Chat(example, tokenizer, delimiters, config).check(group)
    turns = [m for e in examples if e.kind == "chat" for m in e.messages if m.role == "assistant"]
    return Census(
        rows=len(rows),
        tokens=sum(len(row) for row in rows),
        supervised=sum(int(row.supervised.sum()) for row in rows),
        turns=len(turns),
        calls=sum(len(message.tool_calls) for message in turns),
        reasoned=sum(bool(message.reasoning) for message in turns) if config.keep_reasoning else 0,
    )


def find_delimiters(tokenizer: PreTrainedTokenizerBase) -> Delimiters:
    """Find the tokens that open and close an assistant turn, from probe conversations.

    Raises:
        MaskError: the template has no opening tokens, or no end token that closes a turn.
    """
    ask = [{"role": "user", "content": "?"}]
    answer = [*ask, {"role": "assistant", "content": _PROBE}]
    closed = str(tokenizer.apply_chat_template(ask, tokenize=False))
    opened = str(tokenizer.apply_chat_template(ask, tokenize=False, add_generation_prompt=True))
    answered = str(tokenizer.apply_chat_template(answer, tokenize=False))
    # Some templates close a conversation that has no generation prompt, for example with another end token.
    opening = opened[len(closed) :] if opened.startswith(closed) else _opening_by_role(opened, answered)
    _, shown, closing = answered.rpartition(_PROBE)
    if not shown:
        what = "the chat template does not render an answer unchanged"
        raise MaskError(what, remedy="use a template that does")
    closings, inner = _closings(tokenizer, closing.strip())
    think = _PROMPT_THINK.search(opening)
    opening, block = (opening[: think.start()], think[0]) if think else (opening, "")
    thought, block = "</think>" in block, "" if "</think>" in block else block
    weak = {ids for probe in _PROBES for ids in _openings_after(tokenizer, probe, opening) if ids}
    if not opening and not weak:
        what = "the chat template has neither a generation prompt nor an added token before an answer"
        raise MaskError(what, remedy="use a template with one")
    strong = (tuple(_ids(tokenizer, opening)),) if opening else ()
    return Delimiters(strong, tuple(sorted(weak)), closings, inner, block, thought)


def _opening_by_role(opened: str, answered: str) -> str:
    """Return the text that a prompt and an answered conversation share after the question."""
    before, after = opened.rpartition("?")[2], answered.rpartition("?")[2].partition(_PROBE)[0]
    return before if after.startswith(_PROMPT_THINK.sub("", before)) else ""


def _closings(tokenizer: PreTrainedTokenizerBase, closing: str) -> tuple[frozenset[int], frozenset[int]]:
    """Return the ids of the end tokens, and of those that also stand inside a turn.

    Args:
        tokenizer: with the chat template.
        closing: what the template writes behind the last answer.

    Raises:
        MaskError: it writes no end token there, and roles do not end each other either.
    """
    known, template = tokenizer.get_added_vocab(), ChatTemplate(tokenizer)
    ends = {*template.ends, str(tokenizer.eos_token)} & known.keys()
    rest = closing
    while rest and (token := next((t for t in known if rest.startswith(t)), None)):
        if token in ends:
            break
        rest = rest[len(token) :].lstrip()
    none = not closing and (template.role_ends or template.missing_end)
    if not none and not any(rest.startswith(token) for token in ends):
        what = f"an assistant turn ends in {closing!r}, which is not an end token"
        raise MaskError(what, remedy="use a template with one")
    if template.role_ends:
        ends |= set(template.role_ends)
    earlier = template.earlier_end
    inner = {earlier} - ends if earlier else set()
    return frozenset(known[token] for token in ends | inner), frozenset(known[token] for token in inner)


def _openings_after(
    tokenizer: PreTrainedTokenizerBase, probe: Sequence[dict[str, Any]], opening: str
) -> Iterator[tuple[int, ...]]:
    """Yield the tokens right before an answer where the template does not write its opening there.

    These are added tokens; without any, the text between the content of the last message and the answer.  They are
    taken from a rendered answer and from a generation prompt, because some templates render the two differently.
    """
    content = str(probe[-1]["content"])
    other = [*probe[:-1], {**probe[-1], "content": f"{_PROBE} {content}."}]
    added = set(tokenizer.get_added_vocab().values())
    for answered in (True, False):
        texts = []
        for messages in (probe, other):
            whole = [*messages, {"role": "assistant", "content": _PROBE}] if answered else messages
            try:
                text = render(tokenizer, whole, None, prompt=not answered)
            except REFUSALS:  # the template does not support tools
                return
            texts.append(_PROMPT_THINK.sub("", text.rpartition(_PROBE)[0].rstrip() if answered else text))
        text = texts[0].rstrip()
        if opening and opening.rstrip() in text.rpartition(content)[2]:
            continue
        last = list(takewhile(lambda token: token in added, reversed(_ids(tokenizer, text))))
        if last:
            yield tuple(reversed(last[:1] if opening else last))
        elif opening and content in text:
            one, two = (_ids(tokenizer, text)[::-1] for text in texts)
            same = list(takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
            yield tuple(token for token, _ in reversed(same))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _check_document(example: Example, rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase) -> None:
    if len(rows) != 1:
        raise MaskError(f"one document became {len(rows)} rows", where=example.id, remedy=_REMEDY)
    row = rows[0]
    row_text = _squeeze(_decode(tokenizer, row.ids.tolist()))
    parts = [
        part for m in example.messages for part in (m.content, *(v for c in m.tool_calls for v in c.arguments.values()))
    ]
    if any(_squeeze(text) not in row_text for text in (example.text, *parts)):
        raise MaskError("the row does not contain the document's text", where=example.id, remedy=_REMEDY)
    if tokenizer.eos_token_id is not None and row.ids[-1] != tokenizer.eos_token_id:
        raise MaskError("the document does not end with the end token", where=example.id, remedy=_REMEDY)
    encoded = tokenizer([example.text, *parts], add_special_tokens=False)["input_ids"]
    forged = {token for ids in encoded for token in ids} & set(tokenizer.all_special_ids)
    if forged or (not parts and set(row.ids[1:-1].tolist()) & set(tokenizer.all_special_ids)):
        what = f"the document's text contains the special token {tokenizer.decode(sorted(forged)[:1])!r}"
        raise MaskError(what, where=example.id, remedy="remove it from the text")
    _compare(example, row, set(range(1, len(row))), tokenizer)


@dataclass(frozen=True, slots=True)
class _Chat:
    """Checks the rows of one chat."""

    example: Example
    tokenizer: PreTrainedTokenizerBase
    delimiters: Delimiters
    config: TrainConfig

    def check(self, rows: Sequence[TrainingRow]) -> None:
        """Check that one row supervises all turns, or that each of several rows supervises its last turn."""
        messages = renderable(self.example.messages, self.tokenizer)
        turns = [at for at, message in enumerate(messages) if message.role == "assistant"]
        if not turns:
            raise self._fault("it has no assistant turn")
        if len(rows) not in (1, len(turns)):
            raise self._fault(f"{len(turns)} assistant turns became {len(rows)} rows")
        if len(rows) == 1:
            self._check_row(rows[0], messages, turns)
            return
        for row, turn in zip(rows, turns, strict=True):
            self._check_row(row, messages[: turn + 1], [turn])

    def _check_row(self, row: TrainingRow, messages: Sequence[Message], taught: Sequence[int]) -> None:
        ids = row.ids.tolist()
        spans = self._turns_in(ids)
        shown = [at for at, message in enumerate(messages) if message.role == "assistant"]
        if len(spans) != len(shown):
            what = (
                f"the example has {len(shown)} assistant turns and the row {len(spans)}: a turn was lost, or text "
                "contains the template's delimiters"
            )
            raise self._fault(what)
        everything = _squeeze(_decode(self.tokenizer, ids))
        expected: set[int] = set()
        for at, message in enumerate(messages):
            if _squeeze(message.content) not in everything:
                raise self._fault(f"the template drops or cuts turn {at} ({message.role})")
        for at, (start, end) in zip(shown, spans, strict=True):
            if at not in taught:
                continue
            reasoned = bool(messages[at].reasoning) and self.config.keep_reasoning
            start += self._prompted_length(ids[start:end], reasoned)
            self._check_turn(at, messages[at], _decode(self.tokenizer, ids[start:end]))
            expected |= set(range(start, end))
        if self.config.stage == "midtrain":
            expected = set(range(1, len(ids)))
        _compare(self.example, row, expected, self.tokenizer)

    def _turns_in(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return the ranges of ids from the end of each opening to the closing token of the turn, inclusive."""
        spans, at = [], 0
        while at < len(ids):
            strong, weak = self._opened(ids, at, self.delimiters.openings), self._opened(ids, at, self.delimiters.weak)
            if not (strong or weak):
                at += 1
                continue
            start = at + (strong or weak)
            if not strong and self._opened(ids, start, self.delimiters.openings):
                at = start
                continue
            end = self._closed(ids, start)
            if not strong:
                # Of several tool results in a row, the turn follows the last one.
                later = [place for place in range(start, end) if self._opened(ids, place, self.delimiters.weak)]
                start = later[-1] + self._opened(ids, later[-1], self.delimiters.weak) if later else start
            if strong or start < end:
                spans.append((start, end + 1))
            at = end + 1 if start < end or strong else start
        return spans

    @staticmethod
    def _opened(ids: Sequence[int], at: int, openings: Sequence[tuple[int, ...]]) -> int:
        """Return the length of the opening at a place; 0 if there is none."""
        return next((len(found) for found in openings if tuple(ids[at : at + len(found)]) == found), 0)

    def _closed(self, ids: Sequence[int], start: int) -> int:
        """Return the place of the token that closes the turn that starts at `start`."""
        at = start
        while at < len(ids):
            if ids[at] in self.delimiters.closings:
                again = self._opened(ids, at + 1, self.delimiters.openings) if ids[at] in self.delimiters.inner else 0
                if not again:
                    return at
                at += again
            at += 1
        raise self._fault(f"an assistant turn has no end token: {_decode(self.tokenizer, ids[start:])[-40:]!r}")

    def _prompted_length(self, ids: Sequence[int], reasoned: bool) -> int:
        """Count the tokens at the start of a turn that are not the model's to write.

        These are the think block that the prompt opens, and an empty think block with the white space around it.
        """
        text = _decode(self.tokenizer, ids)
        prompted, empty = self.delimiters.think, _EMPTY_THINK.match(text) or _THINK_END.match(text)
        if empty and not reasoned and (prompted or self.delimiters.thought or _EMPTY_THINK.match(text)):
            return self._count(ids, empty.end())
        return self._count(ids, len(prompted)) if prompted and text.startswith(prompted) else 0

    def _count(self, ids: Sequence[int], length: int) -> int:
        """Return how many tokens the first `length` characters of a turn have."""
        count = 0
        while count < len(ids) and len(_decode(self.tokenizer, ids[:count])) < length:
            count += 1
        return count

    def _check_turn(self, at: int, message: Message, text: str) -> None:
        squeezed = _squeeze(text)
        if message.reasoning and self.config.keep_reasoning and _squeeze(message.reasoning) not in squeezed:
            raise self._fault(f"the template drops the reasoning of turn {at} (or set keep_reasoning = false)")
        if _EMPTY_THINK.search(text):
            raise self._fault(f"turn {at} would supervise an empty think block")
        if _squeeze(message.content) not in squeezed:
            raise self._fault(f"the answer of turn {at} is cut: {text[-60:]!r}")
        place = 0
        for call in message.tool_calls:
            found = squeezed.find(_squeeze(call.name), place)
            values_there = all(_holds(squeezed, value, max(found, 0)) for value in call.arguments.values())
            if found < 0 or not values_there:
                raise self._fault(f"turn {at} drops the tool call {call.name!r} or one of its arguments")
            place = found + len(_squeeze(call.name))

    def _fault(self, what: str) -> MaskError:
        return MaskError(what, where=self.example.id, remedy=_REMEDY)


def _compare(example: Example, row: TrainingRow, expected: set[int], tokenizer: PreTrainedTokenizerBase) -> None:
    if not expected:
        raise MaskError("nothing is supervised", where=example.id, remedy=_REMEDY)
    marked = {at for at, flag in enumerate(row.supervised.tolist()) if flag}
    for wrong, verb in ((marked - expected, "must not be"), (expected - marked, "must be")):
        if wrong:
            first = min(wrong)
            last = next(at for at in range(first, len(row) + 1) if at not in wrong)
            quoted = _decode(tokenizer, row.ids[first:last].tolist())[:60]
            what = f"tokens {first} to {last - 1} {verb} supervised: {quoted!r}"
            raise MaskError(what, where=example.id, remedy=_REMEDY)


def _holds(squeezed: str, value: str, start: int) -> bool:
    """Whether the text contains a value as it is or JSON-encoded."""
    forms = (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return any(squeezed.find(_squeeze(form), start) >= 0 for form in forms)


def _squeeze(text: str) -> str:
    """Remove white space, because templates trim it and some decoders add it."""
    return "".join(text.split())


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
