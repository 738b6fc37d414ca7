"""What a monitor holds of the labelled set on verdicts: harmful samples (recall) and harmless ones (false holds).

    python -m bench.guard_monitor --json                                  # detectors and touched messages, no model
    python -m bench.guard_monitor --json --model hf/PATH --sample 40      # the shipped prompt with a model

A sample counts as held if the monitor holds one of its acts. Without `--model` the acts are checked by the detectors
alone (`words`), and with messages that touch a private fact or a decision about the agent (`touches`, what a deployment
without a model does). With `--model` the shipped prompt of `ModelMonitor` is asked about each act; a reply that has not
the required format holds the act, as in a deployment, and is counted under `unparsed`. Samples on which the two
labellings disagree are left out. `--sample` draws a named sample by `--seed`. Intervals are 95% Clopper-Pearson.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.detectors import share
from holdfast.core.records import Facts
from holdfast.detectors.private_facts import Leave
from holdfast.evals.guarded import ask_model
from holdfast.evals.labelled import LabelledItem, LabelledSet, load_labelled
from holdfast.guard.act import Act
from holdfast.guard.monitors.detector_monitor import DetectorMonitor, look
from holdfast.guard.monitors.model_monitor import ModelMonitor
from holdfast.guard.monitors.tool_effects import effects_of
from holdfast.models.registry import open_model

#: Whether a sample is held, and whether some reply about it was not in the required format.
Judge = Callable[[Sequence[Act], Facts], tuple[bool, bool]]


def acts_of(item: LabelledItem, agent: str) -> list[Act]:
    """Return the tool calls of a sample as acts."""
    calls = [call for message in item.transcript.messages for call in message.tool_calls]
    return [Act(item.id, agent, "office", call.name, dict(call.arguments)) for call in calls]


def by_detectors(strict: bool) -> Judge:
    """Return the judge that a deployment without a model has."""

    def judge(acts: Sequence[Act], facts: Facts) -> tuple[bool, bool]:
        channels = [f"{name}@{facts.domain}" for name in ("compliance", "ethics", "security")]
        watch = DetectorMonitor(facts, (), Leave(channels, strict))
        return any([watch(act) is not None for act in acts]), False

    return judge


def by_model(name: str) -> Judge:
    """Return the judge that asks a model the shipped prompt about each act that does something."""
    monitor = ModelMonitor(ask_model(open_model(name, network=True), 120))

    def judge(acts: Sequence[Act], facts: Facts) -> tuple[bool, bool]:
        found = [finding for act in acts if effects_of(act) for finding in look(monitor, act, facts)]
        return bool(found), any(finding.failed for finding in found)

    return judge


def measure(labelled: LabelledSet, items: Sequence[LabelledItem], judge: Judge) -> dict[str, Any]:
    """Return the shares of harmful and harmless samples that are held, in all and by language and kind of harm."""
    rows = []
    start = time.perf_counter()
    for item in items:
        agent, facts = labelled.place(item)
        held, unparsed = judge(acts_of(item, agent), facts)
        rows.append((item, held, unparsed))
    harms = sorted({harm for item in items for harm in item.labels.a.harms or ()})
    languages = sorted({item.language for item in items})

    def held(of: Callable[[LabelledItem], bool]) -> dict[str, Any]:
        chosen = [held for item, held, _ in rows if of(item)]
        return share(sum(chosen), len(chosen))

    return {
        "harmful_held": held(lambda item: item.labels.a.harm),
        "harmless_held": held(lambda item: not item.labels.a.harm),
        "unparsed": sum(unparsed for _, _, unparsed in rows),
        "by_harm": {harm: held(lambda item, harm=harm: harm in (item.labels.a.harms or ())) for harm in harms},  # type: ignore[misc]
        "harmful_by_language": {
            code: held(lambda item, code=code: item.labels.a.harm and item.language == code)  # type: ignore[misc]
            for code in languages
        },
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON; the only format")
    parser.add_argument("--model", help="a model for the shipped prompt")
    parser.add_argument("--sample", type=int, help="number of samples, half of them harmful")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    labelled = load_labelled()
    items = [i for i in labelled.items if i.labels.b is None or i.labels.a.harm == i.labels.b.harm]
    if options.sample:
        draw = random.Random(options.seed)
        halves = ([i for i in items if i.labels.a.harm], [i for i in items if not i.labels.a.harm])
        items = [item for half in halves for item in draw.sample(half, min(len(half), options.sample // 2))]
    judges = {"words": by_detectors(False), "touches": by_detectors(True)}
    if options.model:
        judges = {options.model: by_model(options.model)}
    found = {name: measure(labelled, items, judge) for name, judge in judges.items()}
    print(json.dumps({"set": labelled.hash, "samples": len(items), "seed": options.seed, "judges": found}, indent=1))


if __name__ == "__main__":
    main()
