"""What a study needs of the other rooms, as plain functions: `wiring.py` holds the real ones, tests bring their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.records import Case, Example, RunCard, Transcript, Verdict
from holdfast.study.study_file import Known

#: A case as it went: what happened and what it counts as.
Played = tuple[Transcript, Verdict]


@dataclass(frozen=True)
class Rooms:
    """The other rooms. Every function must be importable by name: workers are separate processes.

    Attributes:
        known: the names a study file may use.
        cases: worlds, twins, seeds → cases.
        identify: name of a model → its identity.
        base_path: name of a model → its checkpoint folder.
        measure: name of a model, cases → what happened and what it counts as, as each ends, in any order.
        build_set: name, tokens, seed, checkpoint folder (for its tokenizer) → examples.
        config: knobs of the study file → the complete training configuration.
        train: base folder, examples, configuration, new folder → card; leaves a checkpoint in the new folder.
        canaries: strings that stand in the files of worlds and of labelled sets, and must never be trained on.
        versions: source hashes of what makes data, trains and measures, under the names `data`, `train`, `measure`.
    """

    known: Callable[[], Known]
    cases: Callable[[Sequence[str], Sequence[str], Iterable[int]], list[Case]]
    identify: Callable[[str], str]
    base_path: Callable[[str], Path]
    measure: Callable[[str, Sequence[Case]], Iterable[Played]]
    build_set: Callable[[str, int, int, Path], list[Example]]
    config: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    train: Callable[[Path, Sequence[Example], Mapping[str, Any], Path], RunCard]
    canaries: Callable[[], Sequence[str]]
    versions: Callable[[], Mapping[str, str]]
