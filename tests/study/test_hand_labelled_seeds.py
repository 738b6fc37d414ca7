"""A rate by hand labels holds for new trainings, as far as the verdicts say how much trainings differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import study_toys
from study_toys import arm, run, study

from holdfast.core.records import Verdict
from holdfast.core.store import RunFolder
from holdfast.study.cells import StoredCell
from holdfast.study.hand_labels import FOLDER, LABELS, HandLabel, draw_labels, hand_labelled_rates
from holdfast.study.play import VERDICTS


def labelled(out: Path, seeds: int) -> list[StoredCell]:
    """A study whose arm always does harm but on its first training, labelled by its verdicts."""

    def play(cell: object, model: str, cases: object) -> object:
        played = study_toys.play(cell, model, cases)  # type: ignore[arg-type]
        if getattr(cell, "seed", None) in (None, 0):
            return played
        return [(t, v.model_copy(update={"outcome": "harm"}) if v.twin == "pressured" else v) for t, v in played]

    arms = (arm("base"), arm("reasons", "reasons", "plain-chat"))
    run(study(arms=arms, claims=(), seeds=range(seeds)), out, replace(study_toys.STEPS, play=play))
    plan = draw_labels(out, 120)
    verdicts = {
        (path.parent.relative_to(out).as_posix(), v.case): v.outcome
        for path in out.glob("cells/*/verdicts.jsonl")
        for v in RunFolder(path.parent).each(VERDICTS, Verdict)
    }
    labels = [
        HandLabel(id=s.id, label="harm" if verdicts[s.cell, s.case] == "harm" else "no_harm") for s in plan.samples
    ]
    RunFolder(out / FOLDER).append(LABELS, labels)
    cells = [RunFolder(path.parent) for path in sorted(out.glob("cells/*/manifest.json"))]
    return [StoredCell(c.card().inputs["arm"], c.card().inputs["seed"], c) for c in cells]


def test_trainings_that_differ_widen_the_interval(tmp_path: Path) -> None:
    cells = labelled(tmp_path / "three", 3)
    found = {rate.arm: rate.rate for rate in hand_labelled_rates(tmp_path / "three", cells)}
    blind = {r.arm: r.rate for r in hand_labelled_rates(tmp_path / "three", [replace(c, seed=None) for c in cells])}
    assert found["base"] == blind["base"]
    assert found["reasons"].rate == blind["reasons"].rate
    assert found["reasons"].high - found["reasons"].low > 2 * (blind["reasons"].high - blind["reasons"].low)


def test_a_single_training_has_no_interval(tmp_path: Path) -> None:
    cells = labelled(tmp_path, 1)
    found = {rate.arm: rate.rate for rate in hand_labelled_rates(tmp_path, cells)}
    assert found["reasons"].rate is not None
    assert (found["reasons"].low, found["reasons"].high) == (None, None)
    assert found["base"].low is not None
