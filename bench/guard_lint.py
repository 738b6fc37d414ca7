"""Precision and recall of each rule of the prompt lint on labelled prompts, with intervals.

    python -m bench.guard_lint --json [--misses dev]

The rules were tuned on the `dev` prompts, so those figures are biased upwards. The `test` prompts were written after
the rules were final. The same author wrote prompts and rules: expect less on other prompts. Intervals are 95%
Clopper-Pearson.
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
from holdfast.guard.lint import lint_prompt
from holdfast.guard.lint.lint import lint_rules
from holdfast.guard.policy.schema import PolicyFile

HALVES = ("dev", "test")


@dataclass(frozen=True)
class Labelled:
    """A prompt, the rules that should fire on it, and its part (dev or test)."""

    text: str
    faults: frozenset[str]
    half: str


def load() -> tuple[list[Labelled], PolicyFile]:
    """Return the labelled prompts in the package, and the policy that they are checked against."""
    data = read_toml(Path(holdfast.guard.lint.__file__).with_name("prompts.toml"))
    items = [Labelled(p["text"], frozenset(p["faults"]), p.get("half", "dev")) for p in data["prompt"]]
    return items, PolicyFile.model_validate(data["policy"])


def scores(items: list[Labelled], policy: PolicyFile) -> dict[str, Any]:
    """Return precision and recall of each rule, of all findings, and of whether a prompt has any fault."""
    seen = [(item.faults, frozenset(f.rule for f in lint_prompt(item.text, policy))) for item in items]
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
    parser.add_argument("--misses", choices=HALVES, help="print the errors in this part")
    options = parser.parse_args()
    items, policy = load()
    if options.misses:
        for item in items:
            got = {f.rule: f.quote for f in lint_prompt(item.text, policy)}
            if item.half == options.misses and set(got) != item.faults:
                missed, wrong = item.faults - set(got), {r: q for r, q in got.items() if r not in item.faults}
                print("missed", sorted(missed), "wrong", wrong, "\n   ", item.text)
        return
    halves = {half: [item for item in items if item.half == half] for half in HALVES}
    result: dict[str, Any] = {"prompts": len(items), "sound": sum(not item.faults for item in items)}
    result |= {half: scores(chosen, policy) for half, chosen in halves.items()}
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for half in HALVES:
        for name, row in result[half].items():
            shown = "  ".join(f"{k} {v['k']}/{v['n']} [{v['low']}, {v['high']}]" for k, v in row.items())
            print(f"{half:5}{name:16}{shown}")


if __name__ == "__main__":
    main()
