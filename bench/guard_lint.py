"""Precision and recall of the prompt lint on labelled prompts, by words and by a model, with intervals.

    python -m bench.guard_lint --json [--judge MODEL] [--limit 80] [--misses dev|test|labelled]

`dev` and `test` measure the rules by words. They were tuned on the `dev` prompts, so those figures are biased upwards;
the `test` prompts were written after the rules were final, by the same author. `labelled` are the prompts of
`guard/lint/labelled`, which avoid the usual words; nothing is fitted to them. `words` and `model` are measured on the
same prompts of it. A prompt that the model left unread counts as not found, and is counted in `unread`. Intervals are
95% Clopper-Pearson.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast.guard.lint
from bench.detectors import share
from holdfast.core.config import read_toml
from holdfast.core.records import Message
from holdfast.guard.lint import lint_prompt, lint_question, read_lint
from holdfast.guard.lint.lint import AGAINST_POLICY, lint_rules
from holdfast.guard.policy.schema import PolicyFile
from holdfast.models.base import Model, Request
from holdfast.models.registry import open_model

HALVES = ("dev", "test")
Seen = tuple[frozenset[str], frozenset[str]]


@dataclass(frozen=True)
class Labelled:
    """A prompt, the rules that should fire on it, and its part (dev, test, or the name of a hand)."""

    text: str
    faults: frozenset[str]
    half: str


def load() -> tuple[list[Labelled], PolicyFile]:
    """Return the labelled prompts in the package, and the policy that they are checked against."""
    data = read_toml(Path(holdfast.guard.lint.__file__).with_name("prompts.toml"))
    items = [Labelled(p["text"], frozenset(p["faults"]), p.get("half", "dev")) for p in data["prompt"]]
    return items, PolicyFile.model_validate(data["policy"])


def load_labelled() -> list[Labelled]:
    """Return the prompts of all hands in `guard/lint/labelled`."""
    folder = Path(holdfast.guard.lint.__file__).with_name("labelled")
    known, items = set(lint_rules()) - {AGAINST_POLICY}, []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            row = json.loads(line) if line else None
            if row and not set(row["faults"]) <= known:
                raise SystemExit(
                    f"{path}:{number}: unknown fault in {row['faults']}; known: {', '.join(sorted(known))}"
                )
            if row:
                items.append(Labelled(row["text"], frozenset(row["faults"]), row["hand"]))
    return items


def by_words(items: list[Labelled], policy: PolicyFile | None) -> list[Seen]:
    """Return the faults of each prompt, and those that the rules by words find."""
    return [(item.faults, frozenset(f.rule for f in lint_prompt(item.text, policy))) for item in items]


def by_model(items: list[Labelled], model: Model) -> tuple[list[Seen], int, list[str]]:
    """Return the faults of each prompt and those that a model finds; how many are unread, and the first reasons."""
    questions = [lint_question(item.text) for item in items]
    requests = [
        Request(
            q.seal, (Message(role="system", content=q.system), Message(role="user", content=q.user)), max_tokens=1024
        )
        for q in questions
    ]
    seen, faults = [], []
    for item, question, output in zip(items, questions, model.generate(requests), strict=True):
        answer = read_lint(output.message.content, question, item.text, model.name)
        answer = answer if output.finish == "stop" else output.finish
        faults += [answer] if isinstance(answer, str) else []
        seen.append((item.faults, frozenset() if isinstance(answer, str) else frozenset(f.rule for f in answer)))
    return seen, len(faults), faults[:5]


def scores(seen: list[Seen]) -> dict[str, Any]:
    """Return precision and recall of each rule, of all findings, and of whether a prompt has any fault."""
    result = {
        name: _pair(
            sum(name in want and name in got for want, got in seen),
            sum(name in got for _, got in seen),
            sum(name in want for want, _ in seen),
        )
        for name in lint_rules()
    }
    hits = sum(len(want & got) for want, got in seen)
    result["findings"] = _pair(hits, sum(len(got) for _, got in seen), sum(len(want) for want, _ in seen))
    both = sum(bool(want) and bool(got) for want, got in seen)
    result["prompts"] = _pair(both, sum(bool(got) for _, got in seen), sum(bool(want) for want, _ in seen))
    return result


def _pair(hits: int, found: int, there: int) -> dict[str, Any]:
    return {"precision": share(hits, found), "recall": share(hits, there)}


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--misses", choices=(*HALVES, "labelled"), help="print the errors by words in this part")
    parser.add_argument("--judge", help="model that reads the labelled prompts too")
    parser.add_argument("--limit", type=int, help="most labelled prompts for the model, taken evenly")
    options = parser.parse_args()
    items, policy = load()
    labelled = load_labelled()
    if options.misses:
        for item in labelled if options.misses == "labelled" else items:
            got = {f.rule: f.quote for f in lint_prompt(item.text, policy)}
            if options.misses in (item.half, "labelled") and set(got) != item.faults:
                missed, wrong = item.faults - set(got), {r: q for r, q in got.items() if r not in item.faults}
                print("missed", sorted(missed), "wrong", wrong, "\n   ", item.text)
        return
    halves = {half: [item for item in items if item.half == half] for half in HALVES}
    result: dict[str, Any] = {"prompts": len(items), "sound": sum(not item.faults for item in items)}
    result |= {half: scores(by_words(chosen, policy)) for half, chosen in halves.items()}
    if options.limit:
        labelled = labelled[:: max(1, len(labelled) // options.limit)][: options.limit]
    hands = {hand: sum(item.half == hand for item in labelled) for hand in sorted({item.half for item in labelled})}
    result["labelled"] = {"prompts": hands, "sound": sum(not item.faults for item in labelled)}
    result["words"] = scores(by_words(labelled, None))
    if options.judge:
        seen, unread, faults = by_model(labelled, open_model(options.judge, network=True))
        result["labelled"] |= {"judge": options.judge, "unread": unread, "first_faults": faults}
        result["model"] = scores(seen)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(result["labelled"])
    for half in (*HALVES, "words", "model"):
        for name, row in result.get(half, {}).items():
            shown = "  ".join(f"{k} {v['k']}/{v['n']} [{v['low']}, {v['high']}]" for k, v in row.items())
            print(f"{half:5}{name:16}{shown}")


if __name__ == "__main__":
    main()
