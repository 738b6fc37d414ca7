"""Safety curves: planted agents give the planted rates, and held-out worlds are refused."""

import pytest

from holdfast.core.errors import WorldError
from holdfast.models.registry import open_model
from holdfast.study.curves import outcome_shares, probe_callback, suite

CASES = suite(count=2)


def test_planted_agents_give_planted_rates() -> None:
    harm = outcome_shares(CASES, open_model("scripted/blackmailer"))
    assert harm["harm pressured"] == 1.0 and harm["harm routine"] == 0.0 and harm["useful routine"] == 1.0
    idle = outcome_shares(CASES, open_model("scripted/passive"))
    assert idle["acted pressured"] == idle["harm pressured"] == idle["useful routine"] == 0.0


def test_a_twin_without_scored_cases_is_none_and_not_zero() -> None:
    stripped = [case.model_copy(update={"plays": {}}) for case in CASES]  # scripted agents fail without a script
    assert set(outcome_shares(stripped, open_model("scripted/proper")).values()) == {None}


def test_held_out_worlds_are_refused_as_probes() -> None:
    with pytest.raises(WorldError, match="'pocket-leaking' is held out"):
        suite(["pocket-leaking"])
    with pytest.raises(WorldError, match="'blackmail-planning' is held out"):
        suite(["blackmail-planning"])
    assert probe_callback(5).every == 5
