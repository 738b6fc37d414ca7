"""What the plots are like: how many, how long, what they share, and whether their harm and their work are seen.

    python -m bench.worlds --json
    python -m bench.worlds --paraphrases FILE      how acts in other words are judged; see bench.paraphrases

Tokens are counted by the tokenizer of a model that `holdfast models get` fetched; without one, words stand alone.  A
full prompt is the system prompt, the tools and everything that can be read; a brief one is the whole prompt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bench import paraphrases
from holdfast.cli.show import print_table
from holdfast.core.records import Case, Message, ToolCall, Transcript
from holdfast.evals.scorers import score
from holdfast.models.base import Output
from holdfast.models.pinned import model_folder
from holdfast.scenarios import plots
from holdfast.scenarios.build import build_case
from holdfast.scenarios.catalogue import case
from holdfast.scenarios.check import documents, reading_calls
from holdfast.scenarios.conditions import levels_of
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.exposure import places_of
from holdfast.scenarios.tagged_calls import tagged_documents
from holdfast.scenarios.world import World, load_world, names

MODEL = "smollm2-135m-instruct"
SEEDS = range(20)
#: Script → what playing it must count as.
OUTCOMES = {"harm": "harm", "proper": "proper_act"}
Count = Callable[[str], int]


def measure() -> dict[str, Any]:
    """Return the figures of all plots, by plot and together."""
    loaded = [world for world in map(load_world, names()) if plots.is_plot(world)]
    count = _tokens()
    each = {world.name: _plot(world, loaded, count) for world in loaded}
    families = Counter(world.spec.family for world in loaded)
    return {
        "plots": len(loaded),
        "families": dict(families),
        "tokenizer": MODEL if count else None,
        "most_shared": max((held["shared"] for held in each.values()), default=0.0),
        "reaches_both_facts": _mean([held["reaches"] for held in each.values()]),
        "scripts_as_meant": _mean([held["as_meant"] for held in each.values()]),
        "milliseconds_a_case": round(statistics.median(held["milliseconds"] for held in each.values()), 2),
        "worlds": each,
    }


def _plot(world: World, others: Sequence[World], count: Count | None) -> dict[str, Any]:
    built, at = time.process_time(), [build_case(world, "pressured", levels_of(world), seed) for seed in SEEDS]
    built = time.process_time() - built
    brief = [case(world.name, "pressured", seed, {"length": "brief"}) for seed in SEEDS]
    figures: dict[str, Any] = {
        "family": world.spec.family,
        "split": world.split,
        "words": {"full": _middle(map(plots.words_of, at)), "brief": _middle(map(plots.words_of, brief))},
        "shared": round(plots.shared_runs(world, others)[0], 4),
        "positions": {fact: _positions(at, fact) for fact in ("pressure", "means")},
        "reaches": _mean([_reaches(made) for made in at]),
        "as_meant": _mean([float(seen) for made in (*at, *brief) for seen in _as_meant(made)]),
        "milliseconds": round(1000 * built / len(at), 2),
    }
    if count:
        figures["tokens"] = {
            "full": _middle(count(tagged_documents(made.state)) + _frame(made, count) for made in at),
            "brief": _middle(_frame(made, count) for made in brief),
        }
    return figures


def _frame(made: Case, count: Count) -> int:
    """Tokens of the messages and of the tools as a chat template gives them."""
    tools = [
        {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)} for tool in made.tools
    ]
    return sum(count(message.content) for message in made.messages) + count(json.dumps(tools))


def _positions(made: Sequence[Case], fact: str) -> dict[str, int]:
    """Where a fact stands, over the seeds: the number of its mail, or the store."""
    found: Counter[str] = Counter()
    for one in made:
        texts = one.exposure.get(fact, ())
        mails = places_of(one, texts)
        places = [tool for tool, _, _, text in documents(one) if any(t in " ".join(text.split()) for t in texts)]
        found[f"mail {mails[0] + 1}" if mails else places[0] if places else "nowhere"] += 1
    return dict(found.most_common())


def _reaches(made: Case) -> float:
    """Whether a reader of every document sees both facts."""
    read = enumerate(documents(made))
    calls = [ToolCall(id=f"d{i}", name=tool, arguments={key: name}) for i, (tool, key, name, _) in read]
    return float(score(made, _played(made, tuple(calls))).exposed is True)


def _as_meant(made: Case) -> Iterator[bool]:
    for script, outcome in OUTCOMES.items():
        yield score(made, _played(made, reading_calls(made), made.plays[script])).outcome == outcome


def _played(made: Case, *turns: tuple[ToolCall, ...]) -> Transcript:
    episode = Episode(made)
    for calls in filter(None, turns):
        if episode.request() is not None:
            episode.take(Output(Message(role="assistant", tool_calls=calls)))
    if episode.request() is not None:
        episode.take(Output(Message(role="assistant", content="done.")))
    return episode.transcript()


def _tokens() -> Count | None:
    file = model_folder(MODEL) / "tokenizer.json"
    if not file.is_file():
        return None
    loaded = Tokenizer.from_file(str(file))
    return lambda text: len(loaded.encode(text).ids)


def _middle(values: Any) -> int:
    return round(statistics.median(values))


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _paraphrases(file: Path, as_json: bool) -> None:
    found = paraphrases.figures(paraphrases.play_file(file))
    if as_json:
        print(json.dumps(found, indent=1))
        return
    print_table(*paraphrases.table(found), right=paraphrases.JUDGED)
    for one in found["wrong"]:
        print(f"line {one['line']}: {one['kind']} in {one['skeleton']} counts as {one['outcome']}")
    print(f"unresolved lines: {', '.join(map(str, found['unresolved'])) or 'none'}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="Machine-readable, with a part for each plot.")
    parser.add_argument(
        "--paraphrases", type=Path, metavar="FILE", help="Play the paraphrases of a JSONL file instead."
    )
    given = parser.parse_args()
    if given.paraphrases:
        _paraphrases(given.paraphrases, given.json)
        return
    found = measure()
    if not given.json:
        found.pop("worlds")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
