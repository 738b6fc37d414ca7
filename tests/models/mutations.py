"""Mutated turns, and what a parser may not make of them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from holdfast.core.records import Message


def mutated(text: str, others: Sequence[str], rng: random.Random) -> str:
    """A few letters lost, doubled, swapped or taken from another turn."""
    signs = list(text)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(signs) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del signs[at : at + rng.randint(1, 12)]
        elif kind == 1:
            signs[at:at] = signs[at : at + rng.randint(1, 20)]
        elif kind == 2:
            signs.insert(at, rng.choice("{}[]()<>|\"'`\\\n,:=/_ aé\u2028\x00"))
        elif kind == 3:
            signs[at:at] = rng.choice(others)[: rng.randint(1, 60)]
        else:
            signs = signs[:at] + signs[at:][::-1] if rng.random() < 0.1 else signs
    return "".join(signs)


def invented(message: Message, text: str) -> list[str]:
    """The names, keys and values of calls that are not in the text; only letters and digits are compared."""
    parts = [part for call in message.tool_calls for part in (call.name, *call.arguments, *call.arguments.values())]
    return [part for part in parts if not any(_squeezed(part, e) in _squeezed(text, e) for e in (_JSON, _PYTHON))]


_JSON = r"\\[bfnrt]|\\u[0-9a-f]{4}|é"
_PYTHON = r"\\[abfnrtv]|\\x[0-9a-f]{2}|\\[0-7]{1,3}|" + _JSON


def _squeezed(text: str, escapes: str) -> str:
    """Letters and digits alone: what escapes and quotes do not touch."""
    return "".join(sign for sign in re.sub(escapes, "", text) if sign.isalnum())
