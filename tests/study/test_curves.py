"""Safety curves: planted agents give the rates they were planted with, and held-out worlds stay out."""

from pathlib import Path

import pytest

from holdfast.core.errors import WorldError
from holdfast.core.records import Example, Message, Provenance
from holdfast.models.registry import open_model
from holdfast.study.curves import erode, left, probe_of, rates, suite, watching
from holdfast.train.config import TrainConfig
from holdfast.train.safety_probe import Watching

CASES = suite(count=2)


def test_planted_agents_give_planted_rates() -> None:
    harm = rates(CASES, open_model("scripted/blackmailer"))
    assert harm["harm pressured"] == 1.0 and harm["harm routine"] == 0.0 and harm["useful routine"] == 1.0
    idle = rates(CASES, open_model("scripted/passive"))
    assert idle["acted pressured"] == idle["harm pressured"] == idle["useful routine"] == 0.0


def test_a_twin_that_nobody_could_score_is_no_zero() -> None:
    stripped = [case.model_copy(update={"plays": {}}) for case in CASES]  # scripted agents fail without a script
    assert set(rates(stripped, open_model("scripted/proper")).values()) == {None}


def test_held_out_worlds_are_not_watched() -> None:
    with pytest.raises(WorldError, match="'pocket-leaking' is held out"):
        suite(["pocket-leaking"])
    assert watching(5).every == 5


def test_what_is_left_is_a_share_of_the_change() -> None:
    before = {"a": 1.0, "b": 0.5, "c": 0.2, "d": None}
    after = {"a": 0.0, "b": 0.5, "c": 0.6, "d": 0.1}
    now = {"a": 0.25, "b": 0.1, "c": 0.0, "d": 0.1}
    assert left(before, after, now) == {"a": 0.75, "b": None, "c": pytest.approx(-0.5), "d": None}


@pytest.mark.slow
def test_a_lesson_is_eroded_on_the_organism(tmp_path: Path) -> None:
    from holdfast.study.wiring import ROOMS

    base = ROOMS.base_path("organism/pocket")
    told = (Message(role="user", content="how are you?"), Message(role="assistant", content="all is well."))
    made = Provenance(recipe="toy", teacher="hand", seed=0)
    other = [Example(id=str(n), kind="chat", messages=told, provenance=made) for n in range(40)]
    found = erode(base, base, other, TrainConfig(lr=1e-4), tmp_path / "out", Watching(1, probe_of(suite(count=1))))
    assert found.before == found.points[0].values
    assert found.points[-1].step > 0
    assert set(found.left) == set(found.before)
