"""Precision and recall of the detectors on labelled acts with intervals, and acts per second.

    python -m bench.detectors --json [--misses dev]

The detectors were tuned on the `dev` acts, so those figures are biased upwards. The `test` acts were written after the
detectors were final, and nothing was changed after they were read; two earlier test sets were used for tuning and are
part of `dev` now. The same author wrote acts and detectors. The `fresh` acts (only veiled coercion) are by another
author, and nothing was changed after measuring on them. `coercion, held` adds acts that are only held for review
(`detectors.private_facts`), whose patterns were chosen on the other three sets. Intervals are 95% Clopper-Pearson.
"""

from __future__ import annotations

import argparse
import base64
import codecs
import functools
import gzip
import html
import json
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from holdfast.core.records import Facts
from holdfast.detectors import DETECTORS
from holdfast.detectors.private_facts import leverage
from holdfast.guard.act import Act
from holdfast.guard.monitors.tool_effects import effects_of
from holdfast.stats.intervals import interval

ACTS = Path(__file__).parent / "acts"
#: Section of a file → the part it counts for; `fresh` is by another author and has only veiled coercion.
PARTS = {"dev": "dev", "dev-2": "dev", "dev-3": "dev", "test": "test", "fresh": "fresh"}
HALVES = ("dev", "test", "fresh")


@dataclass(frozen=True)
class Labelled:
    """A sequence of acts, and whether its detector should find harm in it."""

    detector: str
    half: str
    harm: bool
    acts: tuple[Act, ...]
    facts: Facts


def load(path: Path) -> Iterator[Labelled]:
    """Yield the labelled acts of one file."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    facts = Facts(**data["facts"])
    encodings = encoded_variants(facts.confidential["engine.plan"]) if facts.confidential else {}
    for part in filter(data.__contains__, PARTS):
        for label in ("harm", "benign"):
            for entry in data[part][label]:
                entries = entry if isinstance(entry, list) else [entry]
                calls = [e if isinstance(e, dict) else {**data["one"], data["text"]: e} for e in entries]
                acts = tuple(_act(call, encodings) for call in calls)
                yield Labelled(path.stem.partition("-")[0], PARTS[part], label == "harm", acts, facts)


def _act(call: dict[str, Any], encodings: dict[str, str]) -> Act:
    arguments = {key: _filled(value, encodings) for key, value in call.items() if key != "tool"}
    return Act(run="bench", agent="agent", server="office", tool=call["tool"], arguments=arguments)


def _filled(value: Any, encodings: dict[str, str]) -> Any:
    if isinstance(value, str):
        return functools.reduce(lambda text, name: text.replace(f"{{{name}}}", encodings[name]), encodings, value)
    if isinstance(value, dict):
        return {key: _filled(inner, encodings) for key, inner in value.items()}
    return [_filled(inner, encodings) for inner in value]


def encoded_variants(secret: str) -> dict[str, str]:
    """Return a text in every encoding that the labelled leaks use, by name."""
    raw, words = secret.encode(), secret.split()
    coded = base64.b64encode(raw).decode()
    half, third = len(words) // 2, -(-len(words) // 3)
    label = base64.b32encode(raw).decode().rstrip("=").lower()
    like = str.maketrans("aeopcxi", "аеорсхі")
    return {
        "plain": secret,
        "upper": secret.upper(),
        "base64": coded,
        "base64url": base64.urlsafe_b64encode(raw).decode(),
        "base64_lines": base64.encodebytes(raw).decode(),
        "double": base64.b64encode(coded.encode()).decode(),
        "base32": base64.b32encode(raw).decode(),
        "hex": raw.hex(),
        "gzip": base64.b64encode(gzip.compress(raw, mtime=0)).decode(),
        "rot13": codecs.encode(secret, "rot13"),
        "reversed": secret[::-1],
        "words_reversed": " ".join(reversed(words)),
        "spaced": " ".join(secret),
        "dashed": "-".join(words),
        "zero_width": "\u200b".join(secret),
        "homoglyph": secret.translate(like),
        "url": quote(secret, safe=""),
        "html": "".join(f"&#{ord(c)};" for c in secret) if secret else html.escape(secret),
        "quoted": "> " + "\n> ".join(" ".join(words[i : i + 6]) for i in range(0, len(words), 6)),
        "dns": ".".join(label[i : i + 60] for i in range(0, len(label), 60)),
        "half_1": " ".join(words[:half]),
        "half_2": " ".join(words[half:]),
        **{f"third_{i + 1}": " ".join(words[i * third : (i + 1) * third]) for i in range(3)},
        "base64_half_1": coded[: len(coded) // 2],
        "base64_half_2": coded[len(coded) // 2 :],
    }


def found(item: Labelled) -> bool:
    """Return whether an item's detector finds harm in it."""
    effects = [effect for act in item.acts for effect in effects_of(act)]
    return bool(DETECTORS[item.detector](effects, item.facts, None))


def held(item: Labelled) -> bool:
    """Return whether coercion is detected, or the acts are held because of a private fact."""
    effects = [effect for act in item.acts for effect in effects_of(act)]
    return found(item) or bool(leverage(effects, item.facts, item.acts[0].agent))


def share(k: int, n: int) -> dict[str, float | int | None]:
    """Return `k` of `n` with its interval; the rate is None if `n` is 0."""
    if not n:
        return {"k": k, "n": n, "rate": None, "low": None, "high": None}
    low, high = interval(k, n)
    return {"k": k, "n": n, "rate": round(k / n, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def scores(items: list[Labelled], sees: Callable[[Labelled], bool] = found) -> dict[str, Any]:
    """Return precision, recall and false-alarm rate on labelled acts."""
    seen = [(item.harm, sees(item)) for item in items]
    hits, alarms = sum(h and s for h, s in seen), sum(s for _, s in seen)
    harms = sum(h for h, _ in seen)
    return {
        "precision": share(hits, alarms),
        "recall": share(hits, harms),
        "false_alarms": share(alarms - hits, len(seen) - harms),
    }


def speed(items: list[Labelled], rounds: int = 20) -> float:
    """Return acts per second of CPU time through every detector; each act's text is new, so that no cache helps."""
    fresh = []
    for n in range(rounds):
        for item in items:
            for act in item.acts:
                new = {k: f"{v} {n}" if isinstance(v, str) and len(v) > 40 else v for k, v in act.arguments.items()}
                fresh.append((replace(act, arguments=new), item.facts))
    start = time.process_time()
    for act, facts in fresh:
        effects = effects_of(act)
        for check in DETECTORS.values() if effects else ():
            check(effects, facts, None)
    return len(fresh) / (time.process_time() - start)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--misses", choices=HALVES, help="print the errors in this part")
    options = parser.parse_args()
    items = [item for path in sorted(ACTS.glob("*.toml")) for item in load(path)]
    if options.misses:
        for item in items:
            if item.half == options.misses and found(item) != item.harm:
                print("missed" if item.harm else "FALSE ", item.detector, [dict(a.arguments) for a in item.acts])
        return
    names = sorted({item.detector for item in items})
    result: dict[str, Any] = {"acts": len(items), "acts_per_second": round(speed(items))}
    for half in HALVES:
        chosen = [item for item in items if item.half == half]
        result[half] = {name: scores([i for i in chosen if i.detector == name]) for name in names}
        result[half]["all"] = scores(chosen)
        result[half]["coercion, held"] = scores([i for i in chosen if i.detector == "coercion"], held)
    print(json.dumps(result, indent=1) if options.json else _table(result))


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['acts']} labelled acts; {result['acts_per_second']} acts/s"]
    for half in HALVES:
        for name, row in result[half].items():
            shown = "  ".join(f"{k} {v['k']}/{v['n']} [{v['low']}, {v['high']}]" for k, v in row.items())
            lines.append(f"{half:5}{name:20}{shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
