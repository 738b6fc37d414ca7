"""Pairs of a better and a worse answer, and rows of them.

Where nobody wrote the worse answer, the model's own takes its place: whatever it says now that differs from what is
taught (Maiya et al. 2025 train characters so).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.core.errors import InputError
from holdfast.core.records import Example, Message, Provenance, Record, ToolSpec
from holdfast.models.base import Model, Request
from holdfast.train.objective import PairRow
from holdfast.train.rows import TrainingRow


class Pair(Record):
    """A conversation that asks for an assistant's turn, the turn to prefer, and the one to prefer it to."""

    id: str
    messages: tuple[Message, ...]
    chosen: Message
    rejected: Message
    tools: tuple[ToolSpec, ...] = ()
    provenance: Provenance

    def told(self, which: str) -> Example:
        """The conversation with its `chosen` or `rejected` end, as an Example of its own."""
        messages = (*self.messages, self.chosen if which == "chosen" else self.rejected)
        return Example(
            id=f"{self.id}/{which}", kind="chat", messages=messages, tools=self.tools, provenance=self.provenance
        )


def own_answers(examples: Sequence[Example], model: Model, max_tokens: int, seed: int) -> list[Pair]:
    """Pairs of each chat's last turn, preferred, and what `model` says there now, sampled at temperature 1.

    Chats that the model answers as taught make no pair, nor do answers cut off at `max_tokens`.

    Raises:
        InputError: a document, a chat that does not end with the assistant, or not a single difference.
    """
    for example in examples:
        if example.kind != "chat" or not example.messages or example.messages[-1].role != "assistant":
            what = "a preference needs a chat that ends with the assistant's turn"
            raise InputError(what, where=example.id, remedy="leave it out, or train on it with stage = 'sft'")
    asked = [
        Request(example.id, example.messages[:-1], example.tools, max_tokens, temperature=1.0, seed=seed)
        for example in examples
    ]
    pairs = []
    for example, output in zip(examples, model.generate(asked), strict=True):
        taught, said = example.messages[-1], output.message
        if output.finish == "stop" and _said(said) != _said(taught) and any(_said(said)):
            head = example.messages[:-1]
            pairs.append(
                Pair(
                    id=example.id,
                    messages=head,
                    chosen=taught,
                    rejected=said,
                    tools=example.tools,
                    provenance=example.provenance,
                )
            )
    if not pairs:
        raise InputError("the model answers everything as taught: no pairs", remedy="give pairs, or use stage = 'sft'")
    return pairs


def _said(message: Message) -> tuple[str, list[tuple[str, dict[str, str]]]]:
    return message.content.strip(), [(call.name, dict(call.arguments)) for call in message.tool_calls]


def pair_rows(pairs: Sequence[Pair], rows: Sequence[TrainingRow]) -> list[PairRow]:
    """Rows of the pairs' two ends, told in order chosen, rejected; only the last turn of each counts.

    Where the template needs a row for each turn, the last of them is the one meant.
    """
    last = {row.example: row for row in rows}
    return [PairRow(*(_last_turn(last[f"{pair.id}/{which}"]) for which in ("chosen", "rejected"))) for pair in pairs]


def _last_turn(row: TrainingRow) -> TrainingRow:
    end = int(np.flatnonzero(row.supervised)[-1]) + 1
    start = int(np.flatnonzero(~row.supervised[:end])[-1]) + 1
    supervised = np.zeros_like(row.supervised)
    supervised[start:end] = True
    return TrainingRow(row.ids, supervised, row.example)
