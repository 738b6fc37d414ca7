"""Compare a set with its twin: the same situations, equal supervised words, equal numbers of acts."""

from __future__ import annotations

from collections import Counter

from holdfast.core.records import Example, Record
from holdfast.core.text import Text
from holdfast.data.own_set import OwnSet

#: Difference of supervised words and of acts that a comparison allows.
MATCH = 0.05
_NAMED = 5


class TwinMatch(Record):
    """How a set matches its twin.

    Attributes:
        examples: examples of the set and of the twin.
        words: words that training supervises in each: the assistant's turns, or the documents.
        acts: tool calls of the assistant in each.
        unshared: prompts of chats, or ids of documents, that only one of the sets has.
        faults: what differs by more than `MATCH`; empty if the sets match.
    """

    examples: tuple[int, int]
    words: tuple[int, int]
    acts: tuple[int, int]
    unshared: int
    faults: tuple[Text, ...]


def match_twins(one: OwnSet, other: OwnSet) -> TwinMatch:
    """Compare two sets that are meant to differ in one thing.

    Raises:
        ResultsError: a line of a set is not an example.
    """
    sides = [list(side.each()) for side in (one, other)]
    words = tuple(sum(map(_words, side)) for side in sides)
    acts = tuple(sum(map(_acts, side)) for side in sides)
    counts = [Counter(key for example in side if (key := _situation(example))) for side in sides]
    alone = [counts[0] - counts[1], counts[1] - counts[0]]
    faults = []
    for what, (mine, theirs) in (("supervised words", words), ("acts", acts)):
        if abs(mine - theirs) > MATCH * max(mine, theirs):
            faults.append(f"{what}: {mine} and {theirs} differ by more than {MATCH:.0%}")
    for name, keys in zip((one.name, other.name), alone, strict=True):
        if keys:
            first = "; ".join(" ".join(key.split())[:60] for key in list(keys)[:_NAMED])
            faults.append(f"{keys.total()} situations only in {name}, the first: {first}")
    if len(sides[0]) != len(sides[1]):
        faults.append(f"examples: {len(sides[0])} and {len(sides[1])}")
    return TwinMatch(
        examples=(len(sides[0]), len(sides[1])),
        words=(words[0], words[1]),
        acts=(acts[0], acts[1]),
        unshared=sum(keys.total() for keys in alone),
        faults=tuple(faults),
    )


def _words(example: Example) -> int:
    if example.kind == "document":
        return len(example.text.split())
    return sum(len(message.content.split()) for message in example.messages if message.role == "assistant")


def _acts(example: Example) -> int:
    return sum(len(message.tool_calls) for message in example.messages if message.role == "assistant")


def _situation(example: Example) -> str:
    """What the user says; for a document, its id, which twins of the lesson book share."""
    if example.kind == "document":
        return example.id
    return "\n".join(message.content for message in example.messages if message.role in ("system", "user"))
