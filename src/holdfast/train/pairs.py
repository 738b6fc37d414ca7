"""Preference pairs, and the rows made from them.

If no rejected answer is given, the model's own current answer is used, provided it differs from the taught one (the
method of character training in Maiya et al. 2025).
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
    """A preference pair: a conversation, the preferred assistant turn, and the rejected one."""

    id: str
    messages: tuple[Message, ...]
    chosen: Message
    rejected: Message
    tools: tuple[ToolSpec, ...] = ()
    provenance: Provenance

    def as_example(self, which: str) -> Example:
        """Return the conversation with its `chosen` or `rejected` turn as an Example."""
        messages = (*self.messages, self.chosen if which == "chosen" else self.rejected)
        return Example(
            id=f"{self.id}/{which}", kind="chat", messages=messages, tools=self.tools, provenance=self.provenance
        )


def pairs_from_model(examples: Sequence[Example], model: Model, max_tokens: int, seed: int) -> list[Pair]:
    """Build pairs that prefer each chat's last turn to the answer of `model`, sampled at temperature 1.

    A chat gives no pair if the model's answer equals the taught one or is truncated at `max_tokens`.

    Raises:
        InputError: an example is a document, a chat does not end with an assistant turn, or no chat gives a pair.
    """
    for example in examples:
        if example.kind != "chat" or not example.messages or example.messages[-1].role != "assistant":
            what = "stage = 'dpo' needs a chat that ends with an assistant turn"
            raise InputError(what, where=example.id, remedy="remove it, or train on it with stage = 'sft'")
    requests = [
        Request(example.id, example.messages[:-1], example.tools, max_tokens, temperature=1.0, seed=seed)
        for example in examples
    ]
    pairs = []
    for example, output in zip(examples, model.generate(requests), strict=True):
        taught, answer = example.messages[-1], output.message
        if output.finish == "stop" and _content(answer) != _content(taught) and any(_content(answer)):
            prompt = example.messages[:-1]
            pairs.append(
                Pair(
                    id=example.id,
                    messages=prompt,
                    chosen=taught,
                    rejected=answer,
                    tools=example.tools,
                    provenance=example.provenance,
                )
            )
    if not pairs:
        what = "no preference pairs: every answer of the model equals the taught one, is empty or is truncated"
        raise InputError(what, remedy="provide pairs, or use stage = 'sft'")
    return pairs


def _content(message: Message) -> tuple[str, list[tuple[str, dict[str, str]]]]:
    return message.content.strip(), [(call.name, dict(call.arguments)) for call in message.tool_calls]


def pair_rows(pairs: Sequence[Pair], rows: Sequence[TrainingRow]) -> list[PairRow]:
    """Combine the rows of each pair's chosen and rejected examples; only the last turn is supervised.

    If the template needs one row per turn, the last row of each example is used.
    """
    last = {row.example: row for row in rows}
    return [PairRow(*(_last_turn(last[f"{pair.id}/{which}"]) for which in ("chosen", "rejected"))) for pair in pairs]


def _last_turn(row: TrainingRow) -> TrainingRow:
    end = int(np.flatnonzero(row.supervised)[-1]) + 1
    start = int(np.flatnonzero(~row.supervised[:end])[-1]) + 1
    supervised = np.zeros_like(row.supervised)
    supervised[start:end] = True
    return TrainingRow(row.ids, supervised, row.example)
