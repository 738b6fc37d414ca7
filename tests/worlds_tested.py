"""The built-in worlds that tests run over: all short worlds and one plot a family, and in slow tests every plot."""

import pytest
from _pytest.mark import ParameterSet

from holdfast.scenarios.plots import is_plot
from holdfast.scenarios.world import load_world, names

PLOTS = [name for name in names() if is_plot(load_world(name))]
SHORT = [name for name in names() if name not in PLOTS]
#: The short worlds, and the first plot of each family.
SOME = [*SHORT, *{load_world(name).spec.family: name for name in reversed(PLOTS)}.values()]


def every(*kinds: list[str]) -> list[ParameterSet]:
    """Worlds as parameters of a test; those that are not in `SOME` are slow."""
    return [
        pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for kind in kinds for name in sorted(kind)
    ]
