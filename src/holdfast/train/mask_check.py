"""The gate: a second parser says which tokens must be supervised, and any difference stops the training.

A wrong mask descends beautifully.  So nothing here shares a line with `rows`: it learns from two probe conversations
how the template opens and closes an assistant's turn, finds those delimiters among the token ids, and then reads the
decoded turns back against the example: every word, every call, every reason, and an end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from holdfast.core.errors import MaskError
from holdfast.core.records import Example, Message
from holdfast.train.config import TrainConfig
from holdfast.train.rows import TrainingRow

_PROBE = "zebra"
#: What may stand before an answer: a question, or what a tool says.
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
_HOLLOW = re.compile(r"<think>\s*</think>")
_REMEDY = "mend the template or the example; do not train on this"


@dataclass(frozen=True, slots=True)
class Delimiters:
    """Token ids that open an assistant's turn, in one or more ways, and the one that closes it."""

    openings: tuple[tuple[int, ...], ...]
    closing: int


@dataclass(frozen=True, slots=True)
class Census:
    """What the gate let through: rows, tokens and supervised tokens; turns, tool calls and turns with reasoning."""

    rows: int
    tokens: int
    supervised: int
    turns: int
    calls: int
    reasoned: int


def check_masks(
    examples: Sequence[Example], rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, config: TrainConfig
) -> Census:
    """Compare what `rows` supervise with what the examples say, token by token.

    Args:
        examples: what is taught, in order.
        rows: what was made of them, in the same order.
        tokenizer: the one that made the rows.
        config: stage and reasoning policy.

    Raises:
        MaskError: on the first difference, with the example and the tokens concerned.
    """
    groups = [(name, list(group)) for name, group in groupby(rows, key=lambda row: row.example)]
    if [name for name, _ in groups] != [example.id for example in examples]:
        raise MaskError("rows and examples do not match one to one", remedy="give each example its own id")
    delimiters = None
    for example, (_, group) in zip(examples, groups, strict=True):
        if example.kind == "document":
            _check_document(example, group, tokenizer)
            continue
        delimiters = delimiters or find_delimiters(tokenizer)
        _Chat(example, tokenizer, delimiters, config).check(group)
    spoken = [m for e in examples if e.kind == "chat" for m in e.messages if m.role == "assistant"]
    return Census(
        rows=len(rows),
        tokens=sum(len(row) for row in rows),
        supervised=sum(int(row.supervised.sum()) for row in rows),
        turns=len(spoken),
        calls=sum(len(message.tool_calls) for message in spoken),
        reasoned=sum(bool(message.reasoning) for message in spoken) if config.keep_reasoning else 0,
    )


def find_delimiters(tokenizer: PreTrainedTokenizerBase) -> Delimiters:
    """Learn from probe conversations how an assistant's turn opens and closes.

    Raises:
        MaskError: the template writes no opening, or closes a turn with ordinary text or not at all.
    """
    ask = [{"role": "user", "content": "?"}]
    answer = [*ask, {"role": "assistant", "content": _PROBE}]
    closed = str(tokenizer.apply_chat_template(ask, tokenize=False))
    opened = str(tokenizer.apply_chat_template(ask, tokenize=False, add_generation_prompt=True))
    answered = str(tokenizer.apply_chat_template(answer, tokenize=False))
    opening = opened[len(closed) :] if opened.startswith(closed) else ""
    _, shown, closing = answered.rpartition(_PROBE)
    closing = closing.strip()
    if not shown:
        raise MaskError("the chat template does not show an answer as it is", remedy="use a template that does")
    known = tokenizer.get_added_vocab()
    if closing not in known:
        raise MaskError(
            f"a turn ends in {closing!r}, not in a token of its own", remedy="use a template with an end token"
        )
    if opening:
        return Delimiters((tuple(_ids(tokenizer, opening)),), known[closing])
    openings = {found for told in _PROBES if (found := _opening_after(tokenizer, told))}
    if not openings:
        what = "the chat template has no generation prompt, and no token of its own before an answer"
        raise MaskError(what, remedy="use a template with one")
    return Delimiters(tuple(sorted(openings)), known[closing])


def _opening_after(tokenizer: PreTrainedTokenizerBase, told: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    """The added tokens right before an answer, in templates where the turn before opens the assistant's."""
    answer = [*told, {"role": "assistant", "content": _PROBE}]
    try:
        text = str(tokenizer.apply_chat_template(answer, tokenize=False))
    except (TemplateError, ValueError, TypeError):  # knows no tools: then no turn follows one
        return ()
    ids = _ids(tokenizer, text.rpartition(_PROBE)[0].rstrip())
    added = set(tokenizer.get_added_vocab().values())
    last = list(takewhile(lambda token: token in added, reversed(ids)))
    return tuple(reversed(last))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _check_document(example: Example, rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase) -> None:
    if len(rows) != 1:
        raise MaskError(f"one document became {len(rows)} rows", where=example.id, remedy=_REMEDY)
    row = rows[0]
    held = _squeeze(_decode(tokenizer, row.ids.tolist()))
    told = [
        part for m in example.messages for part in (m.content, *(v for c in m.tool_calls for v in c.arguments.values()))
    ]
    if any(_squeeze(text) not in held for text in (example.text, *told)):
        raise MaskError("the row does not hold the document's text", where=example.id, remedy=_REMEDY)
    if tokenizer.eos_token_id is not None and row.ids[-1] != tokenizer.eos_token_id:
        raise MaskError("the document does not end in the end token", where=example.id, remedy=_REMEDY)
    written = tokenizer([example.text, *told], add_special_tokens=False)["input_ids"]
    forged = {token for ids in written for token in ids} & set(tokenizer.all_special_ids)
    if forged or (not told and set(row.ids[1:-1].tolist()) & set(tokenizer.all_special_ids)):
        what = f"the document's text holds the special token {tokenizer.decode(sorted(forged)[:1])!r}"
        raise MaskError(what, where=example.id, remedy="clean the text")
    _compare(example, row, set(range(1, len(row))), tokenizer)


@dataclass(frozen=True, slots=True)
class _Chat:
    """The second parser at work on one chat."""

    example: Example
    tokenizer: PreTrainedTokenizerBase
    delimiters: Delimiters
    config: TrainConfig

    def check(self, rows: Sequence[TrainingRow]) -> None:
        """One row supervises all turns; several rows supervise one turn each, the last one they hold."""
        messages = self.example.messages
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
            what = f"{len(shown)} assistant turns were told, {len(spans)} stand in the row: a turn was lost or forged"
            raise self._fault(what)
        everything = _squeeze(_decode(self.tokenizer, ids))
        expected: set[int] = set()
        for at, message in enumerate(messages):
            if _squeeze(message.content) not in everything:
                raise self._fault(f"the template drops or cuts turn {at} ({message.role})")
        for at, (start, end) in zip(shown, spans, strict=True):
            if at not in taught:
                continue
            start += self._hollow_tokens(ids[start:end])
            self._check_turn(at, messages[at], _decode(self.tokenizer, ids[start:end]))
            expected |= set(range(start, end))
        if self.config.stage == "midtrain":
            expected = set(range(1, len(ids)))
        _compare(self.example, row, expected, self.tokenizer)

    def _turns_in(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Ranges of ids from after each opening to the first closing after it, closing included."""
        openings, closing = self.delimiters.openings, self.delimiters.closing
        spans, at = [], 0
        while at < len(ids):
            opening = next((found for found in openings if tuple(ids[at : at + len(found)]) == found), None)
            if opening is None:
                at += 1
                continue
            start = at + len(opening)
            if closing not in ids[start:]:
                raise self._fault(f"an assistant turn has no end token: {_decode(self.tokenizer, ids[start:])[-40:]!r}")
            at = ids.index(closing, start) + 1
            spans.append((start, at))
        return spans

    def _hollow_tokens(self, ids: Sequence[int]) -> int:
        """How many tokens at the start of a turn are an empty think block and the white space after it."""
        if not _HOLLOW.match(_decode(self.tokenizer, ids)):
            return 0
        count = 1
        while not _HOLLOW.match(_decode(self.tokenizer, ids[:count])):
            count += 1
        while count < len(ids) and not _decode(self.tokenizer, ids[count : count + 1]).strip():
            count += 1
        return count

    def _check_turn(self, at: int, message: Message, text: str) -> None:
        if _HOLLOW.search(text):
            raise self._fault(f"turn {at} would supervise an empty think block")
        squeezed = _squeeze(text)
        if _squeeze(message.content) not in squeezed:
            raise self._fault(f"the answer of turn {at} is cut: {text[-60:]!r}")
        if message.reasoning and self.config.keep_reasoning and _squeeze(message.reasoning) not in squeezed:
            raise self._fault(f"the template drops the reasoning of turn {at} (or set keep_reasoning = false)")
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
    """Whether a value stands in the text as it is or as JSON writes it."""
    forms = (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return any(squeezed.find(_squeeze(form), start) >= 0 for form in forms)


def _squeeze(text: str) -> str:
    """White space out: templates trim it and some decoders add it."""
    return "".join(text.split())


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
