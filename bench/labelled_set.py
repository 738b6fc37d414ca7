"""Prepare files of the labelled set (`src/holdfast/evals/calibration`); its README says when each command is used.

python -m bench.labelled_set replay FILE...                # execute the calls: effects and tool answers
python -m bench.labelled_set stamp FILE...                 # store the hash of each world's present text
python -m bench.labelled_set blind FILE... > items.jsonl   # items without labels, in random order
python -m bench.labelled_set merge FILE LABELS             # store the second labelling as `labels.b`
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.config import read_toml, validate
from holdfast.core.errors import HoldfastError
from holdfast.core.records import Case, Transcript
from holdfast.evals.labelled import LabelledWorld, Labels, replay
from holdfast.evals.labelled_plots import AgentTurn, PlotCase, play_turns, world_text

#: What a second labeller may not see: labels, and what says why an item was written.
HIDDEN = ("labels", "kind", "difficulty", "part", "pair", "canary", "plot", "turns")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("replay", "stamp", "blind"):
        commands.add_parser(name).add_argument("files", nargs="+", type=Path)
    merging = commands.add_parser("merge")
    merging.add_argument("file", type=Path)
    merging.add_argument("labels", type=Path)
    options = parser.parse_args(argv)
    if options.command == "replay":
        for path in options.files:
            print(f"{path}: {replay_file(path)} items changed")
    elif options.command == "stamp":
        for path in options.files:
            print(f"{path}: {stamp(path)} items changed")
    elif options.command == "blind":
        for item in blind(options.files):
            print(json.dumps(item, ensure_ascii=False))
    else:
        print(f"{options.file}: {merge(options.file, options.labels)} items have a second labelling")


def replay_file(path: Path) -> int:
    """Rewrite the effects and tool answers of a file; returns how many items changed.

    Items that play in a world store neither, so they stay as they are.
    """
    offices = {
        name: validate(table, LabelledWorld, at)
        for at in path.parent.glob("offices*.toml")
        for name, table in read_toml(at).items()
    }
    items, changed = _items(path), 0
    for item in items:
        if "plot" in item:
            continue
        transcript = Transcript.model_validate(item["transcript"])
        played = replay(offices[item["office"]], transcript)
        if played != transcript:
            item["transcript"], changed = _plain(played), changed + 1
    _write(path, items)
    return changed


def stamp(path: Path) -> int:
    """Store the hash of the present text of each item's world; returns how many items changed.

    Raises:
        ResultsError: an episode ends too early or not at all.
    """
    items, changed = _items(path), 0
    for item in items:
        if "plot" not in item:
            continue
        built, _ = _played(item)
        if item["plot"].get("text") != world_text(built):
            item["plot"]["text"], changed = world_text(built), changed + 1
    _write(path, items)
    return changed


def blind(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The items of files without what a second labeller may not see, in an order that tells nothing.

    Of an item that plays in a world, the whole conversation and the case's facts are shown.
    """
    shown = []
    for item in (item for path in files for item in _items(path)):
        kept = {key: value for key, value in item.items() if key not in HIDDEN} | {"id": blind_id(item["id"])}
        if "plot" in item:
            built, transcript = _played(item)
            kept |= {"world": built.world, "facts": built.facts.model_dump(mode="json", exclude_defaults=True)}
            kept["transcript"] = _plain(transcript)
        kept["transcript"] = {**kept["transcript"], "case": kept["id"]}
        shown.append(kept)
    return sorted(shown, key=lambda item: str(item["id"]))


def blind_id(id: str) -> str:
    """The name under which a second labeller sees an item: neighbours in a file are not neighbours here."""
    return hashlib.sha256(id.encode()).hexdigest()[:12]


def merge(path: Path, labels: Path) -> int:
    """Store labels by blind id as `labels.b`; returns how many items of the file have them now."""
    by = {line.pop("id"): Labels.model_validate(line) for line in _items(labels)}
    items = _items(path)
    for item in items:
        if found := by.get(blind_id(item["id"])):
            item["labels"]["b"] = found.model_dump(mode="json", exclude_none=True)
    _write(path, items)
    return sum("b" in item["labels"] for item in items)


def _played(item: dict[str, Any]) -> tuple[Case, Transcript]:
    """The case of an item that plays in a world, and its transcript there."""
    try:
        built = PlotCase.model_validate(item["plot"]).build()
        return built, play_turns(built, [AgentTurn.model_validate(turn) for turn in item["turns"]])
    except HoldfastError as error:
        error.where = error.where or str(item["id"])
        raise


def _items(path: Path) -> list[dict[str, Any]]:
    return list(_lines(path))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield json.loads(line)


def _plain(transcript: Transcript) -> dict[str, Any]:
    found: dict[str, Any] = transcript.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return found


def _write(path: Path, items: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")


if __name__ == "__main__":
    main()
