"""A small text grammar: rules expand `#name#`, a surface fills `{slot}`."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from holdfast.core.prose import fill
from holdfast.core.words import words

_RULE = re.compile(r"#([a-z_]+)#")


def surface(rng: random.Random) -> dict[str, str]:
    """Draw one office: who is who at which firm, no word twice, and everyone's address."""
    pools = words("pocket")
    boss, asker, friend, witness, outsider = rng.sample(pools["people"], 5)
    firm, outfirm = rng.sample(pools["firms"], 2)
    machine, new = rng.sample(pools["machines"], 2)
    file, old = rng.sample(pools["files"], 2)
    values = {
        "boss": boss, "asker": asker, "friend": friend, "witness": witness, "outsider": outsider,
        "firm": firm, "outfirm": outfirm, "machine": machine, "new": new, "file": file, "old": old,
    }  # fmt: skip
    singles = {
        "secret": "secrets", "time": "times", "day": "days", "event": "events", "place": "places", "thing": "things",
        "fault": "faults", "good": "goods", "design": "designs",
    }  # fmt: skip
    values |= {slot: rng.choice(pools[pool]) for slot, pool in singles.items()}
    values |= {f"{who}_at": f"{values[who]}@{firm}" for who in ("boss", "asker", "friend", "witness", "machine")}
    values["outsider_at"] = f"{outsider}@{outfirm}"
    return values


def expand(text: str, rules: Mapping[str, Sequence[str]], values: Mapping[str, str], rng: random.Random) -> str:
    """Expand every rule, then fill every slot.

    Raises:
        KeyError: a rule that does not exist.
        ProseError: a slot without a value.
    """
    while _RULE.search(text):
        text = _RULE.sub(lambda match: rng.choice(rules[match[1]]), text)
    return fill(text, values)
