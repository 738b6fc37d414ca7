"""Main effects recover planted effects and are None if they cannot be estimated; kappa is beyond chance."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]
from study_toys import FAMILIES, SPLITS, verdict

from holdfast.stats.agreement import kappa
from holdfast.study.effects import FactorEffect, main_effects
from holdfast.study.verdict_table import VerdictRow, VerdictTable

WORLDS = ("toy-home", "toy-far")
LEVELS = {
    "pressured": {"threat": "replacement", "leverage": "present"},
    "no_threat": {"threat": "none", "leverage": "present"},
    "no_leverage": {"threat": "replacement", "leverage": "none"},
    "routine": {"threat": "none", "leverage": "none"},
}
GRID = {("base", world, twin): levels for world in WORLDS for twin, levels in LEVELS.items()}


def rows(logits: dict[str, float], cases: int, seed: int, worlds: tuple[str, ...] = WORLDS) -> VerdictTable:
    """Twins of one scenario share a draw, so that they resemble each other."""
    rng = np.random.default_rng(seed)
    found = []
    for world in worlds:
        for case in range(cases):
            common = rng.normal(0, 0.7)
            for twin, levels in LEVELS.items():
                logit = logits["at"] + common + sum(logits[f] for f, level in levels.items() if level != "none")
                harm = rng.random() < 1 / (1 + np.exp(-logit))
                outcome = "harm" if harm else "proper_act"
                found.append(VerdictRow("base", None, verdict(world, twin, case, outcome)))
    return VerdictTable(found, FAMILIES)


def effects(rows: VerdictTable) -> dict[str, FactorEffect]:
    return {effect.factor: effect for effect in main_effects(rows, GRID)}


def test_a_planted_effect_is_found_and_an_absent_one_is_not() -> None:
    found = effects(rows({"at": -1.5, "threat": 2.0, "leverage": 0.0}, 150, seed=1))
    threat, leverage = found["threat"], found["leverage"]
    assert (threat.level, threat.reference) == ("replacement", "none")
    assert threat.low > 0.2
    assert threat.p_holm < 0.001
    assert 3 < threat.odds_low < threat.odds < threat.odds_high
    assert leverage.low < 0 < leverage.high
    assert leverage.odds_low < 1 < leverage.odds_high
    assert (threat.samples, threat.scenarios) == (2 * 4 * 150, 300)


@pytest.mark.parametrize("seed", range(2))
def test_the_estimate_is_that_of_a_logistic_gee(seed: int) -> None:
    table = rows({"at": -1.0, "threat": 1.0, "leverage": 0.5}, 40, seed)
    found = effects(table)
    y, x, groups = [], [], []
    for (_, world, twin), levels in GRID.items():
        part = table.of("base", world, twin)
        y.extend(part.scores["harm"])
        groups.extend(part.case)
        indicator = [float(levels[name] != "none") for name in ("threat", "leverage")]
        x.extend([[*indicator, *(float(world == w) for w in WORLDS)]] * len(part))
    model = sm.GEE(np.array(y), np.array(x), groups=np.array(groups), family=sm.families.Binomial())
    fitted = model.fit(cov_type="robust")
    assert found["threat"].odds == pytest.approx(np.exp(fitted.params[0]), rel=1e-4)
    assert found["leverage"].odds == pytest.approx(np.exp(fitted.params[1]), rel=1e-4)
    width = np.log(found["threat"].odds_high / found["threat"].odds_low)
    assert width == pytest.approx(2 * 1.96 * fitted.bse[0], rel=0.05)


def test_the_skeletons_of_a_family_are_the_clusters() -> None:
    """In two skeletons the threat does everything, in two nothing: that it will elsewhere is not shown."""
    worlds, found, found_apart = tuple(FAMILIES), [], []
    for number, world in enumerate(worlds):
        for case in range(40):
            for twin, levels in LEVELS.items():
                harm = levels["threat"] != "none" if number % 2 else case % 2 == 0
                made = verdict(world, twin, case, "harm" if harm else "proper_act")
                found_apart.append(VerdictRow("base", None, made))
                found.append(VerdictRow("base", None, made.model_copy(update={"family": "home"})))
    grid = {("base", world, twin): levels for world in worlds for twin, levels in LEVELS.items()}
    one, several = (
        {effect.factor: effect for effect in main_effects(VerdictTable(rows, labels), grid)}["threat"]
        for rows, labels in ((found, dict.fromkeys(worlds, "home")), (found_apart, FAMILIES))
    )
    assert (one.scenarios, several.scenarios) == (4, 160)
    assert one.points == pytest.approx(several.points) == pytest.approx(0.5)
    assert several.low > 0.4
    assert one.low < 0 < 0.5 < one.high


def test_intervals_cover_the_planted_difference() -> None:
    """Two factors without effect on top of scenarios that differ: 95% intervals hold zero."""
    covered = [effects(rows({"at": -0.5, "threat": 0.0, "leverage": 0.0}, 12, 100 + seed)) for seed in range(120)]
    assert np.mean([found["threat"].low <= 0 <= found["threat"].high for found in covered]) >= 0.9


def test_a_level_without_harm_has_a_difference_and_no_odds_ratio() -> None:
    found = effects(rows({"at": -40.0, "threat": 40.0, "leverage": 0.0}, 40, seed=3))["threat"]
    assert found.points > 0.3
    assert found.odds is None
    assert "no harm at threat other levels than replacement: no odds ratio" in found.note


def test_an_effect_that_cannot_be_estimated_is_none_and_not_zero() -> None:
    nothing = effects(rows({"at": -40.0, "threat": 0.0, "leverage": 0.0}, 10, seed=4))["threat"]
    assert (nothing.points, nothing.note) == (None, "every sample has the same outcome")
    few = effects(rows({"at": 0.0, "threat": 0.0, "leverage": 0.0}, 1, seed=5))["threat"]
    assert (few.points, few.note) == (None, "too few scenarios")
    mirror = {"replacement": "none", "none": "calm"}
    two = {pair: {**levels, "mirror": mirror[levels["threat"]]} for pair, levels in GRID.items()}
    tied = main_effects(rows({"at": 0.0, "threat": 1.0, "leverage": 0.0}, 20, seed=6), two)
    assert {effect.note for effect in tied} == {"factors vary together"}
    assert main_effects(VerdictTable([], FAMILIES), GRID) == []
    assert set(SPLITS) >= set(WORLDS)


def test_scenarios_that_are_all_alike_give_no_interval_and_no_p() -> None:
    found = effects(rows({"at": -400.0, "threat": 800.0, "leverage": 0.0}, 20, seed=3))
    for effect, points in ((found["threat"], 1.0), (found["leverage"], 0.0)):
        assert effect.points == pytest.approx(points)
        assert (effect.low, effect.high, effect.p, effect.p_holm) == (None,) * 4
        assert effect.note == "every scenario shows the same: no interval"


def test_levels_that_vary_together_are_one_effect() -> None:
    table = rows({"at": -1.5, "threat": 2.0, "leverage": 0.0}, 60, seed=8)
    two = {pair: {**levels, "goal": levels["threat"]} for pair, levels in GRID.items()}
    alone, joined = effects(table)["threat"], main_effects(table, two)[0]
    assert (joined.factor, joined.level, joined.reference) == (
        "threat and goal",
        "replacement and replacement",
        "none and none",
    )
    assert (joined.points, joined.odds) == pytest.approx((alone.points, alone.odds))


def test_main_effects_over_the_arms_of_a_suite() -> None:
    """One arm has a channel, one forbids the act: the planted fall is found, and nothing is found for the other."""
    rng, found, levels = np.random.default_rng(9), [], {}
    for arm, at, sets in (
        ("plain", 0.6, {}),
        ("channel", 0.2, {"outlet": "channel"}),
        ("forbid", 0.6, {"rules": "no"}),
    ):
        for world in WORLDS:
            levels[arm, world, "pressured"] = {"outlet": "none", "rules": "none", **sets}
            for case in range(150):
                outcome = "harm" if rng.random() < at else "proper_act"
                found.append(VerdictRow(arm, None, verdict(world, "pressured", case, outcome)))
    by = {effect.factor: effect for effect in main_effects(VerdictTable(found, FAMILIES), levels)}
    assert (by["outlet"].arm, by["outlet"].level, by["outlet"].scenarios) == ("all arms", "channel", 300)
    assert by["outlet"].low < -0.4 < by["outlet"].high < -0.3
    assert by["outlet"].p_holm < 0.001
    assert by["rules"].low < 0 < by["rules"].high


def test_agreement_by_chance_alone_has_a_kappa_of_zero() -> None:
    rng = np.random.default_rng(7)
    a, b = (rng.random((2, 4000)) < 0.3).astype(float)
    assert abs(kappa(a, b, range(4000)).coefficient) < 0.05


def test_perfect_agreement_has_a_kappa_of_one_with_an_interval() -> None:
    a = np.array([1.0, 0.0] * 10)
    found = kappa(a, a, range(20))
    assert (found.coefficient, found.high) == (1, 1)
    assert found.low < 0.8
    one = kappa(np.ones(20), np.ones(20), range(20))
    assert (one.observed, one.coefficient) == (1, None), "one label says nothing"
    assert kappa(np.array([np.nan]), np.array([1.0]), [0]).coefficient is None


@pytest.mark.parametrize("same", [0.0, 0.5, 0.9])
def test_the_interval_covers_the_planted_kappa(same: float) -> None:
    """Two judges give the same label with a planted chance and independent ones otherwise: kappa is that chance."""
    rng = np.random.default_rng([8, int(same * 10)])
    covered = 0
    for _ in range(300):
        a, b = (rng.random((2, 80)) < 0.4).astype(float)
        b = np.where(rng.random(80) < same, a, b)
        found = kappa(a, b, range(80))
        covered += found.low <= same <= found.high
    assert covered / 300 >= 0.93
