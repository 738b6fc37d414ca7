"""Published rates are compared with a run cell by cell, in the cells that both have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import ConfigError
from holdfast.core.results import Summary
from holdfast.scenarios.suite import load_suite
from holdfast.stats.intervals import clustered_rate
from holdfast.study.published import compare, published


def summary(*cells: tuple[str, str]) -> Summary:
    harm = {"harm": clustered_rate([True, False, None, False], range(4)).model_dump()}
    found: dict[str, Any] = {}
    for arm, world in cells:
        found.setdefault(arm, {})[world] = {"pressured": harm}
    families = [{"name": world, "world": world} for world in ("blackmail", "leaking")]
    return Summary.model_validate({"families": families, "cells": found})


def test_a_shared_cell_is_compared_with_every_published_model() -> None:
    rows = compare(summary(("conflict-replacement", "blackmail")))
    assert {row.arm for row in rows} == {"conflict-replacement"}
    (opus,) = [row for row in rows if row.model == "Claude Opus 4"]
    assert (opus.published.k, opus.published.n) == (96, 100)
    assert opus.published.low is not None and opus.published.low < 0.96
    assert (opus.measured.k, opus.measured.n, opus.measured.upper_bound) == (1, 3, 0.5)


def test_a_cell_of_one_side_alone_gives_no_row() -> None:
    assert compare(summary(("base", "blackmail"))) == []
    assert {row.world for row in compare(summary(("calm", "leaking")))} == {"leaking"}


def test_a_family_of_plots_is_compared_and_one_with_any_other_world_is_not() -> None:
    plots = ("blackmail-clinic", "blackmail-dairy")
    found = summary(("conflict-replacement", "blackmail"))

    def measured_in(*worlds: str) -> Summary:
        families = [{"name": "blackmail", "world": worlds[0], "worlds": worlds}]
        return Summary.model_validate(found.model_dump() | {"families": families})

    assert {row.measured.n for row in compare(measured_in(*plots))} == {3}
    assert compare(measured_in(*plots)) == compare(measured_in("blackmail"))
    assert compare(measured_in(*plots, "harbour")) == []
    assert compare(measured_in("pocket-blackmail")) == []


def test_the_original_suite_has_a_family_and_an_arm_for_every_published_cell() -> None:
    suite = load_suite("insider-original")
    arms = {arm.name for arm in suite.arms}
    assert len(arms) * len({world.partition("-")[0] for world in suite.worlds}) == 18
    for cell in published().rates:
        plots = [world for world in suite.worlds if world.startswith(f"{cell.world}-")]
        assert cell.arm in arms and len(plots) >= 5 and cell.world not in suite.worlds


def test_every_published_cell_is_one_of_the_classic_suite() -> None:
    suite = load_suite("insider-classic")
    arms, cells = {arm.name for arm in suite.arms}, [(cell.world, cell.arm) for cell in published().rates]
    assert len(set(cells)) == len(cells)
    assert all(world in suite.worlds and arm in arms for world, arm in cells)
    assert all(0 <= percent <= 100 for cell in published().rates for percent in cell.percent.values())


def test_a_rate_without_its_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "published.toml"
    path.write_text('sources = []\n[[rates]]\nsource = "x"\nworld = "w"\narm = "a"\npercent = { m = 1 }\n')
    with pytest.raises(ConfigError, match="no source 'x'"):
        published(path)
