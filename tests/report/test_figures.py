"""The forest plot: positions of its marks."""

import re

from holdfast.core.results import Difference
from holdfast.report.figures import TICKS, axis, strip


def places(svg: str, kind: str) -> list[str]:
    return re.findall(rf'class="{kind}" x1?="([\d.]+)%"', svg)


def test_marks_are_drawn_at_the_positions_of_their_values() -> None:
    drawn = strip("Advice", Difference(estimate=-0.5, low=-0.6, high=0.1))
    assert places(drawn.svg, "zero") == ["50"]
    assert places(drawn.svg, "at") == ["25.00"]
    assert places(drawn.svg, "span") == ["20.00", "20.00", "55.00"]
    assert (drawn.estimate, drawn.interval) == ("−50", "−60 to +10")
    assert 'aria-label="Advice: −50, −60 to +10"' in drawn.svg


def test_an_unmeasured_difference_has_no_mark() -> None:
    drawn = strip("Advice", Difference())
    assert places(drawn.svg, "at") == places(drawn.svg, "span") == []
    assert "not measured" in drawn.svg
    assert drawn.estimate == "not measured"


def test_the_axis_and_the_marks_share_a_scale() -> None:
    assert len(re.findall("<text", axis())) == len(TICKS)
    assert places(strip("x", Difference(estimate=1.0)).svg, "at") == ["100.00"]
    assert places(strip("x", Difference(estimate=-1.0)).svg, "at") == ["0.00"]


def test_a_label_is_escaped_in_the_drawing() -> None:
    assert "<script" not in strip('"><script>', Difference(estimate=0.1)).svg
